import { unanswered, unsent } from '../../shared/delivery/outcome.ts';
import type { DomainEvent } from '../../shared/events/envelope.ts';
import { isOwnEvent } from '../../shared/events/own-events.ts';
import { makeAttempt, settleMarginMs } from '../../shared/executions/attempt.ts';
import type { WaitingExecution } from '../../shared/executions/claim.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { failureOf } from '../../shared/executions/failure-event.ts';
import { readEvent, type ReadEvent } from '../../shared/executions/read-event.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import { goOn } from './go-on.ts';
import type { AttemptResult } from './attempt-result.ts';
import type { Services } from './services.ts';
import { slotNeed, waitForNextSlot, type Slot } from './work-at-slot.ts';

// Beyond the call itself: to settle, to write the log, and for clocks that differ. The scale of tests leaves enough of it.
const leaseMarginMs = 15_000;
const minLeaseMarginMs = 1000;

// A call that ends its worker (it takes all memory, or all time) would be made for ever.
const maxLostClaims = 3;

type ClaimedExecution = Pick<WaitingExecution, 'lostClaims'> & { record: ExecutionRecord };

/**
 * Claims the next attempt of an execution, makes it and writes what came of it. `put-off` when the deadline is so near that
 * the call could outlive it: then nothing was done.
 *
 * @param slot at which the call is to be made, where its handler has a rate limit
 */
export async function runAttempt(
  services: Services,
  registered: RegisteredHandler,
  execution: WaitingExecution,
  { slot, deadline }: { slot: Slot; deadline: Date },
): Promise<AttemptResult> {
  const { claims, now } = services;
  const { timeoutMs } = registered.handler.target;
  if (now().getTime() + timeoutMs + settleMarginMs > deadline.getTime()) return { kind: 'put-off' };

  const claim = await claims.claim(execution, leaseMsFor(services, registered.handler.target));
  if (claim === null) return { kind: 'stale' };
  // Where the table was slow, calls that were held up would go off together.
  const need = slotNeed(registered.handler, execution, slot, now());
  if (need !== null) return waitForNextSlot(services, need, execution, claim);
  const read = await readEvent(services.keeping, execution.record.event);
  const settled = await attemptClaimed(services, registered, execution, read);
  return conclude(services, settled, read.event, await claims.settle(execution, settled, claim));
}

/** Makes the attempt of a claimed execution, but for the call when too many have been lost, or there is nothing to send. */
export const attemptClaimed = (
  services: Parameters<typeof makeAttempt>[0],
  registered: RegisteredHandler,
  { record, lostClaims }: ClaimedExecution,
  { event, problem }: ReadEvent,
): ReturnType<typeof makeAttempt> => {
  const lost = lostClaims >= maxLostClaims ? lostCall : undefined;
  const call = problem === null ? lost : () => unsent(`event: ${problem}`);
  return makeAttempt(services, registered, record, event, call);
};

/** What follows when the outcome is in the log: the handlers that it held back go on, and a failure for good is told. */
export async function conclude(
  services: Services,
  record: ExecutionRecord,
  event: DomainEvent,
  { lost, problems }: { lost: boolean; problems: unknown[] },
): Promise<AttemptResult> {
  if (record.state.status === 'succeeded') await goOn(services, record);
  if (lost) return { kind: 'stale' };
  const toTell = isOwnEvent(event) ? null : failureOf(record);
  return { kind: 'settled', status: record.state.status, problems, toTell };
}

/** How long a claim lasts: longer than its call can take. */
export const leaseMsFor = (
  { retryScale }: Pick<Services, 'retryScale'>,
  { timeoutMs }: { timeoutMs: number },
): number => timeoutMs + Math.max(minLeaseMarginMs, leaseMarginMs * retryScale);

const lostCall = () =>
  unanswered(`lost: ${maxLostClaims} calls in a row ended without a result`, { retryable: true });
