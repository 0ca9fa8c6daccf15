import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { keyAt, placeIn, readKey } from '../../shared/executions/key.ts';
import { readEvent } from '../../shared/executions/read-event.ts';
import { filteredEvent, type FilteredEvent } from '../../shared/filters/match-filter.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { asksFor, matchesOrProblem, openFilter, type Filtering } from '../../shared/handlers/registry.ts';
import type { Services } from './services.ts';

// An event whose executions are not all in the log comes back up to ten times, each time after the queue's 18 minutes.
const longestDispatchMs = 4 * 3_600_000;

/** Whether an execution that has not run yet is to wait for a halting handler before it. */
export type HaltCheck = (execution: Pick<ExecutionRecord, 'key' | 'event'>) => Promise<boolean>;

type Candidate = { handler: Handler; filter: Filtering };

/**
 * Answers as the dispatcher would: what an enabled halting handler of a lower priority has not succeeded with stays held. One whose filter
 * does not match the event halts nobody: it has no execution of it, and will never have one. The event is opened, with what was redacted, only where
 * such a filter has to be asked. The handlers are read once, when they are first needed.
 */
export function createHaltCheck({ handlers, executionLog, keeping, now }: Services): HaltCheck {
  let reading: Promise<Candidate[]> | undefined;
  const readHandlers = async (): Promise<Candidate[]> =>
    (await handlers.readAll()).handlers.map(({ handler }) => ({ handler, filter: openFilter(handler) }));

  return async ({ key, event }) => {
    reading ??= readHandlers();
    const all = await reading;
    const { handlerId, time } = readKey(key);
    const own = all.find(({ handler }) => handler.id === handlerId)?.handler;
    if (own === undefined) return true;
    const asking = all.filter(
      ({ handler }) =>
        handler.onFailure === 'halt' &&
        handler.status === 'enabled' &&
        handler.priority < own.priority &&
        asksFor(handler, event),
    );
    const halting = await withMatchingFilter(asking, event);
    const mayBeUnderWay = now().getTime() - Date.parse(time) < longestDispatchMs;
    const holdsBack = async ({ id }: Handler): Promise<boolean> => {
      const status = await executionLog.statusOf(keyAt(placeIn(key), id));
      // Whose execution has expired, or who was never asked for this event, will not succeed with it any more.
      return status === null ? mayBeUnderWay : status !== 'succeeded';
    };
    return (await Promise.all(halting.map(holdsBack))).includes(true);
  };

  async function withMatchingFilter(
    candidates: readonly Candidate[],
    event: Parameters<HaltCheck>[0]['event'],
  ): Promise<Handler[]> {
    const isFiltered = candidates.some(({ filter }) => filter !== null);
    const filtered = isFiltered ? await openEvent(event) : null;
    return candidates
      .filter(({ filter }) => filter === null || filtered === null || mayMatch(filter, filtered))
      .map(({ handler }) => handler);
  }

  async function openEvent(event: Parameters<HaltCheck>[0]['event']): Promise<FilteredEvent | null> {
    const read = await readEvent(keeping, event);
    return read.problem === null ? filteredEvent(read.event) : null;
  }
}

// Where nobody can tell, the dispatcher has let the handler run, and it has failed.
const mayMatch = (filter: Exclude<Filtering, null>, event: FilteredEvent): boolean =>
  matchesOrProblem(filter, event) !== false;
