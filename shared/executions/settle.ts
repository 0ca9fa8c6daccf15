// No I/O, no clock, no dice: what decides is a parameter.
import type { Outcome } from '../delivery/outcome.ts';
import type { SentRequest } from '../delivery/request.ts';
import type { DomainEvent } from '../events/envelope.ts';
import type { ExecutionRecord } from './execution.ts';
import type { ExecutionKey } from './key.ts';
import { afterAttempt } from './retry-decision.ts';

/** The last attempts that are kept with an execution. */
const maxAttemptsKept = 10;

/** What a record holds from its beginning, whatever becomes of it. */
type Beginning = Pick<ExecutionRecord, 'key' | 'handlerName' | 'event' | 'generation'>;

/** The beginning of the execution of one handler and one event. */
export const beginExecution = (
  key: ExecutionKey,
  handler: { name: string },
  { type, time, objectId, raw }: DomainEvent,
): Beginning => ({
  key,
  handlerName: handler.name,
  event: { type, time, objectId, raw },
  generation: 1,
});

/** An execution that waits for a person: its handler is disabled. */
export const holdExecution = (beginning: Beginning, now: Date): ExecutionRecord => ({
  ...beginning,
  state: { status: 'held', reason: 'disabled' },
  startedAt: now.toISOString(),
  attemptCount: 0,
  attempts: [],
  request: null,
});

/**
 * The execution after one more attempt: the attempt noted, its state decided.
 *
 * @param execution its beginning, or the record as the attempt before left it
 * @param sent where the attempt went
 * @param schedule waits in seconds, see `retry-decision.ts`; `random` and `scale` too
 */
export function settleAttempt(
  execution: Beginning | ExecutionRecord,
  {
    outcome,
    sent,
    startedAt,
    endedAt,
    schedule,
    random,
    scale,
  }: {
    outcome: Outcome;
    sent: SentRequest;
    startedAt: Date;
    endedAt: Date;
    schedule: readonly number[];
    random: number;
    scale: number;
  },
): ExecutionRecord {
  const before =
    'attempts' in execution
      ? execution
      : { attempts: [], attemptCount: 0, startedAt: startedAt.toISOString() };
  const number = before.attemptCount + 1;
  const attempt = {
    number,
    at: startedAt.toISOString(),
    // A clock that is set back during the call must not give a negative duration.
    durationMs: Math.max(0, endedAt.getTime() - startedAt.getTime()),
    statusCode: outcome.statusCode,
    error: outcome.kind === 'failed' ? outcome.error : null,
    response: outcome.response,
  };
  return {
    ...execution,
    state: afterAttempt(outcome, { attempt: number, schedule, now: endedAt, random, scale }),
    startedAt: before.startedAt,
    attemptCount: number,
    attempts: [...before.attempts, attempt].slice(-maxAttemptsKept),
    request: sent,
  };
}
