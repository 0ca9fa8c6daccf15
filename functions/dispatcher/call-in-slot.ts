import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { putOffToSlot, type Beginning } from '../../shared/executions/settle.ts';
import { isMissed, maxSlotWaitMs, type RateLimited } from '../../shared/handlers/slots.ts';
import type { Services } from './services.ts';

/** The call of a handler with a rate limit. */
export type SlottedCall = {
  beginning: Beginning;
  /** When it must have begun. */
  latest: Date;
  /** For a place among the calls that are under way at once, or a record that says why there is none. */
  inTurn: <Result>(run: () => Promise<Result>) => Promise<Result | ExecutionRecord>;
  call: () => Promise<ExecutionRecord | null>;
};

/**
 * Makes a first attempt at the next free time of its handler, or gives the record of an execution that waits for that time, when it is not
 * soon. A slot that is missed for want of a place is lost, and the next one taken.
 */
export async function callInSlot(
  { slots, now, delay, retryScale }: Services,
  handler: RateLimited,
  { beginning, latest, inTurn, call }: SlottedCall,
): Promise<ExecutionRecord | null> {
  const until = Math.min(now().getTime() + maxSlotWaitMs, latest.getTime());
  for (;;) {
    const slot = await slots.take(handler);
    if (slot.getTime() > until) return putOffToSlot(beginning, slot, { now: now(), scale: retryScale });
    // Not in its turn: what waits for its time must not keep others from being called.
    const earlyMs = slot.getTime() - now().getTime();
    if (earlyMs > 0) await delay(earlyMs);
    const result = await inTurn(async () => (isMissed(slot, now()) ? 'missed' : call()));
    if (result !== 'missed') return result;
  }
}
