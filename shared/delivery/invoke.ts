import type { Agent } from 'undici';
import packageJson from '../../package.json' with { type: 'json' };
import type { DomainEvent } from '../events/envelope.ts';
import { formatBody } from '../events/format.ts';
import type { HttpTarget } from '../handlers/handler.ts';
import { deliverHttp } from './http.ts';
import type { Outcome } from './outcome.ts';
import { signDelivery } from './signature.ts';

export type InvokeServices = {
  agent: Agent;
  now: () => Date;
  /** Whether plain http:// targets are allowed. */
  allowHttp: boolean;
};

/** One attempt: everything that is different from the next one. */
export type TargetCall = {
  handler: { target: HttpTarget };
  /** The handler's signing secrets, decrypted; more than one while a rotation overlaps. */
  secrets: readonly string[];
  event: DomainEvent;
  /** The same on every attempt of an execution: receivers drop repeats by it. */
  webhookId: string;
  /** Milliseconds; the target's own, or less when the invocation ends before. */
  timeoutMs: number;
};

/** Makes one attempt: builds what the target is sent, signs it, sends it. What goes wrong out there is an `Outcome`. */
export async function invokeTarget(services: InvokeServices, call: TargetCall): Promise<Outcome> {
  const { target } = call.handler;
  switch (target.type) {
    case 'http':
      return invokeHttp(services, call, target);
    default:
      return target.type satisfies never;
  }
}

async function invokeHttp(
  { agent, now, allowHttp }: InvokeServices,
  { secrets, event, webhookId, timeoutMs }: TargetCall,
  target: HttpTarget,
): Promise<Outcome> {
  // The API has checked the URL, but by the settings of that day.
  const problem = urlProblem(target.url, allowHttp);
  if (problem !== null) {
    return {
      kind: 'failed',
      retryable: false,
      statusCode: null,
      error: `refused url: ${problem}`,
      response: null,
    };
  }
  const body = formatBody(event, target.format);
  const timestamp = Math.floor(now().getTime() / 1000);
  const { url, method } = target;
  const headers = {
    ...target.headers,
    'content-type': 'application/json',
    'user-agent': `Handoff/${packageJson.version}`,
    'webhook-id': webhookId,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signDelivery(secrets, { id: webhookId, timestamp, body }),
    ...traceHeaders(event),
  };
  return deliverHttp(agent, { url, method, headers, body, timeoutMs });
}

function urlProblem(text: string, allowHttp: boolean): string | null {
  const url = URL.parse(text);
  if (url === null) return 'it is not a URL';
  if (url.protocol === 'https:') return null;
  if (url.protocol !== 'http:') return `${url.protocol} is neither https: nor http:`;
  return allowHttp ? null : 'plain http:// is not allowed by the setting allowHttp';
}

// W3C Trace Context, 3.2: version, trace id, parent id, flags; version ff and ids of zeroes only are invalid.
const traceparentPattern = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}$/u;

function traceHeaders({ detail }: DomainEvent): { traceparent?: string } {
  const traceparent = detail['traceparent'];
  return typeof traceparent === 'string' && traceparentPattern.test(traceparent) ? { traceparent } : {};
}
