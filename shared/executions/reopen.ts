import { ConflictError, NotFoundError } from '../errors.ts';
import type { ExecutionRecord } from './execution.ts';
import { keyToString, type ExecutionKey } from './key.ts';
import type { Mover } from './move.ts';
import { askedByHand, reopenExecution } from './settle.ts';

/** Lets a person have executions tried once more. */
export function createReopener({ mover, scale, now }: { mover: Mover; scale: number; now: () => Date }) {
  /**
   * Makes the next attempt of an execution due now: of one that waits or is held the next one, of an ended one the first of
   * a new generation.
   *
   * @returns the execution as it is now; its attempt begins within moments
   * Throws NotFoundError; ConflictError (`state`) while an attempt is under way, or when it changes at this moment.
   */
  async function retryNow(key: ExecutionKey): Promise<ExecutionRecord> {
    const moved = await mover.move(key, (record) =>
      askedByHand(reopenExecution(record, { now: now(), scale })),
    );
    switch (moved.kind) {
      case 'moved':
        return moved.record;
      case 'missing':
        throw new NotFoundError('execution', keyToString(key));
      case 'claimed':
        throw new ConflictError('state', 'An attempt of this execution is under way.');
      case 'unwanted':
      case 'overtaken':
        throw new ConflictError('state', 'The execution has just changed.');
      default:
        return moved satisfies never;
    }
  }

  return { retryNow };
}
