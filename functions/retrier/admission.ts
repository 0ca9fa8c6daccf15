import type { Place, Refusal } from '../../shared/delivery/circuits.ts';
import { crowdOut, parkExecution } from '../../shared/executions/settle.ts';
import type { WaitingExecution } from '../../shared/executions/claim.ts';
import { readKey } from '../../shared/executions/key.ts';
import type { WakeUp } from '../../shared/executions/wake-ups.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import type { AttemptResult } from './attempt-result.ts';
import type { Services } from './services.ts';

/** Whether an attempt may be made, and the place for it. It is given back once, by whoever has it last. */
export type Admission = {
  /** Null where nobody was asked: the handler does not run, or is not known yet. */
  answer: Place | Refusal | null;
};

/** Waits for a place among the attempts of a handler. Holds no turn and no event meanwhile, so a slow target keeps nobody waiting. */
export async function admitWakeUp(
  { circuits, currentRegistry }: Services,
  wakeUp: WakeUp,
): Promise<Admission> {
  const registered = (await currentRegistry()).find(readKey(wakeUp).handlerId);
  const runs = registered !== null && registered !== 'archived' && registered.handler.status === 'enabled';
  return { answer: runs ? await circuits.admit(registered) : null };
}

/** Asks for a place again, for those who have none or gave theirs back to wait. False: there is none now. */
export function admitAgain(
  { circuits }: Services,
  registered: RegisteredHandler,
  admission: Admission,
): boolean {
  if (admission.answer !== null) return true;
  const answer = circuits.admitNow(registered);
  if (answer === 'full') return false;
  admission.answer = answer;
  return true;
}

export function giveBack(admission: Admission): void {
  if (admission.answer !== null && typeof admission.answer === 'object') admission.answer.leave();
  admission.answer = null;
}

/** Writes what an execution waits for whose attempt is not made: parked until the circuit closes, or put off until there is room. */
export async function refuseAttempt(
  { claims, now, random, retryScale: scale }: Services,
  execution: WaitingExecution,
  refusal: Refusal,
): Promise<AttemptResult> {
  const record =
    refusal === 'open'
      ? parkExecution(execution.record, now())
      : crowdOut(execution.record, { now: now(), random: random(), scale });
  const isWritten = await claims.waitOn(execution, record);
  return isWritten ? { kind: 'settled', status: 'waiting', problems: [], toTell: null } : { kind: 'stale' };
}
