import { invokeTarget } from '../../shared/delivery/invoke.ts';
import { webhookIdOf } from '../../shared/delivery/request.ts';
import type { Outcome } from '../../shared/delivery/outcome.ts';
import type { DomainEvent } from '../../shared/events/envelope.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import { afterAttempt, defaultSchedule } from '../../shared/executions/retry-decision.ts';
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
  {
    handler,
    signingKeys,
    event,
    key,
    deadline,
  }: RegisteredHandler & {
    event: DomainEvent;
    key: ExecutionKey;
    deadline: Date;
  },
): Promise<ExecutionRecord | null> {
  const record = {
    key,
    handlerName: handler.name,
    event: { type: event.type, time: event.time, objectId: event.objectId, raw: event.raw },
    generation: 1,
  };
  if (handler.status === 'disabled') {
    return {
      ...record,
      state: { status: 'held', reason: 'disabled' },
      startedAt: services.now().toISOString(),
      attemptCount: 0,
      attempts: [],
      request: null,
    };
  }

  const { target } = handler;
  return services.inTurn(async () => {
    const startedAt = services.now();
    if (startedAt.getTime() + target.timeoutMs + marginMs > deadline.getTime()) return null;
    const outcome = await invokeTarget(services, {
      handler,
      signingKeys,
      event,
      webhookId: webhookIdOf(event.id, handler.id),
      timeoutMs: target.timeoutMs,
    });
    const endedAt = services.now();
    return {
      ...record,
      state: afterAttempt(outcome, {
        attempt: 1,
        schedule: defaultSchedule,
        now: endedAt,
        random: services.random(),
        scale: services.retryScale,
      }),
      startedAt: startedAt.toISOString(),
      attemptCount: 1,
      attempts: [toAttempt(outcome, 1, startedAt, endedAt)],
      request: { method: target.method, url: target.url, headers: target.headers, format: target.format },
    };
  });
}

const toAttempt = (outcome: Outcome, number: number, startedAt: Date, endedAt: Date) => ({
  number,
  at: startedAt.toISOString(),
  // A clock that is set back during the call must not give a negative duration.
  durationMs: Math.max(0, endedAt.getTime() - startedAt.getTime()),
  statusCode: outcome.statusCode,
  error: outcome.kind === 'failed' ? outcome.error : null,
  response: outcome.response,
});
