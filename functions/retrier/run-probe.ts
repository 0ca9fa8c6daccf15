import { signOf } from '../../shared/delivery/circuits.ts';
import type { Outcome } from '../../shared/delivery/outcome.ts';
import { settleMarginMs } from '../../shared/executions/attempt.ts';
import { isClaimed } from '../../shared/executions/claim.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { readKey } from '../../shared/executions/key.ts';
import { readEvent } from '../../shared/executions/read-event.ts';
import type { Sign } from '../../shared/delivery/call-window.ts';
import { keepParked } from '../../shared/executions/settle.ts';
import type { WakeUp } from '../../shared/executions/wake-ups.ts';
import { goOn } from './go-on.ts';
import type { AttemptResult } from './attempt-result.ts';
import { attemptClaimed, conclude, leaseMsFor } from './run-attempt.ts';
import type { Services } from './services.ts';

/**
 * Makes the one attempt that asks whether a target is back. An answer closes the circuit; a failure is in the log, uses up no attempt,
 * and says when to ask again. A call for a probe that is over does nothing, unless its execution has succeeded: who made it may have
 * died before sending the event on.
 */
export async function runProbe(
  services: Services,
  wakeUp: WakeUp & { probe: string },
  deadline: Date,
): Promise<AttemptResult> {
  const result = await makeProbe(services, wakeUp, deadline);
  if (result !== 'over') return result;
  const found = await services.claims.read(wakeUp);
  if (found?.record.state.status === 'succeeded') await goOn(services, found.record);
  return { kind: 'stale' };
}

async function makeProbe(
  services: Services,
  { probe: token, ...key }: WakeUp & { probe: string },
  deadline: Date,
): Promise<AttemptResult | 'over'> {
  const { claims, health, circuits, currentRegistry, disableHandler, now, random, observe, scriptsInTurn } =
    services;
  const { handlerId } = readKey(key);
  const registered = (await currentRegistry()).find(handlerId);
  const { health: found } = await health.read(handlerId);
  if (registered === null || registered === 'archived' || registered.handler.status !== 'enabled')
    return 'over';
  if (found?.circuit?.probe?.token !== token || found.targetVersion !== registered.targetVersion)
    return 'over';
  const { failedProbes } = found.circuit;
  const { target } = registered.handler;
  if (now().getTime() + target.timeoutMs + settleMarginMs > deadline.getTime()) return { kind: 'put-off' };

  const execution = await claims.readParked(key);
  if (execution !== null && isClaimed(execution.claimedUntil, now())) return { kind: 'stale' };
  const claim = execution && (await claims.claim(execution, leaseMsFor(services, target)));
  if (execution === null || claim === null) {
    // A person was faster, or it has ended: another execution will do.
    await health.endProbe(handlerId, token, { failedProbes, isSoon: true, random: random() });
    return 'over';
  }
  const read = await readEvent(services.keeping, execution.record.event);
  const { event } = read;

  const calledAt = now();
  let sign = signOf({ kind: 'put-off', reason: 'busy' });
  const probing = {
    ...services,
    async observe(_: typeof registered, __: unknown, call: () => Promise<Outcome>): Promise<Outcome> {
      const outcome = await call();
      sign = signOf(outcome);
      return outcome;
    },
  } satisfies { observe: typeof observe };
  const attempt = () => attemptClaimed(probing, registered, execution, read);
  const settled = await (target.type === 'script' ? scriptsInTurn(attempt) : attempt());

  // First the log: what dies in between is asked once more, when the lease of the probe is over.
  const record = afterProbe(sign, settled, execution.record);
  const written = await claims.settle(execution, record, claim);
  const { handler } = registered;
  if (sign === 'alive') {
    const subject = { handlerId, targetVersion: found.targetVersion };
    await circuits.closeCircuit({ subject, handler, event }, calledAt);
  } else {
    await health.endProbe(handlerId, token, {
      failedProbes: sign === 'failed' ? failedProbes + 1 : failedProbes,
      isSoon: sign !== 'failed',
      random: random(),
    });
    if (circuits.hasFailedTooLong(found.failingSince)) await disableHandler(handler, 'failing', event);
  }
  return conclude(services, record, event, written);
}

/** A probe that said nothing about the target leaves its execution as it was, unless it has failed for good. */
function afterProbe(sign: Sign, settled: ExecutionRecord, before: ExecutionRecord): ExecutionRecord {
  if (sign === 'failed') return keepParked(settled);
  return sign === 'neither' && settled.state.status !== 'failed' ? before : settled;
}
