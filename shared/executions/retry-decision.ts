// Pure core: imports nothing but zod and node:crypto.
import { maxDelaySeconds } from '../aws/queues.ts';
import type { Outcome } from '../delivery/outcome.ts';
import type { RetrySchedule } from '../handlers/handler.ts';
import type { ExecutionState, StatusReason, Waiting } from './life-cycle.ts';

const minute = 60;
const hour = 60 * minute;

/** Waits in seconds: 9 waits are 10 attempts over about 3 days. The first attempt is at once. */
export const defaultSchedule: readonly number[] = [
  5,
  5 * minute,
  30 * minute,
  2 * hour,
  5 * hour,
  10 * hour,
  14 * hour,
  20 * hour,
  24 * hour,
];

/** Jitter lengthens a wait by up to this share, and never shortens one: a receiver may count on the wait. */
const jitterShare = 0.1;

/**
 * How long an execution waits that AWS had no room for, seconds: twice as long each time, up to a bound that a queue can
 * wait for. Up to twice that, so that not all come back at once.
 */
const firstBusySeconds = 10;
const maxBusySeconds = maxDelaySeconds / 2;

/** After so many times in a row, over three days, that there was no room counts as a failed attempt. */
export const maxPutOffs = 400;

/** The longest that a receiver is waited for at its own wish (`Retry-After`), seconds. */
const maxRetryAfterSeconds = 24 * hour;

/** A wake-up call that has not come this long after its time is lost: the sweeper sends another one. Seconds. */
const lostAfterSeconds = 2 * minute;

/**
 * How long before its slot the wake-up call of an execution is sent for, milliseconds. A call that comes late misses the slot: it may
 * take the second that Lambda gathers messages for, and the start of an environment.
 */
const slotLeadMs = 1500;
export const maxSlotLeadMs = 300_000;

/** When the last call was late: by how much more than that the next one is sent for earlier. A queue's second is in it, too. */
const lateLeadMs = 2 * slotLeadMs + 1000;

/** The waits of a handler's schedule, in seconds; n waits are n + 1 attempts. */
export function waitsOf(schedule: RetrySchedule): readonly number[] {
  if (schedule === 'default') return defaultSchedule;
  return schedule === 'none' ? [] : schedule;
}

/** What a decision needs to know beside the outcome. */
export type DecisionInput = {
  /** Number of the attempt that just ended, from 1, counted within its generation. */
  attempt: number;
  /** How often in a row it was put off before. */
  putOffs: number;
  /** Waits in seconds; n waits are n + 1 attempts. */
  waits: readonly number[];
  now: Date;
  /** From 0 up to 1, for the jitter. */
  random: number;
  /** Multiplies every wait; 1 but in tests. */
  scale: number;
  /**
   * The handler as it is after the call, which may have made it so: `disabled`; or `changed`, so that what its endpoint demands was
   * said of another endpoint, maybe.
   */
  handlerIs: 'as-called' | 'changed' | 'disabled';
};

/** Where an execution stands after a call. */
export function afterAttempt(
  outcome: Outcome,
  { attempt, putOffs, waits, now, random, scale, handlerIs }: DecisionInput,
): ExecutionState {
  switch (outcome.kind) {
    case 'succeeded':
      return { status: 'succeeded' };
    case 'put-off':
      return waitForRoom(putOffs, { now, random, scale });
    case 'failed': {
      const wait = waits[attempt - 1];
      // Whoever enables the handler again finds among what is held also that which it was disabled for.
      if (outcome.demand === 'disable' && handlerIs === 'disabled')
        return { status: 'held', reason: 'disabled' };
      const isGoneElsewhere = outcome.demand === 'disable' && handlerIs === 'changed';
      const mayRetry = outcome.demand !== 'abort' && (outcome.retryable || isGoneElsewhere);
      if (!mayRetry || wait === undefined) return { status: 'failed' };
      const seconds = Math.max(wait, retryAfterSeconds(outcome.retryAfter, now));
      return waitFor(seconds * (1 + jitterShare * random), { reason: 'retry', now, scale });
    }
    default:
      return outcome satisfies never;
  }
}

/**
 * How long a receiver wants to be left alone, in seconds: `120`, or the time of an HTTP date (RFC 9110, 10.2.3). At most a day; 0 for
 * what is neither.
 */
export function retryAfterSeconds(header: string | undefined, now: Date): number {
  const text = header?.trim() ?? '';
  const seconds = /^\d{1,15}$/u.test(text) ? Number(text) : (httpDate(text) - now.getTime()) / 1000;
  return Number.isNaN(seconds) ? 0 : Math.min(maxRetryAfterSeconds, Math.max(0, seconds));
}

// Of the three forms of an HTTP date (RFC 9110, 5.6.7) the one that may be sent. Date.parse alone takes almost anything.
const httpDate = (text: string): number =>
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d{2}:\d{2}:\d{2} GMT$/u.test(
    text,
  )
    ? Date.parse(text)
    : Number.NaN;

/** An execution that there was no room for, `putOffs` times in a row before. */
export const waitForRoom = (
  putOffs: number,
  { now, random, scale }: Pick<DecisionInput, 'now' | 'random' | 'scale'>,
): Waiting =>
  waitFor(Math.min(maxBusySeconds, firstBusySeconds * 2 ** putOffs) * (1 + random), {
    reason: 'busy',
    now,
    scale,
  });

const waitFor = (
  seconds: number,
  { reason, now, scale }: { reason: Waiting['reason']; now: Date; scale: number },
): Waiting => waitUntil(new Date(now.getTime() + Math.ceil(seconds * 1000 * scale)), { reason, now, scale });

/** An execution that waits until `due`; `now` is fine. */
export function waitUntil(
  due: Date,
  { reason, now, scale }: { reason: Extract<StatusReason, Waiting['reason']>; now: Date; scale: number },
): Waiting {
  return {
    status: 'waiting',
    reason,
    nextAttemptAt: due.toISOString(),
    // What no queue can wait for so long is put into the queue by the sweeper, a quarter of an hour before its time.
    sweepAt: ridesInQueue(due, now)
      ? lostAt(due, scale)
      : new Date(due.getTime() - maxDelaySeconds * 1000).toISOString(),
  };
}

/**
 * When the wake-up call of what waits is to come.
 *
 * @param lateMs how late the last one has come: so much earlier is this one sent, or a queue that is behind would make it miss its slot
 *   for ever
 */
export function wakeAt(
  { reason, nextAttemptAt }: Pick<Waiting, 'reason' | 'nextAttemptAt'>,
  lateMs = 0,
): Date {
  if (reason !== 'rate-limit') return new Date(nextAttemptAt);
  const leadMs = lateMs > 0 ? Math.min(maxSlotLeadMs, lateMs + lateLeadMs) : slotLeadMs;
  return new Date(Date.parse(nextAttemptAt) - leadMs);
}

/** Whether the queue can wait until `due`, so that the wake-up call is sent at once. */
export const ridesInQueue = (due: Date, now: Date): boolean =>
  due.getTime() - now.getTime() <= maxDelaySeconds * 1000;

/** When the sweeper has to look after a wake-up call for `due`: it must be lost by then. */
export const lostAt = (due: Date, scale: number): string =>
  new Date(due.getTime() + Math.ceil(lostAfterSeconds * 1000 * scale)).toISOString();
