import type { KeyObject } from 'node:crypto';
import type { Agent } from 'undici';
import type { DomainEvent } from '../events/envelope.ts';
import type { HttpTarget } from '../handlers/handler.ts';
import { deliverHttp } from './http.ts';
import type { Outcome } from './outcome.ts';
import { buildRequest } from './request.ts';
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
  /** The keys of the handler's signing secrets; more than one while a rotation overlaps. */
  signingKeys: readonly KeyObject[];
  event: DomainEvent;
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
  { signingKeys, event, webhookId, timeoutMs }: TargetCall,
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
  const sign = signDelivery.bind(null, signingKeys);
  const request = buildRequest(target, { event, webhookId, at: now(), sign });
  return deliverHttp(agent, { ...request, timeoutMs });
}

function urlProblem(text: string, allowHttp: boolean): string | null {
  const url = URL.parse(text);
  if (url === null) return 'it is not a URL';
  if (url.protocol === 'https:') return null;
  if (url.protocol !== 'http:') return `${url.protocol} is neither https: nor http:`;
  return allowHttp ? null : 'plain http:// is not allowed by the setting allowHttp';
}
