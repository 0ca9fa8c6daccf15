import type { DomainEvent } from '../../shared/events/envelope.ts';
import { makeAttempt, settleMarginMs } from '../../shared/executions/attempt.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import { beginExecution, crowdOut, holdExecution, parkExecution } from '../../shared/executions/settle.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import { isRateLimited } from '../../shared/handlers/slots.ts';
import { callInSlot } from './call-in-slot.ts';
import type { Services } from './services.ts';

/**
 * Makes the first attempt of a handler, or holds the execution of a disabled or a halted one, and gives the record to log. Where
 * the target is down or slow, or the rate limit has no room for it soon, no attempt is made, and the record says what it waits for.
 * Null when the deadline is so near that the call could outlive it: then nothing was done.
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
  const { now, turns, circuits, random, retryScale: scale } = services;
  const { handler } = registered;
  const beginning = beginExecution(key, handler, event);
  if (handler.status === 'disabled') return holdExecution(beginning, 'disabled', now());
  if (isHalted) return holdExecution(beginning, 'halted', now());

  const { type, timeoutMs } = handler.target;
  const latest = new Date(deadline.getTime() - timeoutMs - settleMarginMs);
  const call = async () => (now() > latest ? null : makeAttempt(services, registered, beginning, event));
  // Before its turn: what waits for a slow target must not take the turns of the others.
  const inTurn = async <Result>(run: () => Promise<Result>): Promise<Result | ExecutionRecord> => {
    const place = await circuits.admit(registered);
    if (place === 'open') return parkExecution(beginning, now());
    if (place === 'busy') return crowdOut(beginning, { now: now(), random: random(), scale });
    try {
      return await turns[type](run);
    } finally {
      place.leave();
    }
  };
  if (!isRateLimited(handler)) return inTurn(call);
  // What is parked takes no slot.
  return circuits.isOpenFor(registered)
    ? parkExecution(beginning, now())
    : callInSlot(services, handler, { beginning, latest, inTurn, call });
}
