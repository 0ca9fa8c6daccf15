import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { keyAt, placeIn, readKey } from '../../shared/executions/key.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { asksFor } from '../../shared/handlers/registry.ts';
import type { Services } from './services.ts';

// An event whose executions are not all in the log comes back up to ten times, each time after the queue's 18 minutes.
const longestDispatchMs = 4 * 3_600_000;

/** Whether an execution that has not run yet is to wait for a halting handler before it. */
export type HaltCheck = (execution: Pick<ExecutionRecord, 'key' | 'event'>) => Promise<boolean>;

/**
 * Answers as the dispatcher would: what an enabled halting handler of a lower priority has not succeeded with stays held. The handlers are
 * read once, when they are first needed.
 */
export function createHaltCheck({ handlers, executionLog, now }: Services): HaltCheck {
  let reading: Promise<Handler[]> | undefined;
  const readHandlers = async (): Promise<Handler[]> =>
    (await handlers.readAll()).handlers.map(({ handler }) => handler);

  return async ({ key, event }) => {
    reading ??= readHandlers();
    const all = await reading;
    const { handlerId, time } = readKey(key);
    const own = all.find(({ id }) => id === handlerId);
    if (own === undefined) return true;
    const halting = all.filter(
      (handler) =>
        handler.onFailure === 'halt' &&
        handler.status === 'enabled' &&
        handler.priority < own.priority &&
        asksFor(handler, event),
    );
    const mayBeUnderWay = now().getTime() - Date.parse(time) < longestDispatchMs;
    const holdsBack = async ({ id }: Handler): Promise<boolean> => {
      const status = await executionLog.statusOf(keyAt(placeIn(key), id));
      // Whose execution has expired, or who was never asked for this event, will not succeed with it any more.
      return status === null ? mayBeUnderWay : status !== 'succeeded';
    };
    return (await Promise.all(halting.map(holdsBack))).includes(true);
  };
}
