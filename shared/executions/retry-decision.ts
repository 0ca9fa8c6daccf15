// Pure core: imports nothing but zod and node:crypto.
import type { Outcome } from '../delivery/outcome.ts';
import type { ExecutionState } from './life-cycle.ts';

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
 * Where an execution stands after an attempt.
 *
 * @param attempt number of the attempt that just ended, from 1
 * @param schedule waits in seconds; n waits are n + 1 attempts
 * @param random from 0 up to 1, for the jitter
 * @param scale multiplies the wait; 1 but in tests
 */
export function afterAttempt(
  outcome: Outcome,
  {
    attempt,
    schedule,
    now,
    random,
    scale,
  }: {
    attempt: number;
    schedule: readonly number[];
    now: Date;
    random: number;
    scale: number;
  },
): ExecutionState {
  if (outcome.kind === 'succeeded') return { status: 'succeeded' };
  const waitSeconds = schedule[attempt - 1];
  if (!outcome.retryable || waitSeconds === undefined) return { status: 'failed' };
  const waitMs = waitSeconds * 1000 * scale * (1 + jitterShare * random);
  return {
    status: 'waiting',
    reason: 'retry',
    nextAttemptAt: new Date(now.getTime() + Math.ceil(waitMs)).toISOString(),
  };
}
