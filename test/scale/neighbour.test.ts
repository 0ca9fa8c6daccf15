import { expect, it } from 'vitest';
import { runLoad, type Load } from '../../bench/neighbour/run-load.ts';

// The short form of `npm run bench:noisy-neighbour`. In so little time the slowest percent is the first second, in which nobody knows yet
// that the neighbour hangs, and what else the machine does weighs more; with the hanging calls in the way it would be the best part of a second.
const load: Load = {
  seconds: 15,
  goodPerSecond: 50,
  neighbourPerSecond: 50,
  neighbourHangs: false,
  circuitBreaker: false,
};

it('does not make the others wait for an endpoint that hangs', { timeout: 300_000 }, async () => {
  const allAnswer = await runLoad(load);
  for (const circuitBreaker of [false, true]) {
    const oneHangs = await runLoad({ ...load, neighbourHangs: true, circuitBreaker });
    console.info(`neighbour, circuit breaker ${circuitBreaker}: ${JSON.stringify({ allAnswer, oneHangs })}`);
    expect(oneHangs.undelivered).toBe(0);
    expect(oneHangs.p50Ms).toBeLessThan(2 * allAnswer.p50Ms + 50);
    expect(oneHangs.p99Ms).toBeLessThan(2 * allAnswer.p99Ms + 200);
  }
});
