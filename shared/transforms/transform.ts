import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import PQueue from 'p-queue';
import type { DomainEvent } from '../events/envelope.ts';
import { endSignals, maxTransformMs, type TransformAnswer, type TransformJob } from './transform-limits.ts';

/** What became of a transform. `busy`: it was not run, because others took too long. */
export type Transformed =
  | { kind: 'done'; body: string }
  | { kind: 'failed'; problem: string }
  | { kind: 'busy' };

/** Runs the expressions of handlers, outside of the process that asks. */
export type Transforms = ReturnType<typeof createTransforms>;

/** What waits longer for its turn is to come back another time, milliseconds. */
const maxPatienceMs = 2000;
// Others should not notice it.
const slowMs = 50;
// As long as nobody knows how slow an expression is, others wait behind it.
const maxQuickMs = 150;
const slowForMs = 60_000;
// More than there are handlers.
const maxKnown = 5000;
const maxStartMs = 20_000;
// It takes 75 MB.
const maxIdleMs = 60_000;
// It ends itself before that.
const answerMarginMs = 2000;

// Beside this file, as source; in the bundle of a function it is there as well (cdk/constructs/bundle.ts).
const entry = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? './transform-process.ts' : './transform-process.mjs',
    import.meta.url,
  ),
);

/**
 * Opens the way to two processes, which start with the first expression they get, and again after one that had to be ended. In the first one run
 * expressions that are quick, as far as is known, in the other those that were slow a moment ago, and from the beginning what turns out to be:
 * so one that takes all its time takes little of the others'. Nor do many such: what is known to be quick goes before what is not known.
 */
export function createTransforms() {
  const quick = createLane(maxQuickMs);
  const slow = createLane(maxTransformMs);
  /** By expression, when it has run before: until when it counts as slow. */
  const slowUntil = new Map<string, number>();

  const isSlow = (expression: string): boolean => (slowUntil.get(expression) ?? 0) > performance.now();
  const isQuick = (expression: string): boolean => slowUntil.get(expression) === 0;

  async function runTimed(lane: Lane, job: Job): Promise<TransformAnswer | 'too slow'> {
    await lane.start();
    const startedAt = performance.now();
    const answer = await lane.run(job);
    const endedAt = performance.now();
    if (slowUntil.size >= maxKnown) slowUntil.clear();
    if (endedAt - startedAt > slowMs) slowUntil.set(job.expression, endedAt + slowForMs);
    // Nothing is known of one that was only read, and one that is quick with this event may be slow with the next one, as it was a moment ago.
    else if (job.event !== null && !isSlow(job.expression)) slowUntil.set(job.expression, 0);
    return answer;
  }

  async function runInTurn(job: Job, patienceMs: number): Promise<Transformed> {
    const askedAt = performance.now();
    const inTurn = (lane: Lane) =>
      lane.queue.add(
        async () => {
          if (performance.now() - askedAt > patienceMs) return 'busy';
          if (lane === quick && isSlow(job.expression)) return 'elsewhere';
          return runTimed(lane, job);
        },
        { priority: isQuick(job.expression) ? 1 : 0 },
      );
    const first = isSlow(job.expression) ? 'elsewhere' : await inTurn(quick);
    const answer = first === 'elsewhere' || first === 'too slow' ? await inTurn(slow) : first;
    if (answer === 'busy' || answer === 'elsewhere') return { kind: 'busy' };
    if (answer === 'too slow') return { kind: 'failed', problem: `did not end within ${maxTransformMs} ms` };
    return 'body' in answer ? { kind: 'done', ...answer } : { kind: 'failed', ...answer };
  }

  return {
    /** The body that the expression makes of the event, JSON text. Rejects when there is no process to run it. */
    run: (
      { id, time, raw }: Pick<DomainEvent, 'id' | 'time' | 'raw'>,
      expression: string,
    ): Promise<Transformed> =>
      runInTurn(
        {
          expression,
          event: raw,
          time: Date.parse(time),
          seed: crc32(id),
        },
        maxPatienceMs,
      ),

    /** Why the text is no expression, with the place in it; null when it is one. Rejects as `run` does. */
    check: async (expression: string): Promise<string | null> => {
      const read = await runInTurn({ expression, event: null, time: 0, seed: 0 }, Number.POSITIVE_INFINITY);
      return read.kind === 'failed' ? read.problem : null;
    },

    /** Ends the processes. They end by themselves with this one. */
    stop: (): void => {
      quick.stop();
      slow.stop();
    },
  };
}

type Lane = ReturnType<typeof createLane>;
type Job = Omit<TransformJob, 'maxMs'>;

/** A process that does one job after the other, and none for longer than this. */
function createLane(maxMs: number) {
  let child: ChildProcess | null = null;
  let idle: NodeJS.Timeout | undefined;

  async function start(): Promise<ChildProcess> {
    clearTimeout(idle);
    // The end of one that has ended before comes no more.
    if (child === null || child.exitCode !== null || child.signalCode !== null) child = await startProcess();
    return child;
  }

  function stop(): void {
    clearTimeout(idle);
    child?.kill('SIGKILL');
    child = null;
  }

  async function run(job: Job): Promise<TransformAnswer | 'too slow'> {
    let next = await ask(job);
    // Others may end it too, who want their memory back: what an expression does once it does twice.
    if (next.message === undefined && !isTimeOver(next)) next = await ask(job);
    if (next.message !== undefined) return next.message as TransformAnswer;
    return isTimeOver(next) ? 'too slow' : { problem: endOf(next) };
  }

  async function ask(job: Job): Promise<Next> {
    const asked = await start();
    const coming = nextOf(asked, maxMs + answerMarginMs);
    // It may be gone already: that is what comes next then.
    asked.send({ ...job, maxMs } satisfies TransformJob, () => undefined);
    const next = await coming;
    if (next.message === undefined) stop();
    else idle = setTimeout(stop, maxIdleMs).unref();
    return next;
  }

  return { queue: new PQueue({ concurrency: 1 }), start, run, stop };
}

const isTimeOver = ({ code, signal }: Next): boolean =>
  code === null && (signal === null || signal === endSignals.timeOver);

// By V8 where a single text or list is too large, and by what looks after the whole machine.
const memorySignals = new Set<string | null>([endSignals.memoryOver, 'SIGABRT', 'SIGTRAP', 'SIGILL']);

const endOf = ({ code, signal }: Next): string =>
  memorySignals.has(signal) ? 'used more memory than it may' : `ended its process (${signal ?? code})`;

async function startProcess(): Promise<ChildProcess> {
  // Nothing of the environment, which has credentials in it, but for what some builds of Node are started with.
  const { LD_LIBRARY_PATH } = process.env;
  const child = fork(entry, {
    env: LD_LIBRARY_PATH === undefined ? {} : { LD_LIBRARY_PATH },
    // JSONata makes no code out of texts, and whoever found a hole in it should not either.
    execArgv: ['--disallow-code-generation-from-strings'],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  // It keeps nobody from ending; what is waited for has a timer of its own.
  child.unref();
  child.channel?.unref();
  const { message, error } = await nextOf(child, maxStartMs);
  if (message !== undefined) return child;
  child.kill('SIGKILL');
  throw new Error('The process that transforms run in did not start', { cause: error });
}

type Next = { message?: unknown; error?: Error; code: number | null; signal: string | null };

/** What a process says next, or how it ended; neither when it does nothing. */
async function nextOf(child: ChildProcess, withinMs: number): Promise<Next> {
  const { promise, resolve } = Promise.withResolvers<Next>();
  const silent = { code: null, signal: null };
  const onMessage = (message: unknown): void => resolve({ ...silent, message });
  const onError = (error: Error): void => resolve({ ...silent, error });
  const onExit = (code: number | null, signal: string | null): void => resolve({ code, signal });
  child.on('message', onMessage).on('error', onError).on('exit', onExit);
  // Not at once when the time is over: after a busy moment of this process the answer may be waiting to be read, and
  // timers run before reads.
  const timer = setTimeout(() => setImmediate(() => resolve(silent)), withinMs);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    child.off('message', onMessage).off('error', onError).off('exit', onExit);
  }
}
