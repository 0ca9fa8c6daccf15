/**
 * Does one endpoint that hangs until its timeout, and gets half of the traffic, make the other 49 slower? Runs the same load with one that
 * answers in its place, with the hanging one and the circuit breaker off, so that it is the lanes and the cut-off that are measured, and with
 * it on, in turn; compares the 99th percentile from publish to arrival at the others, round by round. For comparison, how it is without
 * that half of the traffic.
 *
 *   npm run bench:noisy-neighbour [-- <rounds> <seconds a run>]
 */
import { runLoad, type Delays, type Load } from './neighbour/run-load.ts';

const [rounds = 3, seconds = 120] = process.argv.slice(2).map(Number);
const perSecond = 50;
const load: Load = {
  seconds,
  goodPerSecond: perSecond,
  neighbourPerSecond: perSecond,
  neighbourHangs: false,
  circuitBreaker: true,
};

async function run(name: string, change: Partial<Load>): Promise<Delays> {
  const delays = await runLoad({ ...load, ...change });
  const { p50Ms, p99Ms, undelivered } = delays;
  console.log(`${name}: p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms, ${undelivered} undelivered`);
  return delays;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const ratios = { off: [] as number[], on: [] as number[] };
for (let round = 0; round < rounds; round += 1) {
  const { p99Ms } = await run('all answer', {});
  for (const circuit of ['off', 'on'] as const) {
    const hanging = { neighbourHangs: true, circuitBreaker: circuit === 'on' };
    ratios[circuit].push((await run(`one hangs, circuit breaker ${circuit}`, hanging)).p99Ms / p99Ms);
  }
  if (round === 0) await run('without that half', { neighbourPerSecond: 0 });
}
for (const [circuit, all] of Object.entries(ratios)) {
  const list = all.map((ratio) => ratio.toFixed(2)).join(', ');
  console.log(
    `circuit breaker ${circuit}: the p99 is ${median(all).toFixed(2)} times what it is where all answer (${list})`,
  );
}
