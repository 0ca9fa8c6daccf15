/**
 * Many events to good, slow, flaky and dead endpoints through the engine, with retries at scaled time and a `kill -9` now and
 * then in its first eighth. In the end the books have to balance: each accepted event has one execution, which has ended, still waits or is
 * held. Prints a report, and what the process weighs.
 *
 *   npm run bench:soak [-- <events>]
 */
import { runSoak } from './soak/run-soak.ts';

const events = Number(process.argv[2] ?? 200_000);
const report = await runSoak({ events, kills: 5, log: (line) => console.log(line) });
console.log(JSON.stringify(report, null, 2));
const grewTooMuch = (report.memory?.perHundredThousandMb ?? 0) > 1;
process.exitCode = report.problems.length > 0 || grewTooMuch ? 1 : 0;
