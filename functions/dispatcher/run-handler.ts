import type { DomainEvent } from '../../shared/events/envelope.ts';
import { makeAttempt, settleMarginMs } from '../../shared/executions/attempt.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import { beginExecution, holdExecution } from '../../shared/executions/settle.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import { isRateLimited } from '../../shared/handlers/slots.ts';
import { callInSlot } from './call-in-slot.ts';
import type { Services } from './services.ts';

/**
 * Makes the first attempt of a handler, or holds the execution of a disabled or a halted one, and gives the record to log.
 * Null when the deadline is so near that the call could outlive it: then nothing was done. Where the rate limit of the handler has no room
 * for it soon, the record is one that waits for its slot.
 *
 * @param isHalted whether a halting handler before it has not succeeded with this event
 */
export async function runHandler(
  services: Services,
  registered: RegisteredHandler,
  {
    event,
    key,
    deadline,
    isHalted,
  }: { event: DomainEvent; key: ExecutionKey; deadline: Date; isHalted: boolean },
): Promise<ExecutionRecord | null> {
  const { now, turns } = services;
  const { handler } = registered;
  const beginning = beginExecution(key, handler, event);
  if (handler.status === 'disabled') return holdExecution(beginning, 'disabled', now());
  if (isHalted) return holdExecution(beginning, 'halted', now());

  const { type, timeoutMs } = handler.target;
  const latest = new Date(deadline.getTime() - timeoutMs - settleMarginMs);
  const call = async () => (now() > latest ? null : makeAttempt(services, registered, beginning, event));
  return isRateLimited(handler)
    ? callInSlot(services, handler, { beginning, latest, inTurn: turns[type], call })
    : turns[type](call);
}
