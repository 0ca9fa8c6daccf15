import { z } from 'zod';
import type { ExecutionRecord } from './execution.ts';

/** What may be recovered: what has ended, and what waits for a person. In this order a recovery goes through them. */
export const RecoverableStatus = z.enum(['failed', 'held', 'succeeded']);
export type RecoverableStatus = z.output<typeof RecoverableStatus>;

/** What is to be delivered again: the executions of one handler, by the time in their keys and by status. */
export type RecoveryRange = {
  handlerId: string;
  /** ISO 8601 with milliseconds, both ends included. */
  from: string;
  to: string;
  /** Each once, in the order of `RecoverableStatus`. */
  statuses: readonly RecoverableStatus[];
};

/** A run in the background that delivers executions again, as the API shows it. */
export const Recovery = z.strictObject({
  id: z.string(),
  handlerId: z.string(),
  status: z.enum(['running', 'done', 'cancelled']),
  reason: z
    .enum(['disabled', 'archived', 'deleted'])
    .nullable()
    .describe('What became of its handler, where that has cancelled it'),
  found: z.int().describe('The executions that it has come upon'),
  released: z
    .int()
    .describe(
      'Those of them that were let go, each once. The others had succeeded, been tried or gone on meanwhile. After a crash both counts can be short by up to a hundred',
    ),
  from: z.iso.datetime(),
  to: z.iso.datetime(),
  statuses: z.array(RecoverableStatus),
  createdAt: z.iso.datetime(),
  endedAt: z.iso.datetime().nullable(),
});
export type Recovery = z.output<typeof Recovery>;

/** Clocks of machines that work side by side differ by less. */
const maxSkewMs = 60_000;

/**
 * Whether a recovery is for an execution as it stands now. What was tried since the recovery began is what became of it, by this recovery
 * or by a person, and is not tried once more.
 */
export function isWantedBy(
  { statuses, createdAt }: Pick<Recovery, 'statuses' | 'createdAt'>,
  record: Pick<ExecutionRecord, 'state' | 'attempts'>,
  now: Date,
): boolean {
  const { status } = record.state;
  const last = record.attempts.at(-1);
  const triedAt = last === undefined ? Number.NEGATIVE_INFINITY : Date.parse(last.at) + last.durationMs;
  // An attempt that is yet to come was made before a clock was set back: nothing says that it came after the recovery.
  const isTriedSince = triedAt > Date.parse(createdAt) && triedAt <= now.getTime() + maxSkewMs;
  return status !== 'waiting' && statuses.includes(status) && !isTriedSince;
}
