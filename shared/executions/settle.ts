// No I/O, no clock, no dice: what decides is a parameter.
import { unanswered, type Outcome } from '../delivery/outcome.ts';
import type { SentRequest } from '../delivery/request.ts';
import type { DomainEvent } from '../events/envelope.ts';
import type { Attempt, ExecutionRecord } from './execution.ts';
import type { ExecutionKey } from './key.ts';
import { afterAttempt, maxPutOffs, waitForRoom, waitUntil, type DecisionInput } from './retry-decision.ts';
import type { Parked } from './life-cycle.ts';

/** The last attempts that are kept with an execution. */
const maxAttemptsKept = 10;

/** What a record holds from its beginning, whatever becomes of it. */
export type Beginning = Pick<
  ExecutionRecord,
  'key' | 'handlerName' | 'event' | 'warnings' | 'generation' | 'attemptsBefore' | 'putOffs'
>;

/** The beginning of the execution of one handler and one event. */
export const beginExecution = (
  key: ExecutionKey,
  handler: { name: string },
  { type, time, objectId, raw, warnings, kept }: DomainEvent,
): Beginning => ({
  key,
  handlerName: handler.name,
  event: {
    type,
    time,
    objectId,
    raw: kept?.raw ?? raw,
    ...(kept?.sealed === undefined ? {} : { sealed: kept.sealed }),
  },
  ...(warnings === undefined ? {} : { warnings }),
  generation: 1,
  attemptsBefore: 0,
  putOffs: 0,
});

/** What a record of no attempt holds. */
const unattempted = (now: Date) => ({
  startedAt: now.toISOString(),
  attemptCount: 0,
  attempts: [],
  request: null,
});

/** An execution that waits for a person, or for a handler before it. */
export const holdExecution = (
  beginning: Beginning,
  reason: 'disabled' | 'halted',
  now: Date,
): ExecutionRecord => ({ ...beginning, state: { status: 'held', reason }, ...unattempted(now) });

/** An execution whose first attempt waits for its slot, because its handler has a rate limit. */
export const putOffToSlot = (
  beginning: Beginning,
  slot: Date,
  { now, scale }: { now: Date; scale: number },
): ExecutionRecord => ({
  ...beginning,
  state: waitUntil(slot, { reason: 'rate-limit', now, scale }),
  ...unattempted(now),
});

const parked: Parked = { status: 'waiting', reason: 'circuit' };

/** An execution that waits for the circuit of its handler to close. That uses up no attempt. */
export const parkExecution = (execution: Beginning | ExecutionRecord, now: Date): ExecutionRecord => ({
  ...unattempted(now),
  ...execution,
  state: parked,
});

/** A parked execution whose attempt, a probe, has failed: that is in the log and takes no place in the schedule. */
export const keepParked = (probed: ExecutionRecord): ExecutionRecord => ({
  ...probed,
  state: parked,
  attemptsBefore: probed.attemptsBefore + 1,
});

/** A parked execution that is to be tried now, because the circuit of its handler is closed. */
export const releaseExecution = (
  record: ExecutionRecord,
  due: Date,
  { now, scale }: { now: Date; scale: number },
): ExecutionRecord => ({ ...record, state: waitUntil(due, { reason: 'retry', now, scale }) });

// They lengthen the wait, and do not count for the limit of those that AWS had no room for: the target is there, and either
// answers, so that there will be room, or does not, so that its circuit opens.
const maxCountedWaitsForRoom = 6;

/** An execution whose handler has as many calls under way as it may have. That uses up no attempt. */
export const crowdOut = (
  execution: Beginning | ExecutionRecord,
  { now, random, scale }: { now: Date; random: number; scale: number },
): ExecutionRecord => ({
  ...unattempted(now),
  ...execution,
  state: waitForRoom(execution.putOffs, { now, random, scale }),
  putOffs: Math.max(execution.putOffs, Math.min(execution.putOffs + 1, maxCountedWaitsForRoom)),
});

/** An execution whose next attempt a person has asked for: a circuit does not keep it from being made. */
export const askedByHand = (record: ExecutionRecord): ExecutionRecord =>
  'nextAttemptAt' in record.state ? { ...record, state: { ...record.state, byHand: true } } : record;

/**
 * The execution after one more call: the attempt noted, its state decided. A call that was put off is no attempt.
 *
 * @param execution its beginning, or the record as the attempt before left it
 * @param sent where the call went
 */
export function settleAttempt(
  execution: Beginning | ExecutionRecord,
  {
    outcome: called,
    sent,
    startedAt,
    endedAt,
    ...decision
  }: {
    outcome: Outcome;
    sent: SentRequest;
    startedAt: Date;
    endedAt: Date;
  } & Pick<DecisionInput, 'waits' | 'random' | 'scale' | 'handlerIs'>,
): ExecutionRecord {
  const before = 'attempts' in execution ? execution : unattempted(startedAt);
  const outcome = execution.putOffs >= maxPutOffs ? endPuttingOff(called) : called;
  const number = before.attemptCount + 1;
  const state = afterAttempt(outcome, {
    ...decision,
    attempt: number - execution.attemptsBefore,
    putOffs: execution.putOffs,
    now: endedAt,
  });
  const settled = { ...execution, ...before, state };
  if (outcome.kind === 'put-off') return { ...settled, putOffs: execution.putOffs + 1 };
  const attempt: Attempt = {
    number,
    at: startedAt.toISOString(),
    // A clock that is set back during the call must not give a negative duration.
    durationMs: Math.max(0, endedAt.getTime() - startedAt.getTime()),
    statusCode: outcome.statusCode,
    error: outcome.kind === 'failed' ? outcome.error : null,
    response: outcome.response,
    output: outcome.output ?? null,
  };
  return {
    ...settled,
    putOffs: 0,
    attemptCount: number,
    attempts: [...before.attempts, attempt].slice(-maxAttemptsKept),
    request: sent,
  };
}

// What is put off for ever would never end.
const endPuttingOff = (outcome: Outcome): Outcome =>
  outcome.kind === 'put-off'
    ? unanswered(`${outcome.reason}: there was no room for the call ${maxPutOffs} times in a row`, {
        retryable: true,
      })
    : outcome;

/** An execution that no attempt will be made of any more, or not before a person asks for it. */
export const stopExecution = (
  record: ExecutionRecord,
  reason: 'disabled' | 'archived' | 'deleted',
): ExecutionRecord => ({
  ...record,
  state: reason === 'disabled' ? { status: 'held', reason } : { status: 'failed', reason },
});

/**
 * An execution that a person wants tried once more, now or when it is `due`. One that has ended begins a new generation, with its
 * schedule anew; the attempts are counted on.
 */
export function reopenExecution(
  record: ExecutionRecord,
  { now, scale, due = now }: { now: Date; scale: number; due?: Date },
): ExecutionRecord {
  const state = waitUntil(due, { reason: 'retry', now, scale });
  const hasEnded = record.state.status === 'succeeded' || record.state.status === 'failed';
  return hasEnded
    ? { ...record, state, generation: record.generation + 1, attemptsBefore: record.attemptCount, putOffs: 0 }
    : { ...record, state, putOffs: 0 };
}
