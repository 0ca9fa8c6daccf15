import type { DomainEvent } from '../../shared/events/envelope.ts';
import { makeAttempt, settleMarginMs } from '../../shared/executions/attempt.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import { beginExecution, holdExecution } from '../../shared/executions/settle.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import type { Services } from './services.ts';

/**
 * Makes the first attempt of a handler, or holds the execution of a disabled or a halted one, and gives the record to log.
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
  const { now, turns } = services;
  const { handler } = registered;
  const beginning = beginExecution(key, handler, event);
  if (handler.status === 'disabled') return holdExecution(beginning, 'disabled', now());
  if (isHalted) return holdExecution(beginning, 'halted', now());

  const { type, timeoutMs } = handler.target;
  return turns[type](async () =>
    now().getTime() + timeoutMs + settleMarginMs > deadline.getTime()
      ? null
      : makeAttempt(services, registered, beginning, event),
  );
}
