import { Webhook } from 'standardwebhooks';
import { afterAll, describe, expect, it } from 'vitest';
import packageJson from '../../../package.json' with { type: 'json' };
import { createAddressGuard } from '../../../shared/delivery/address-guard.ts';
import { createAgent } from '../../../shared/delivery/agent.ts';
import { invokeTarget } from '../../../shared/delivery/invoke.ts';
import { createTokens } from '../../../shared/delivery/oauth.ts';
import { newSigningSecret, signingKeyOf } from '../../../shared/delivery/signature.ts';
import type { DomainEvent } from '../../../shared/events/envelope.ts';
import { createTransforms } from '../../../shared/transforms/transform.ts';
import { createLambda } from '../../../shared/aws/clients.ts';
import type { HttpTarget } from '../../../shared/handlers/handler.ts';
import { aHandler } from '../../support/builders.ts';
import { startReceiver, type ReceivedRequest } from '../../support/http-server.ts';

const guard = createAddressGuard({ allowCidrs: ['127.0.0.0/8'], allowLoopback: true });
const agent = createAgent(guard);
afterAll(() => agent.destroy());

const secret = newSigningSecret();

function eventWith(detail: DomainEvent['detail']): DomainEvent {
  return {
    id: 'e-1',
    type: 'client.create',
    source: 'billing',
    time: '2026-11-23T10:00:00.000Z',
    objectId: 12,
    detail,
    json: { detail },
    raw: JSON.stringify({ detail }),
  };
}

const httpTarget = (url: string, more: Partial<HttpTarget> = {}): HttpTarget => ({
  type: 'http',
  url,
  method: 'POST',
  headers: {},
  auth: null,
  format: 'standard',
  timeoutMs: 10_000,
  ...more,
});

type Options = {
  target: HttpTarget;
  event?: DomainEvent;
  secrets?: string[];
  now?: Date;
  allowHttp?: boolean;
};

const tokens = createTokens({ agent, now: () => new Date() });
const transforms = createTransforms();
afterAll(() => transforms.stop());

const noScripts = {
  lambda: createLambda(),
  scripts: new Set<string>(),
  scriptFunctionPrefix: '',
};

const invoke = ({ target, event, secrets, now, allowHttp = true }: Options) =>
  invokeTarget(
    { ...noScripts, agent, tokens, transforms, guard, now: () => now ?? new Date(), allowHttp },
    {
      // What is stored may be older than the schema.
      handler: { ...aHandler({ id: 'h_1' }), target },
      signing: { keys: (secrets ?? [secret]).map(signingKeyOf) },
      auth: null,
      event: event ?? eventWith({ objectId: 12, data: { name: 'Ann' } }),
      execution: { id: 'x_1', attempt: 1 },
    },
  );

/** What the receiver got when this was sent. */
async function received(options: Omit<Options, 'target'> & { target?: Partial<HttpTarget> }) {
  await using receiver = await startReceiver();
  const outcome = await invoke({
    ...options,
    target: httpTarget(`${receiver.url}/hook?a=b`, options.target),
  });
  expect(outcome).toEqual({ kind: 'succeeded', statusCode: 204, response: null });
  const [request] = receiver.requests;
  if (request === undefined) throw new Error('nothing was received');
  return request;
}

const verify = (request: ReceivedRequest, key: string) =>
  new Webhook(key).verify(request.body, request.headers as Record<string, string>);

describe('invokeTarget, http', () => {
  it('sends a Standard Webhooks delivery that the official library verifies', async () => {
    const request = await received({});
    expect(verify(request, secret)).toEqual({
      type: 'client.create',
      timestamp: '2026-11-23T10:00:00.000Z',
      data: { name: 'Ann' },
      objectId: 12,
    });
    expect(request).toMatchObject({
      method: 'POST',
      path: '/hook?a=b',
      headers: {
        'content-type': 'application/json',
        'user-agent': `Handoff/${packageJson.version}`,
        'webhook-id': 'e-1_h_1',
      },
    });
  });

  it('signs the bytes that are sent, beyond ASCII too', async () => {
    const data = { name: 'Łódź 🎉 \u0000 \u2028', broken: '\uD800' };
    const request = await received({ event: eventWith({ data }) });
    expect(verify(request, secret)).toMatchObject({ data });
    expect(Number(request.headers['content-length'])).toBe(Buffer.byteLength(request.body));
  });

  it('signs with both secrets while a rotation overlaps', async () => {
    const older = newSigningSecret();
    const request = await received({ secrets: [secret, older] });
    expect(verify(request, secret)).toEqual(verify(request, older));
  });

  it('says the time of the attempt, in whole seconds, not the time of the event', async () => {
    const request = await received({ now: new Date('2026-11-24T00:00:01.999Z') });
    expect(request.headers['webhook-timestamp']).toBe(String(Date.UTC(2026, 10, 24, 0, 0, 1) / 1000));
  });

  it('adds the headers of the handler and uses its method', async () => {
    const request = await received({ target: { method: 'PUT', headers: { 'X-Tenant': '7' } } });
    expect(request.method).toBe('PUT');
    expect(request.headers['x-tenant']).toBe('7');
  });

  it('passes on the traceparent of the event', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const request = await received({ event: eventWith({ traceparent }) });
    expect(request.headers['traceparent']).toBe(traceparent);
  });

  it.each([
    undefined,
    7,
    '',
    'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    '00-00000000000000000000000000000000-00f067aa0ba902b7-01',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01',
    '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nx-injected: 1',
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n',
  ])('leaves out a traceparent that is not valid: %j', async (traceparent) => {
    const request = await received({ event: eventWith({ traceparent }) });
    expect(request.headers).not.toHaveProperty('traceparent');
    expect(request.headers).not.toHaveProperty('x-injected');
  });

  it('refuses a plain http:// target where the setting does not allow it any more, and sends nothing', async () => {
    await using receiver = await startReceiver();
    expect(await invoke({ target: httpTarget(receiver.url), allowHttp: false })).toEqual({
      kind: 'failed',
      retryable: false,
      statusCode: null,
      error: expect.stringMatching(/^refused target: plain http:.*allowHttp/u) as string,
      response: null,
    });
    expect(receiver.connectionCount()).toBe(0);
  });

  it('allows https:// whatever the setting says', async () => {
    await using receiver = await startReceiver();
    const outcome = await invoke({
      target: httpTarget(receiver.url.replace('http:', 'https:')),
      allowHttp: false,
    });
    // It went as far as the handshake, with an endpoint that does not speak TLS.
    expect(outcome).toMatchObject({ kind: 'failed', retryable: true });
    expect(receiver.connectionCount()).toBe(1);
  });

  it.each([
    ['ftp://crm.example/hook', 'refused target: must begin with https:// or http://'],
    ['crm.example', 'refused target: is not a URL'],
  ])('fails readably on the stored URL %s', async (url, error) => {
    expect(await invoke({ target: httpTarget(url) })).toMatchObject({
      kind: 'failed',
      retryable: false,
      error,
    });
  });

  it('sends nothing that it cannot sign, and tries again: the secret can be mended', async () => {
    await using receiver = await startReceiver();
    const outcome = await invokeTarget(
      { ...noScripts, agent, tokens, transforms, guard, now: () => new Date(), allowHttp: true },
      {
        handler: { ...aHandler({ id: 'h_1' }), target: httpTarget(receiver.url) },
        signing: { problem: 'the envelope does not open' },
        auth: null,
        event: eventWith({ data: {} }),
        execution: { id: 'x_1', attempt: 1 },
      },
    );
    expect(outcome).toMatchObject({
      kind: 'failed',
      retryable: true,
      error: 'signature: the envelope does not open',
    });
    expect(receiver.connectionCount()).toBe(0);
  });

  it('fails readably on a stored header that cannot be sent', async () => {
    await using receiver = await startReceiver();
    const outcome = await invoke({ target: httpTarget(receiver.url, { headers: { 'x-a': 'b\r\nc: d' } }) });
    expect(outcome).toMatchObject({ kind: 'failed', retryable: false });
    expect(outcome).toHaveProperty('error', expect.stringMatching(/^request: /u));
    expect(receiver.requests).toEqual([]);
  });
});
