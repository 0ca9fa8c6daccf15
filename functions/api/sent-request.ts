import {
  buildInvocation,
  buildRequest,
  makeBody,
  webhookIdOf,
  type SentRequest,
} from '../../shared/delivery/request.ts';
import type { DomainEvent } from '../../shared/events/envelope.ts';
import { parseEvent } from '../../shared/events/envelope.ts';
import type { Transformed, Transforms } from '../../shared/transforms/transform.ts';
import type { ExecutionDetail, ExecutionRecord } from '../../shared/executions/execution.ts';
import { encodeExecutionId, readKey } from '../../shared/executions/key.ts';

type ShownRequest = ExecutionDetail['request'];

/**
 * The last request of an execution as it was sent, without its signature; null when none was made. The log keeps
 * where it went and the event: the body and the headers follow from these, so they are not stored twice. A transform is run once more for it.
 */
export async function sentRequest(
  transforms: Pick<Transforms, 'run'>,
  { key, handlerName, event, request, attempts }: ExecutionRecord,
): Promise<ShownRequest> {
  const parsed = parseEvent(event.raw);
  const last = attempts.at(-1);
  if (request === null || last === undefined || !parsed.ok) return null;
  return showRequest(transforms, request, {
    event: parsed.event,
    handler: { id: readKey(key).handlerId, name: handlerName },
    execution: { id: encodeExecutionId(key), attempt: last.number },
    at: new Date(last.at),
  });
}

/** What an attempt sends, as the API shows it: without its signature. */
export async function showRequest(
  transforms: Pick<Transforms, 'run'>,
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
): Promise<NonNullable<ShownRequest>> {
  switch (request.type) {
    case 'http': {
      const made = await makeBody(transforms, request, event);
      const body = made.kind === 'done' ? made.body : null;
      return {
        type: 'http',
        format: request.format,
        transform: request.transform ?? null,
        ...buildRequest(request, {
          event,
          body: body ?? '',
          webhookId: webhookIdOf(event.id, handler.id),
          at,
          sign: () => '***',
          ...(request.authHeader !== undefined && { authHeaders: { [request.authHeader]: '***' } }),
        }),
        body,
        error: errorOf(made),
      };
    }
    case 'script':
      return { ...request, body: buildInvocation(event, handler, execution) };
    default:
      return request satisfies never;
  }
}

function errorOf(made: Transformed): string | null {
  if (made.kind === 'done') return null;
  return made.kind === 'busy' ? 'transform: others took too long; ask again' : `transform: ${made.problem}`;
}
