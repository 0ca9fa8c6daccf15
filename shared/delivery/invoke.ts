import type { KeyObject } from 'node:crypto';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import type { Agent } from 'undici';
import type { DomainEvent } from '../events/envelope.ts';
import { secretOf } from '../handlers/auth.ts';
import type { Transforms } from '../transforms/transform.ts';
import type { Handler, HttpTarget, ScriptTarget } from '../handlers/handler.ts';
import type { Signing } from '../handlers/registry.ts';
import type { AddressGuard } from './address-guard.ts';
import { sendAuthorized, type OpenAuth } from './authorize.ts';
import { deliverHttp } from './http.ts';
import type { Tokens } from './oauth.ts';
import { unanswered, unsent, type Outcome } from './outcome.ts';
import { redactOutcome } from './redact-outcome.ts';
import { buildInvocation, buildRequest, makeBody, sentHttpRequestOf, webhookIdOf } from './request.ts';
import { invokeScript } from './script.ts';
import { signDelivery } from './signature.ts';
import { targetUrlProblem } from './target-url.ts';

/** What it takes to call a target. */
export type InvokeServices = {
  agent: Agent;
  tokens: Tokens;
  transforms: Transforms;
  guard: AddressGuard;
  /** Whether plain http:// targets are allowed. */
  allowHttp: boolean;
  lambda: LambdaClient;
  /** The names of the scripts of this deployment; a script's Lambda is called `scriptFunctionPrefix` and its name. */
  scripts: ReadonlySet<string>;
  scriptFunctionPrefix: string;
  now: () => Date;
};

/** One attempt. */
export type TargetCall = {
  handler: Handler;
  signing: Signing;
  auth: OpenAuth;
  event: DomainEvent;
  execution: { id: string; attempt: number };
};

/**
 * Makes one attempt: builds what the target is sent, signs it, sends it, and waits for up to the target's own
 * `timeoutMs`. What goes wrong out there is an `Outcome`.
 */
export async function invokeTarget(services: InvokeServices, call: TargetCall): Promise<Outcome> {
  const { target } = call.handler;
  switch (target.type) {
    case 'http':
      return invokeHttp(services, target, call);
    case 'script':
      return invokeScriptTarget(services, target, call);
    default:
      return target satisfies never;
  }
}

async function invokeHttp(
  { agent, tokens, transforms, guard, allowHttp, now }: InvokeServices,
  target: HttpTarget,
  { handler, signing, auth, event }: TargetCall,
): Promise<Outcome> {
  // The API has checked the URL, but by the settings of that day.
  const problem = targetUrlProblem(target.url, { allowHttp, guard });
  if (problem !== null) return unanswered(`refused target: ${problem}`, { retryable: false });
  // A receiver must be able to rely on the signature; the secret can be mended before the last attempt.
  if ('problem' in signing) return unanswered(`signature: ${signing.problem}`, { retryable: true });

  if (auth !== null && 'tokenUrl' in auth) {
    const tokenProblem = targetUrlProblem(auth.tokenUrl, { allowHttp, guard });
    if (tokenProblem !== null)
      return unanswered(`refused target.auth.tokenUrl: ${tokenProblem}`, { retryable: false });
  }
  // What it answers is kept, and some endpoints answer with what they got. So is what a transform says of its failure.
  const secrets = [...secretsOf(signing.keys, auth), ...(event.kept?.values ?? [])];
  const sent = sentHttpRequestOf(target, handler.transform);
  const made = await makeBody(transforms, sent, event);
  if (made.kind === 'busy') return { kind: 'put-off', reason: 'busy' };
  if (made.kind === 'failed') return redactOutcome(unsent(`transform: ${made.problem}`), secrets);
  const outcome = await sendAuthorized(tokens, auth, target.timeoutMs, (authHeaders, timeoutMs) => {
    const request = buildRequest(sent, {
      event,
      body: made.body,
      webhookId: webhookIdOf(event.id, handler.id),
      at: now(),
      sign: (delivery) => signDelivery(signing.keys, delivery),
      authHeaders,
    });
    secrets.push(...credentialsIn(request.headers, authHeaders));
    return deliverHttp(agent, { ...request, timeoutMs });
  });
  return redactOutcome(outcome, secrets);
}

const secretsOf = (keys: readonly KeyObject[], auth: OpenAuth): string[] => [
  ...keys.map((key) => key.export().toString('base64')),
  ...(auth === null || 'problem' in auth ? [] : [secretOf(auth)]),
];

/** The values of the headers that say who calls and who signed, whole and without what they begin with. */
const credentialsIn = (headers: Record<string, string>, authHeaders: Record<string, string>): string[] => [
  ...Object.values(authHeaders).flatMap((value) => [value, value.replace(/^(?:Basic|Bearer) /u, '')]),
  ...(headers['webhook-signature'] ?? '').split(' ').flatMap((one) => [one, one.replace(/^v1,/u, '')]),
];

async function invokeScriptTarget(
  { lambda, scripts, scriptFunctionPrefix }: InvokeServices,
  target: ScriptTarget,
  { handler, event, execution }: TargetCall,
): Promise<Outcome> {
  // The API has checked the name, but a later deployment may have left the script out. AWS would only say that the call is
  // not allowed, because the policy names the scripts that there are.
  if (!scripts.has(target.script)) {
    return unanswered(`script: "${target.script}" is not part of this deployment`, { retryable: false });
  }
  const outcome = await invokeScript(lambda, {
    functionName: scriptFunctionPrefix + target.script,
    payload: buildInvocation(event, handler, execution),
    timeoutMs: target.timeoutMs,
  });
  return redactOutcome(outcome, event.kept?.values ?? []);
}
