import {
  buildInvocation,
  buildRequest,
  webhookIdOf,
  type SentRequest,
} from '../../shared/delivery/request.ts';
import type { DomainEvent } from '../../shared/events/envelope.ts';
import { parseEvent } from '../../shared/events/envelope.ts';
import type { ExecutionDetail, ExecutionRecord } from '../../shared/executions/execution.ts';
import { encodeExecutionId, readKey } from '../../shared/executions/key.ts';

type ShownRequest = ExecutionDetail['request'];

/**
 * The last request of an execution as it was sent, without its signature; null when none was made. The log keeps
 * where it went and the event: the body and the headers follow from these, so they are not stored twice.
 */
export function sentRequest({ key, handlerName, event, request, attempts }: ExecutionRecord): ShownRequest {
  const parsed = parseEvent(event.raw);
  const last = attempts.at(-1);
  if (request === null || last === undefined || !parsed.ok) return null;
  return showRequest(request, {
    event: parsed.event,
    handler: { id: readKey(key).handlerId, name: handlerName },
    execution: { id: encodeExecutionId(key), attempt: last.number },
    at: new Date(last.at),
  });
}

/** What an attempt sends, as the API shows it: without its signature. */
export function showRequest(
  request: SentRequest,
  {
    event,
    handler,
    execution,
    at,
  }: {
    event: DomainEvent;
    handler: { id: string; name: string };
    execution: { id: string; attempt: number };
    at: Date;
  },
): NonNullable<ShownRequest> {
  switch (request.type) {
    case 'http':
      return {
        type: 'http',
        ...buildRequest(request, {
          event,
          webhookId: webhookIdOf(event.id, handler.id),
          at,
          sign: () => '***',
          ...(request.authHeader !== undefined && { authHeaders: { [request.authHeader]: '***' } }),
        }),
      };
    case 'script':
      return { ...request, body: buildInvocation(event, handler, execution) };
    default:
      return request satisfies never;
  }
}
