/**
 * Does one endpoint that hangs until its timeout, and gets half of the traffic, make the other 49 slower? Runs the same load with and
 * without it in turn, and compares the 99th percentile from publish to arrival at the others, pair by pair. First with the circuit
 * breaker off, so that it is the lanes and the cut-off that are measured, then on.
 *
 *   npm run bench:noisy-neighbour [-- <pairs> <seconds a run>]
 */
import { runLoad, type Load } from './neighbour/run-load.ts';

const [pairs = 3, seconds = 120] = process.argv.slice(2).map(Number);
const goodPerSecond = 50;

for (const circuitBreaker of [false, true]) {
  const ratios: number[] = [];
  for (let pair = 0; pair < pairs; pair += 1) {
    const load: Load = { seconds, goodPerSecond, hangingPerSecond: 0, circuitBreaker };
    const alone = await runLoad(load);
    const beside = await runLoad({ ...load, hangingPerSecond: goodPerSecond });
    ratios.push(beside.p99Ms / alone.p99Ms);
    console.log(
      `circuit breaker ${circuitBreaker ? 'on ' : 'off'}: p99 alone ${alone.p99Ms.toFixed(1)} ms (p50 ${alone.p50Ms.toFixed(1)}), ` +
        `beside a hanging one ${beside.p99Ms.toFixed(1)} ms (p50 ${beside.p50Ms.toFixed(1)}), ${beside.undelivered} undelivered`,
    );
  }
  const median = ratios.toSorted((a, b) => a - b)[Math.floor(ratios.length / 2)] ?? Number.NaN;
  console.log(`circuit breaker ${circuitBreaker ? 'on' : 'off'}: median of the ratios ${median.toFixed(2)}`);
}
