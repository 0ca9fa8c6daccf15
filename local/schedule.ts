import type { Context } from 'aws-lambda';
import { log } from '../shared/log.ts';
import { lambdaContext } from './lambda-context.ts';

/** A function that is called by the clock. What it answers means nothing. */
export type ScheduledHandler = (event: unknown, context: Context) => Promise<unknown>;

export type ScheduleOptions = {
  /** From the start of one run to the start of the next. A run that takes longer is followed at once. */
  everyMs: number;
  handler: ScheduledHandler;
  functionName: string;
  /** As in AWS, a run that takes longer has failed. Unlike there it cannot be stopped: its result is ignored. */
  timeoutMs: number;
};

export type Schedule = {
  /**
   * Begins no more runs and waits up to `graceMs` for the one under way. Resolves to whether nothing is under way any
   * more.
   */
  stop(graceMs: number): Promise<boolean>;
};

/** Does what EventBridge Scheduler does: calls a function again and again, for the first time at once. */
export function startSchedule({ everyMs, handler, functionName, timeoutMs }: ScheduleOptions): Schedule {
  let underWay: Promise<void> | null = null;
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  function begin(): void {
    const startedAt = performance.now();
    underWay = run().finally(() => {
      underWay = null;
      if (!isStopped) timer = setTimeout(begin, Math.max(0, startedAt + everyMs - performance.now()));
    });
  }

  async function run(): Promise<void> {
    const timeLimit = Promise.withResolvers<never>();
    const limit = setTimeout(
      () => timeLimit.reject(new Error(`The function ran for more than ${timeoutMs / 1000} seconds.`)),
      timeoutMs,
    );
    try {
      await Promise.race([handler({}, lambdaContext(functionName, timeoutMs)), timeLimit.promise]);
    } catch (error) {
      log.error('schedule.failed', { functionName, error });
    } finally {
      clearTimeout(limit);
    }
  }

  begin();

  return {
    async stop(graceMs) {
      isStopped = true;
      clearTimeout(timer);
      const grace = Promise.withResolvers<void>();
      const graceTimer = setTimeout(grace.resolve, graceMs);
      await Promise.race([underWay, grace.promise]);
      clearTimeout(graceTimer);
      return underWay === null;
    },
  };
}
