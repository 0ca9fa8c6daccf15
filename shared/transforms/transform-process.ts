// The process that transforms run in (transform.ts starts it). It watches the thread that does the work, and ends with it.
//
// A process, because V8 ends the one in which a thread makes a single text or list that is larger than the thread may have; and with a thread of
// its own, because an expression that does not end would outlive whoever started this.
import { Worker } from 'node:worker_threads';
import {
  endSignals,
  maxTransformRssMb,
  type TransformAnswer,
  type TransformJob,
} from './transform-limits.ts';

const lookEveryMs = 5;
const resourceLimits = { maxOldGenerationSizeMb: 80, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 };

const worker = new Worker(
  new URL(
    import.meta.url.endsWith('.ts') ? './transform-worker.ts' : './transform-worker.mjs',
    import.meta.url,
  ),
  { resourceLimits },
);
let watch: NodeJS.Timeout | undefined;

// Not by process.exit, which waits for the thread: one that is making a text of 500 MB goes on with that.
const end = (signal: NodeJS.Signals): boolean => process.kill(process.pid, signal);

// Meant for the one that started this, which may be in the midst of something: Ctrl+C reaches all processes of a terminal.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => end('SIGKILL'));
process.on('message', (job: TransformJob) => {
  const startedAt = performance.now();
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
  worker.postMessage(job);
  watch = setInterval(() => {
    if (process.memoryUsage.rss() > maxTransformRssMb * 1024 * 1024) end(endSignals.memoryOver);
    // One more look when the time is over: the answer may be waiting to be read behind a busy moment of the machine.
    if (performance.now() - startedAt > job.maxMs) setImmediate(() => watch && end(endSignals.timeOver));
  }, lookEveryMs);
});
worker.on('message', (answer: TransformAnswer | 'ready') => {
  clearInterval(watch);
  watch = undefined;
  process.send?.(answer);
});
worker.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') end(endSignals.memoryOver);
  else throw error;
});
