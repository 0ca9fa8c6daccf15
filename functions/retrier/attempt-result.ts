import type { OwnEvent } from '../../shared/events/own-events.ts';
import type { ExecutionStatus } from '../../shared/executions/life-cycle.ts';

/**
 * What became of an attempt. `problems`: what went wrong beside it, and is mended by others. `toTell`: what is to be told on the bus.
 */
export type AttemptResult =
  | { kind: 'settled'; status: ExecutionStatus; problems: unknown[]; toTell: OwnEvent | null }
  | { kind: 'stale' }
  | { kind: 'put-off' };
