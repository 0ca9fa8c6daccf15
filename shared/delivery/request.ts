import packageJson from '../../package.json' with { type: 'json' };
import type { DomainEvent } from '../events/envelope.ts';
import { contentTypeOf, formatBody } from '../events/format.ts';
import type { Transformed, Transforms } from '../transforms/transform.ts';
import { headerNameOf } from './authorize.ts';
import type { Handler, HttpTarget, ScriptTarget } from '../handlers/handler.ts';

/** Where an attempt went, as the log keeps it: of the target what a later edit could change, and no secret. */
export type SentRequest = SentHttpRequest | SentInvocation;
export type SentHttpRequest = Pick<HttpTarget, 'type' | 'method' | 'url' | 'headers' | 'format'> & {
  /** The header that told the target who calls. */
  authHeader?: string;
  /** The JSONata expression that made the body. */
  transform?: string;
};
export type SentInvocation = Pick<ScriptTarget, 'type' | 'script'>;

export function sentRequestOf({ target, transform }: Pick<Handler, 'target' | 'transform'>): SentRequest {
  switch (target.type) {
    case 'http':
      return sentHttpRequestOf(target, transform);
    case 'script':
      return { type: target.type, script: target.script };
    default:
      return target satisfies never;
  }
}

export const sentHttpRequestOf = (
  { type, method, url, headers, format, auth }: HttpTarget,
  transform: Handler['transform'],
): SentHttpRequest => ({
  type,
  method,
  url,
  headers,
  format,
  ...(auth !== null && { authHeader: headerNameOf(auth) }),
  ...(transform !== null && { transform }),
});

/** The body of every attempt: what the transform makes of the event, or else the event in the format. */
export async function makeBody(
  transforms: Pick<Transforms, 'run'>,
  { format, transform }: Pick<SentHttpRequest, 'format' | 'transform'>,
  event: DomainEvent,
): Promise<Transformed> {
  return transform === undefined
    ? { kind: 'done', body: formatBody(event, format) }
    : transforms.run(event, transform);
}

/** What an HTTP target is sent. */
export type DeliveryRequest = {
  method: HttpTarget['method'];
  url: string;
  headers: Record<string, string>;
  body: string;
};

/** The same on every attempt, so receivers drop repeats by it; made of both ids, so that two handlers on one URL differ. */
export const webhookIdOf = (eventId: string, handlerId: string): string => `${eventId}_${handlerId}`;

/**
 * The request of one attempt: Handoff's headers are the last word, whatever headers the handler has.
 *
 * @param at when the attempt begins: `webhook-timestamp`, in whole seconds
 * @param sign gives the `webhook-signature`
 */
export function buildRequest(
  target: SentHttpRequest,
  {
    event,
    body,
    webhookId,
    at,
    sign,
    authHeaders = {},
  }: {
    event: Pick<DomainEvent, 'detail'>;
    body: string;
    webhookId: string;
    at: Date;
    sign: (delivery: { id: string; timestamp: number; body: string }) => string;
    /** What tells the target who calls; names in lower case. */
    authHeaders?: Record<string, string>;
  },
): DeliveryRequest {
  const timestamp = Math.floor(at.getTime() / 1000);
  return {
    method: target.method,
    url: target.url,
    headers: {
      ...Object.fromEntries(
        Object.entries(target.headers).filter(([name]) => !Object.hasOwn(authHeaders, name.toLowerCase())),
      ),
      ...authHeaders,
      'content-type': contentTypeOf(target.format),
      'user-agent': `Handoff/${packageJson.version}`,
      'webhook-id': webhookId,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': sign({ id: webhookId, timestamp, body }),
      ...traceHeaders(event),
    },
    body,
  };
}

/** What a script is handed, as JSON text. The event goes in as it came, so that every number keeps its digits. */
export const buildInvocation = (
  event: Pick<DomainEvent, 'raw'>,
  handler: { id: string; name: string },
  execution: { id: string; attempt: number },
): string =>
  `{"event":${event.raw},"handler":${JSON.stringify({ id: handler.id, name: handler.name })},"execution":${JSON.stringify({ id: execution.id, attempt: execution.attempt })}}`;

// W3C Trace Context, 3.2: version, trace id, parent id, flags; version ff and ids of zeroes only are invalid.
const traceparentPattern = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/u;

function traceHeaders({ detail }: Pick<DomainEvent, 'detail'>): { traceparent?: string } {
  const traceparent = detail['traceparent'];
  return typeof traceparent === 'string' && traceparentPattern.test(traceparent) ? { traceparent } : {};
}
