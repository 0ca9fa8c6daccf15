import { invokeTarget } from '../../shared/delivery/invoke.ts';
import { sentRequestOf, webhookIdOf } from '../../shared/delivery/request.ts';
import type { DomainEvent } from '../../shared/events/envelope.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import { defaultSchedule } from '../../shared/executions/retry-decision.ts';
import { beginExecution, holdExecution, settleAttempt } from '../../shared/executions/settle.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import type { Services } from './services.ts';

// For settling and writing the log after the last call of a batch has timed out.
const marginMs = 5000;

/**
 * Makes the first attempt of a handler, or holds the execution of a disabled one, and gives the record to log.
 * Null when the deadline is so near that the call could outlive it: then nothing was done.
 */
export async function runHandler(
  services: Services,
  { handler, signing }: RegisteredHandler,
  { event, key, deadline }: { event: DomainEvent; key: ExecutionKey; deadline: Date },
): Promise<ExecutionRecord | null> {
  const { now, random, retryScale, inTurn } = services;
  const beginning = beginExecution(key, handler, event);
  if (handler.status === 'disabled') return holdExecution(beginning, now());

  return inTurn(async () => {
    const { target } = handler;
    const startedAt = now();
    if (startedAt.getTime() + target.timeoutMs + marginMs > deadline.getTime()) return null;
    const webhookId = webhookIdOf(event.id, handler.id);
    const outcome = await invokeTarget(services, { target, signing, event, webhookId });
    return settleAttempt(beginning, {
      outcome,
      sent: sentRequestOf(target),
      startedAt,
      endedAt: now(),
      schedule: defaultSchedule,
      random: random(),
      scale: retryScale,
    });
  });
}
