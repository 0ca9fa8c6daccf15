import { expect, it } from 'vitest';
import { runLoad, type Load } from '../../bench/neighbour/run-load.ts';

// The short form of `npm run bench:noisy-neighbour`, which compares the 99th percentiles. In so little time those are the first
// second, in which nobody knows yet that the target hangs, so that the halves are compared here: with its calls in the way they would be
// seconds apart.
const load: Load = { seconds: 15, goodPerSecond: 50, hangingPerSecond: 0, circuitBreaker: false };

it('does not make the others wait for an endpoint that hangs', { timeout: 300_000 }, async () => {
  const alone = await runLoad(load);
  for (const circuitBreaker of [false, true]) {
    const beside = await runLoad({ ...load, hangingPerSecond: load.goodPerSecond, circuitBreaker });
    console.info(`neighbour, circuit breaker ${circuitBreaker}: ${JSON.stringify({ alone, beside })}`);
    expect(beside.undelivered).toBe(0);
    expect(beside.p50Ms).toBeLessThan(5 * alone.p50Ms + 100);
  }
});
