import { settleMarginMs } from '../../shared/executions/attempt.ts';
import type { Claim, WaitingExecution } from '../../shared/executions/claim.ts';
import type { Postponable } from '../../shared/executions/postpone.ts';
import { waitUntil } from '../../shared/executions/retry-decision.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { isMissed, isRateLimited, maxSlotWaitMs, type RateLimited } from '../../shared/handlers/slots.ts';
import type { AttemptResult } from './attempt-result.ts';
import type { Services } from './services.ts';

/** What has to be waited for before an execution of a handler with a rate limit is called. */
export type ForSlot =
  /** Its own slot, which comes in a moment. */
  { kind: 'early'; due: Date } | NeedsSlot;

/** It has none, or has missed it. */
type NeedsSlot = { kind: 'needs-slot'; handler: Handler & RateLimited; execution: Postponable };

/** A slot that was taken for an execution in this run. Null: it has the one that it was put off to, if any. */
export type Slot = Date | null;

/** Null when the execution may be called now. */
export function slotNeed(
  handler: Handler,
  { record: { key, generation, state }, claimedUntil }: WaitingExecution,
  slot: Slot,
  now: Date,
): NeedsSlot | null {
  if (!isRateLimited(handler)) return null;
  const own = slot ?? (state.reason === 'rate-limit' ? new Date(state.nextAttemptAt) : null);
  if (own !== null && !isMissed(own, now)) return null;
  return { kind: 'needs-slot', handler, execution: { key, generation, state, claimedUntil } };
}

/**
 * Waits for the slot of an execution, or takes one and waits for that. It does so without a place among those that are worked off and
 * without its event in memory: it is looked at anew when its time has come. Where the slot is not soon, the execution is put off to it.
 *
 * @param slot the one that was taken for it before, which it has missed
 * @returns the slot to be called at, or what became of it
 */
export async function comeToSlot(
  services: Services,
  need: ForSlot,
  { slot, deadline }: { slot: Slot; deadline: Date },
): Promise<{ kind: 'go-on'; slot: Slot } | AttemptResult> {
  if (need.kind === 'early') {
    await waitFor(services, need.due);
    return { kind: 'go-on', slot };
  }
  const { slots, postpone, now, retryScale: scale } = services;
  const { handler, execution } = need;
  const next = await slots.take(handler);
  const latest = deadline.getTime() - handler.target.timeoutMs - settleMarginMs;
  // Who has missed one that was waited for here misses the next one too.
  if (slot === null && next.getTime() <= Math.min(now().getTime() + maxSlotWaitMs, latest)) {
    await waitFor(services, next);
    return { kind: 'go-on', slot: next };
  }
  const { reason, nextAttemptAt } = execution.state;
  const lateMs = reason === 'rate-limit' ? Math.max(0, now().getTime() - Date.parse(nextAttemptAt)) : 0;
  const state = waitUntil(next, { reason: 'rate-limit', now: now(), scale });
  const { lost, problems } = await postpone(execution, state, { lateMs });
  return lost ? { kind: 'stale' } : { kind: 'settled', status: 'waiting', problems, toTell: null };
}

/** Gives the claim of an execution back that has missed its slot while it was claimed. */
export async function waitForNextSlot(
  { slots, claims, now, retryScale: scale }: Services,
  { handler }: NeedsSlot,
  execution: WaitingExecution,
  claim: Claim,
): Promise<AttemptResult> {
  const state = waitUntil(await slots.take(handler), { reason: 'rate-limit', now: now(), scale });
  const { lost, problems } = await claims.settle(execution, { ...execution.record, state }, claim);
  return lost ? { kind: 'stale' } : { kind: 'settled', status: 'waiting', problems, toTell: null };
}

async function waitFor({ now, delay }: Services, time: Date): Promise<void> {
  const earlyMs = time.getTime() - now().getTime();
  if (earlyMs > 0) await delay(earlyMs);
}
