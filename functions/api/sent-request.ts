import { buildRequest, webhookIdOf, type DeliveryRequest } from '../../shared/delivery/request.ts';
import { parseEvent } from '../../shared/events/envelope.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { readKey } from '../../shared/executions/key.ts';

/**
 * The last request of an execution as it was sent, without its signature; null when none was made. The log keeps
 * where it went and the event: the body and the headers follow from these, so they are not stored twice.
 */
export function sentRequest({ key, event, request, attempts }: ExecutionRecord): DeliveryRequest | null {
  const parsed = parseEvent(event.raw);
  const last = attempts.at(-1);
  if (request === null || last === undefined || !parsed.ok) return null;
  const { handlerId, eventId } = readKey(key);
  return buildRequest(request, {
    event: parsed.event,
    webhookId: webhookIdOf(eventId, handlerId),
    at: new Date(last.at),
    sign: () => '***',
  });
}
