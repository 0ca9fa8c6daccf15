import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { readKey } from '../../shared/executions/key.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { asksFor } from '../../shared/handlers/registry.ts';
import type { Services } from './services.ts';

/** Whether an execution that was held behind a halting handler has to stay so. */
export type HaltCheck = (execution: Pick<ExecutionRecord, 'key' | 'event'>) => Promise<boolean>;

/**
 * Answers as the dispatcher would: what an enabled halting handler of a lower priority has not succeeded with stays held. The handlers are
 * read once, when they are first needed.
 */
export function createHaltCheck({ handlers, executionLog }: Services): HaltCheck {
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
    const holdsBack = async ({ id, createdAt }: Handler): Promise<boolean> => {
      const status = await executionLog.statusOf({ ...key, pk: key.pk.replace(handlerId, id) });
      // Who came later was never asked for this event.
      return status === null ? createdAt <= time : status !== 'succeeded';
    };
    return (await Promise.all(halting.map(holdsBack))).includes(true);
  };
}
