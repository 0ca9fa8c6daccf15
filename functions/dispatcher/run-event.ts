import type { DomainEvent } from '../../shared/events/envelope.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import { runHandler } from './run-handler.ts';
import type { Services } from './services.ts';

/** One handler for one event, and where its execution lives. */
export type Call = { registered: RegisteredHandler; key: ExecutionKey };

/** What became of an event. What is not done of it runs when it comes back: the executions in the log are left alone. */
export type EventResult = 'done' | 'put-off' | Error;

/**
 * Runs the handlers of one event: by ascending priority, equal ones side by side. The next priority begins when the
 * first attempts of the one before have ended.
 *
 * @param groups the calls to be made, one group for each priority
 * @param onSettled is handed each execution as soon as its attempt has ended
 * @returns `put-off` when the deadline was too near for the rest, an Error for a fault of our own
 */
export async function runEvent(
  services: Services,
  { event, groups, deadline }: { event: DomainEvent; groups: readonly (readonly Call[])[]; deadline: Date },
  onSettled: (record: ExecutionRecord) => void,
): Promise<EventResult> {
  for (const group of groups) {
    const results = await Promise.all(group.map(run));
    // The priorities after this one run when the event comes back.
    const fault = results.find((result) => result instanceof Error);
    if (fault !== undefined) return fault;
    if (results.includes('put-off')) return 'put-off';
  }
  return 'done';

  async function run({ registered, key }: Call): Promise<EventResult> {
    try {
      const record = await runHandler(services, registered, { event, key, deadline });
      if (record === null) return 'put-off';
      onSettled(record);
      return 'done';
    } catch (cause) {
      // What a target does wrong is an outcome. This is ours, and must not take along what else is in the batch.
      const detail = cause instanceof Error ? cause.message : String(cause);
      return new Error(`Handler ${registered.handler.id} could not run for event ${event.id}: ${detail}`, {
        cause,
      });
    }
  }
}
