import { NotFoundError } from '../../shared/errors.ts';
import { settleMarginMs } from '../../shared/executions/attempt.ts';
import type { Refusal } from '../../shared/delivery/circuits.ts';
import { isClaimed, isWaiting, type WaitingExecution } from '../../shared/executions/claim.ts';
import { readKey } from '../../shared/executions/key.ts';
import type { ExecutionStatus } from '../../shared/executions/life-cycle.ts';
import { maxSlotLeadMs, wakeAt } from '../../shared/executions/retry-decision.ts';
import { stopExecution } from '../../shared/executions/settle.ts';
import { readWakeUp, type WakeUp } from '../../shared/executions/wake-ups.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import { admitAgain, admitWakeUp, giveBack, refuseAttempt, type Admission } from './admission.ts';
import { goOn } from './go-on.ts';
import type { AttemptResult } from './attempt-result.ts';
import { runAttempt } from './run-attempt.ts';
import { runProbe } from './run-probe.ts';
import type { Services } from './services.ts';
import { comeToSlot, slotNeed, type ForSlot, type Slot } from './work-at-slot.ts';

/** A message of the retries queue. */
export type Message = { id: string; body: string; sentAt: Date };

/** What became of a batch: one wide log line. */
export type RetryReport = {
  messages: number;
  /** Messages to be returned to the queue, because nothing about them is settled yet. */
  failedMessageIds: string[];
  /** Messages that are no wake-up calls. */
  deadLetters: number;
  /** Wake-up calls for what has changed since, or is somebody else's by now. */
  stale: number;
  /** Sent again: the deadline was too near, the handler was not known yet, or the call came too early. */
  putOff: number;
  /** What was written to the log, by status. */
  executions: Record<ExecutionStatus, number>;
  /** What went wrong on our side, each thing once. */
  problems: string[];
};

/** What one wake-up call led to. */
type Retried =
  | AttemptResult
  | { kind: 'dead-letter' }
  /** There is no place among the attempts of its handler any more. */
  | { kind: 'crowded' }
  | { kind: 'failed'; messageId: string; error: unknown };

// SQS knows whole seconds, so a wake-up call comes up to a second early. Another second is for clocks that differ.
const maxEarlyMs = 2000;
// The wake-up call for a slot is sent for some time before it.
const maxSlotEarlyMs = 4500;
// Clocks that differ by more make a call come earlier than that: it goes back for the rest of the time. One for what is
// due later still is stale.
const maxSkewMs = 30_000;
// What the registry does not know yet is a second old at most.
const unknownHandlerWaitMs = 1000;

/**
 * Works off a batch of wake-up calls: for each one, look whether the execution still waits, claim it, make the attempt, settle,
 * write the log. A call that is stale does nothing: whoever changed the execution has sent another one.
 *
 * @param deadline when the invocation ends; no attempt begins that could outlive it
 */
export async function retryBatch(
  services: Services,
  messages: readonly Message[],
  deadline: Date,
): Promise<RetryReport> {
  const results = await Promise.all(
    messages.map((message) =>
      retryOne(services, message, deadline).catch((error: unknown): Retried => ({
        kind: 'failed',
        messageId: message.id,
        error,
      })),
    ),
  );
  // They say about how much ran: a batch is not done again for their sake.
  const uncounted = await services.hours.flush().then(
    (): unknown[] => [],
    (error: unknown) => [error],
  );

  const toTell = results.flatMap((result) => (result.kind === 'settled' ? (result.toTell ?? []) : []));
  const untold = await services.announce(toTell);

  const executions = { succeeded: 0, failed: 0, waiting: 0, held: 0 };
  const problems = [...uncounted, ...untold, ...(await services.circuits.flush())];
  const failedMessageIds: string[] = [];
  for (const result of results) {
    if (result.kind === 'settled') {
      executions[result.status] += 1;
      problems.push(...result.problems);
    }
    if (result.kind === 'failed') {
      failedMessageIds.push(result.messageId);
      problems.push(result.error);
    }
  }
  const count = (kind: Retried['kind']) => results.filter((result) => result.kind === kind).length;
  return {
    messages: messages.length,
    failedMessageIds,
    deadLetters: count('dead-letter'),
    stale: count('stale'),
    putOff: count('put-off'),
    executions,
    problems: [...new Set(problems.map(String))],
  };
}

async function retryOne(services: Services, message: Message, deadline: Date): Promise<Retried> {
  const { inTurn, deadLetters, wakeUps, now } = services;
  const wakeUp = readWakeUp(message.body);
  if (wakeUp === null) {
    const { id, sentAt: receivedAt, body } = message;
    await deadLetters.record({ id, receivedAt, reason: 'Not a wake-up call of Handoff.', body });
    return { kind: 'dead-letter' };
  }
  const { probe } = wakeUp;
  if (probe !== undefined) {
    const result = await inTurn(() => runProbe(services, { ...wakeUp, probe }, deadline));
    if (result.kind === 'put-off') await wakeUps.send(wakeUp, now());
    return result;
  }
  for (let slot: Slot = null; ;) {
    const at = { slot, deadline };
    const admission = await admitWakeUp(services, wakeUp);
    // At most so many events are in memory at once, whatever the batch: a wake-up call is small, its event may have 1 MB.
    const result = await inTurn(() =>
      workOff(services, wakeUp, { ...at, admission }).finally(() => giveBack(admission)),
    );
    if (result.kind === 'crowded') continue;
    if (result.kind !== 'early' && result.kind !== 'needs-slot') return result;
    const next = await comeToSlot(services, result, at);
    if (next.kind !== 'go-on') return next;
    slot = next.slot;
  }
}

async function workOff(
  services: Services,
  wakeUp: WakeUp,
  { slot, admission, deadline }: { slot: Slot; admission: Admission; deadline: Date },
): Promise<Retried | ForSlot> {
  const { claims, wakeUps, now, delay } = services;
  const execution = await claims.read(wakeUp);
  if (execution === null) return { kind: 'stale' };
  if (!isWaiting(execution)) {
    // The call may have come before, and who worked it off have died before sending the event on.
    if (execution.record.state.status === 'succeeded') await goOn(services, execution.record);
    return { kind: 'stale' };
  }
  const { generation } = execution.record;
  if ((wakeUp.generation ?? generation) !== generation) return { kind: 'stale' };
  const sendAgain = async (due: Date): Promise<Retried> => {
    await wakeUps.send(wakeUp, due);
    return { kind: 'put-off' };
  };
  const due = new Date(execution.record.state.nextAttemptAt);
  const earlyMs = due.getTime() - now().getTime();
  if (isClaimed(execution.claimedUntil, now())) return { kind: 'stale' };
  // What waits for a handler that was stopped is not left to wait until its time.
  const standing = await findHandler(services, execution);
  if (standing === 'disabled' || standing === 'archived' || standing === 'deleted') {
    return endExecution(services, execution, standing);
  }
  const hasSlot = execution.record.state.reason === 'rate-limit';
  if (earlyMs > maxSkewMs + (hasSlot ? maxSlotLeadMs : 0)) return { kind: 'stale' };
  if (earlyMs > (hasSlot ? maxSlotEarlyMs : maxEarlyMs)) return sendAgain(wakeAt(execution.record.state));
  if (earlyMs > 0 && hasSlot) return { kind: 'early', due };
  if (earlyMs > 0) {
    giveBack(admission);
    await delay(earlyMs);
  }

  const attempt = async (): Promise<Retried | ForSlot> => {
    const registered = await findHandler(services, execution);
    if (registered === 'unknown') return sendAgain(new Date(now().getTime() + unknownHandlerWaitMs));
    if (typeof registered === 'string') return endExecution(services, execution, registered);
    if (!admitAgain(services, registered, admission)) return { kind: 'crowded' };
    const isRefused = admission.answer === 'open' || admission.answer === 'busy';
    if (isRefused && execution.record.state.byHand !== true)
      return refuseAttempt(services, execution, admission.answer as Refusal);
    const run = async () =>
      slotNeed(registered.handler, execution, slot, now()) ??
      runAttempt(services, registered, execution, { slot, deadline });
    const isScript = registered.handler.target.type === 'script';
    const result = await (isScript ? services.scriptsInTurn(run) : run());
    return result.kind === 'put-off' ? sendAgain(now()) : result;
  };
  // A call that was lost may have ended its worker, and what ran beside it. One of them at a time, so that the others
  // are not lost with it once more.
  return execution.lostClaims > 0 ? services.alone(attempt) : attempt();
}

/** The handler as it is now, or why no attempt can be made. */
async function findHandler(
  { currentRegistry, handlers }: Services,
  { record }: WaitingExecution,
): Promise<RegisteredHandler | 'disabled' | 'archived' | 'deleted' | 'unknown'> {
  const { handlerId } = readKey(record.key);
  const found = (await currentRegistry()).find(handlerId);
  if (found !== null && found !== 'archived' && found.handler.status === 'enabled') return found;
  // The registry may be a second old, and its handler have been made or enabled since. To end or hold its work is not
  // undone by the next look: this one is at the table.
  const status = await handlers.get(handlerId).then(
    ({ handler }) => handler.status,
    (error: unknown) => {
      if (error instanceof NotFoundError) return 'deleted' as const;
      throw error;
    },
  );
  return status === 'enabled' ? 'unknown' : status;
}

/** Holds or ends what waits for a handler that does not run any more. Claimed first, as every change of what waits. */
async function endExecution(
  { claims }: Services,
  execution: WaitingExecution,
  reason: 'disabled' | 'archived' | 'deleted',
): Promise<Retried> {
  const claim = await claims.claim(execution, settleMarginMs);
  if (claim === null) return { kind: 'stale' };
  const record = stopExecution(execution.record, reason);
  const { lost, problems } = await claims.settle(execution, record, claim);
  return lost ? { kind: 'stale' } : { kind: 'settled', status: record.state.status, problems, toTell: null };
}
