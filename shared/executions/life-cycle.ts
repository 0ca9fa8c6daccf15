// Pure core: imports nothing but zod and node:crypto.
import { z } from 'zod';

export const ExecutionStatus = z.enum(['succeeded', 'failed', 'waiting', 'held']);
export type ExecutionStatus = z.output<typeof ExecutionStatus>;

/**
 * Why an execution waits, is held, or failed without an attempt. Waiting for time: `retry` (a failed attempt), `busy` (there
 * was no room for the call), `rate-limit`, `circuit` (parked until the target answers again). Waiting for a person: `disabled`
 * (its handler is), `halted` (a handler before it has not succeeded). Failed: its handler was `archived` or `deleted` while it waited.
 */
export const StatusReason = z.enum([
  'retry',
  'rate-limit',
  'circuit',
  'busy',
  'disabled',
  'halted',
  'archived',
  'deleted',
]);
export type StatusReason = z.output<typeof StatusReason>;

/** Where an execution with such a reason stands. */
export const statusOfReason: Readonly<Record<StatusReason, ExecutionStatus>> = {
  retry: 'waiting',
  'rate-limit': 'waiting',
  circuit: 'waiting',
  busy: 'waiting',
  disabled: 'held',
  halted: 'held',
  archived: 'failed',
  deleted: 'failed',
};

/** Where an execution stands. */
export type ExecutionState =
  | { status: 'succeeded' }
  | { status: 'failed'; reason?: Extract<StatusReason, 'archived' | 'deleted'> }
  | Waiting
  | Parked
  | { status: 'held'; reason: Extract<StatusReason, 'disabled' | 'halted'> };

/** Waits for its next attempt. */
export type Waiting = {
  status: 'waiting';
  reason: Extract<StatusReason, 'retry' | 'busy' | 'rate-limit'>;
  /** ISO 8601. */
  nextAttemptAt: string;
  /** When the sweeper must look whether a wake-up call is to be sent, ISO 8601. */
  sweepAt: string;
  /** A person has asked for this attempt: it is made although the circuit is open. */
  byHand?: true;
};

/** Waits until the circuit of its handler closes. Nobody knows when, so it has no due time, and nothing wakes it before that. */
export type Parked = { status: 'waiting'; reason: Extract<StatusReason, 'circuit'> };

export const isParked = (state: ExecutionState): state is Parked =>
  state.status === 'waiting' && state.reason === 'circuit';

// `none` is an execution that has no item yet.
type From = ExecutionStatus | 'none';

/**
 * The moves that exist within a generation. Ended never becomes not ended, with one exception the other
 * way round: a call that was under way may come back well after another one failed, and then it succeeded.
 */
const moves: Record<From, readonly ExecutionStatus[]> = {
  none: ['succeeded', 'failed', 'waiting', 'held'],
  waiting: ['succeeded', 'failed', 'waiting', 'held'],
  held: ['succeeded', 'failed', 'waiting'],
  failed: ['succeeded'],
  succeeded: [],
};

export const canMove = (from: From, to: ExecutionStatus): boolean => moves[from].includes(to);

/** The stored statuses that a new status may replace. The condition of the write is made of these. */
export const replaceableBy = (to: ExecutionStatus): ExecutionStatus[] =>
  ExecutionStatus.options.filter((from) => canMove(from, to));
