import type { Context } from 'aws-lambda';
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest';
import { type Schedule, type ScheduleOptions, startSchedule } from '../../local/schedule.ts';
import { log } from '../../shared/log.ts';

type Run = { context: Context; end: () => void; fail: (error: Error) => void };

let schedule: Schedule;
let logged: MockInstance;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  logged = vi.spyOn(log, 'error').mockReturnValue();
});
afterEach(async () => {
  const stopped = schedule.stop(0);
  await vi.runAllTimersAsync();
  await stopped;
  vi.useRealTimers();
});

/** A schedule of a minute whose runs end when the test says so. */
function start(options: Partial<ScheduleOptions> = {}): Run[] {
  const runs: Run[] = [];
  schedule = startSchedule({
    everyMs: 60_000,
    functionName: 'sweeper',
    timeoutMs: 50_000,
    handler: (_, context) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      runs.push({ context, end: resolve, fail: reject });
      return promise;
    },
    ...options,
  });
  return runs;
}

const runAt = (runs: readonly Run[], index: number): Run => {
  const run = runs[index];
  if (run === undefined) throw new Error(`There was no run ${index}.`);
  return run;
};
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('startSchedule', () => {
  it('calls the function at once, with the time limit that it has in AWS', () => {
    const runs = start();
    expect(runs).toHaveLength(1);
    expect(runAt(runs, 0).context.functionName).toBe('sweeper');
    expect(runAt(runs, 0).context.getRemainingTimeInMillis()).toBe(50_000);
  });

  it('calls it again a minute after each start, however long it took', async () => {
    const runs = start();
    await pass(20_000);
    runAt(runs, 0).end();
    await pass(39_999);
    expect(runs).toHaveLength(1);
    await pass(1);
    expect(runs).toHaveLength(2);
    runAt(runs, 1).end();
    await pass(59_999);
    expect(runs).toHaveLength(2);
    await pass(1);
    expect(runs).toHaveLength(3);
  });

  it('never runs twice at the same time: what took longer than a minute is followed at once', async () => {
    const runs = start({ timeoutMs: 300_000 });
    await pass(150_000);
    expect(runs).toHaveLength(1);
    runAt(runs, 0).end();
    await pass(0);
    expect(runs).toHaveLength(2);
    await pass(60_000);
    runAt(runs, 1).end();
    await pass(0);
    expect(runs).toHaveLength(3);
  });

  it('goes on after a failure, and logs it', async () => {
    const runs = start();
    const error = new Error('The table is gone.');
    runAt(runs, 0).fail(error);
    await pass(60_000);
    expect(logged.mock.calls).toEqual([['schedule.failed', { functionName: 'sweeper', error }]]);
    expect(runs).toHaveLength(2);
  });

  it('goes on after a function that throws before its first await', async () => {
    const handler = vi.fn<ScheduleOptions['handler']>(() => {
      throw new Error('broken');
    });
    start({ handler });
    await pass(60_000);
    expect(handler).toHaveBeenCalledTimes(2);
    expect(logged).toHaveBeenCalledTimes(2);
  });

  it('gives up on a run that takes longer than its time limit, and ignores how it ends', async () => {
    const runs = start();
    await pass(50_000);
    expect(logged).toHaveBeenCalledTimes(1);
    runAt(runs, 0).fail(new Error('too late'));
    await pass(10_000);
    expect(runs).toHaveLength(2);
    expect(logged).toHaveBeenCalledTimes(1);
  });
});

describe('stop', () => {
  it('begins no more runs', async () => {
    const runs = start();
    runAt(runs, 0).end();
    await pass(0);
    expect(await schedule.stop(1000)).toBe(true);
    await pass(120_000);
    expect(runs).toHaveLength(1);
  });

  it('waits for the run under way, and begins none after it', async () => {
    const runs = start();
    const stopped = schedule.stop(1000);
    await pass(500);
    runAt(runs, 0).end();
    expect(await stopped).toBe(true);
    await pass(120_000);
    expect(runs).toHaveLength(1);
  });

  it('waits no longer than the grace', async () => {
    const runs = start();
    const stopped = schedule.stop(1000);
    await pass(1000);
    expect(await stopped).toBe(false);
    runAt(runs, 0).end();
    await pass(120_000);
    expect(runs).toHaveLength(1);
  });
});
