import type { DomainEvent } from '../../shared/events/envelope.ts';
import { makeAttempt, settleMarginMs } from '../../shared/executions/attempt.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import { beginExecution, crowdOut, holdExecution, parkExecution } from '../../shared/executions/settle.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import type { Services } from './services.ts';

/**
 * Makes the first attempt of a handler, or holds the execution of a disabled one, and gives the record to log. Where the target is
 * down or slow no attempt is made, and the record says what it waits for.
 * Null when the deadline is so near that the call could outlive it: then nothing was done.
 */
export async function runHandler(
  services: Services,
  registered: RegisteredHandler,
  { event, key, deadline }: { event: DomainEvent; key: ExecutionKey; deadline: Date },
): Promise<ExecutionRecord | null> {
  const { now, turns, circuits, random, retryScale: scale } = services;
  const { handler } = registered;
  const beginning = beginExecution(key, handler, event);
  if (handler.status === 'disabled') return holdExecution(beginning, now());

  // Before its turn: what waits for a slow target must not take the turns of the others.
  const place = await circuits.admit(registered);
  if (place === 'open') return parkExecution(beginning, now());
  if (place === 'busy') return crowdOut(beginning, { now: now(), random: random(), scale });
  const { type, timeoutMs } = handler.target;
  try {
    return await turns[type](async () =>
      now().getTime() + timeoutMs + settleMarginMs > deadline.getTime()
        ? null
        : makeAttempt(services, registered, beginning, event),
    );
  } finally {
    place.leave();
  }
}
