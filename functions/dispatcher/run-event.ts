import type { DomainEvent } from '../../shared/events/envelope.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import type { Recorded } from '../../shared/executions/log.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import { runHandler } from './run-handler.ts';
import type { Services } from './services.ts';

/** One handler for one event, where its execution lives, and where that stands if it is in the log. */
export type Call = { registered: RegisteredHandler; key: ExecutionKey; recorded: Recorded | null };

/** What became of an event. What is not done of it runs when it comes back: the executions in the log are left alone. */
export type EventResult = 'done' | 'put-off' | Error;

/** Whether it waits behind a halting handler: it has not run yet, although it is in the log. */
export const isHeldBack = ({ recorded }: Pick<Call, 'recorded'>): boolean =>
  recorded?.status === 'held' && recorded.reason === 'halted';

/**
 * Runs the handlers of one event that have not run yet: by ascending priority, equal ones side by side. The next priority begins
 * when the first attempts of the one before have ended. Behind a halting handler that has not succeeded, whatever its first
 * attempt came to, all others are held.
 *
 * @param groups the calls that the event asks for, one group for each priority
 * @param onSettled is handed each execution as soon as its attempt has ended
 * @returns what became of it: `put-off` when the deadline was too near for the rest, an Error for a fault of our own; and the
 *   executions that it was halted by
 */
export async function runEvent(
  services: Services,
  { event, groups, deadline }: { event: DomainEvent; groups: readonly (readonly Call[])[]; deadline: Date },
  onSettled: (record: ExecutionRecord, call: Call) => void,
): Promise<{ result: EventResult; haltedBy: ExecutionKey[] }> {
  const haltedBy: ExecutionKey[] = [];
  for (const group of groups) {
    const isHalted = haltedBy.length > 0;
    const ends = await Promise.all(group.map((call) => run(call, isHalted)));
    // The priorities after this one run when the event comes back.
    const fault = ends.find((end) => end instanceof Error);
    if (fault !== undefined) return { result: fault, haltedBy };
    if (ends.includes('put-off')) return { result: 'put-off', haltedBy };
    for (const [index, call] of group.entries()) {
      if (isHalting(call) && ends[index] !== 'succeeded') haltedBy.push(call.key);
    }
  }
  return { result: 'done', haltedBy };

  /** Where the execution stands in the end, which may be where it stood. */
  async function run(
    call: Call,
    isHalted: boolean,
  ): Promise<ExecutionRecord['state']['status'] | 'put-off' | Error> {
    const { registered, key, recorded } = call;
    if (recorded !== null && (isHalted || !isHeldBack(call))) return recorded.status;
    try {
      const record = await runHandler(services, registered, { event, key, deadline, isHalted });
      if (record === null) return 'put-off';
      onSettled(record, call);
      return record.state.status;
    } catch (cause) {
      // What a target does wrong is an outcome. This is ours, and must not take along what else is in the batch.
      const detail = cause instanceof Error ? cause.message : String(cause);
      return new Error(`Handler ${registered.handler.id} could not run for event ${event.id}: ${detail}`, {
        cause,
      });
    }
  }
}

// One that is disabled will not succeed, and nobody has said that the others shall wait for that.
export const isHalting = ({ registered: { handler } }: Pick<Call, 'registered'>): boolean =>
  handler.onFailure === 'halt' && handler.status === 'enabled';
