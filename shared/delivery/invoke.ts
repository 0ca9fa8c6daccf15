import type { Agent } from 'undici';
import type { DomainEvent } from '../events/envelope.ts';
import type { HttpTarget } from '../handlers/handler.ts';
import type { Signing } from '../handlers/registry.ts';
import type { AddressGuard } from './address-guard.ts';
import { deliverHttp } from './http.ts';
import { unanswered, type Outcome } from './outcome.ts';
import { buildRequest, sentRequestOf } from './request.ts';
import { signDelivery } from './signature.ts';
import { targetUrlProblem } from './target-url.ts';

/** What it takes to call a target. */
export type InvokeServices = {
  agent: Agent;
  guard: AddressGuard;
  /** Whether plain http:// targets are allowed. */
  allowHttp: boolean;
  now: () => Date;
};

/** One attempt. */
export type TargetCall = {
  target: HttpTarget;
  signing: Signing;
  event: DomainEvent;
  /** The same on every attempt of an execution. */
  webhookId: string;
};

/**
 * Makes one attempt: builds what the target is sent, signs it, sends it, and waits for up to the target's own
 * `timeoutMs`. What goes wrong out there is an `Outcome`.
 */
export async function invokeTarget(services: InvokeServices, call: TargetCall): Promise<Outcome> {
  switch (call.target.type) {
    case 'http':
      return invokeHttp(services, call);
    default:
      return call.target.type satisfies never;
  }
}

async function invokeHttp(
  { agent, guard, allowHttp, now }: InvokeServices,
  { target, signing, event, webhookId }: TargetCall,
): Promise<Outcome> {
  // The API has checked the URL, but by the settings of that day.
  const problem = targetUrlProblem(target.url, { allowHttp, guard });
  if (problem !== null) return unanswered(`refused target: ${problem}`, { retryable: false });
  // A receiver must be able to rely on the signature; the secret can be mended before the last attempt.
  if ('problem' in signing) return unanswered(`signature: ${signing.problem}`, { retryable: true });

  const request = buildRequest(sentRequestOf(target), {
    event,
    webhookId,
    at: now(),
    sign: (delivery) => signDelivery(signing.keys, delivery),
  });
  return deliverHttp(agent, { ...request, timeoutMs: target.timeoutMs });
}
