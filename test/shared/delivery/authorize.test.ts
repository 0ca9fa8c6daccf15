import { afterAll, describe, expect, it } from 'vitest';
import { createAddressGuard } from '../../../shared/delivery/address-guard.ts';
import { createAgent } from '../../../shared/delivery/agent.ts';
import { sendAuthorized } from '../../../shared/delivery/authorize.ts';
import { deliverHttp } from '../../../shared/delivery/http.ts';
import { createTokens } from '../../../shared/delivery/oauth.ts';
import { createClock } from '../../support/clock.ts';
import { startReceiver, type Receiver } from '../../support/http-server.ts';

const agent = createAgent(createAddressGuard({ allowCidrs: ['127.0.0.0/8'], allowLoopback: true }));
afterAll(() => agent.destroy());

/** An identity provider that numbers its tokens, and an endpoint that takes those that `isGood` says. */
async function startBoth(
  isGood: (token: number) => boolean = () => true,
  answer: (token: number) => { status?: number; body?: string } = () => ({}),
) {
  const provider = await startReceiver((_, response) => {
    const token = provider.requests.length;
    const { status = 200, body } = answer(token);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(
      body ?? JSON.stringify({ access_token: `t-${token}`, token_type: 'Bearer', expires_in: 3600 }),
    );
  });
  const endpoint = await startReceiver(({ headers }, response) => {
    const token = Number(/^Bearer t-(\d+)$/u.exec(headers.authorization ?? '')?.[1] ?? 0);
    response.writeHead(isGood(token) ? 204 : 401).end();
  });
  const clock = createClock('2026-11-23T10:00:00.000Z');
  const tokens = createTokens({ agent, now: clock.now });
  const auth = {
    type: 'oauth2' as const,
    tokenUrl: `${provider.url}/token`,
    clientId: 'a client',
    clientSecret: 'p&ss',
    scope: 'one two',
  };
  const send = (change: Partial<typeof auth> = {}, timeoutMs = 5000) =>
    sendAuthorized(tokens, { ...auth, ...change }, timeoutMs, (headers, leftMs) =>
      deliverHttp(agent, { url: endpoint.url, method: 'POST', headers, body: '{}', timeoutMs: leftMs }),
    );
  return {
    provider,
    endpoint,
    clock,
    send,
    async [Symbol.asyncDispose]() {
      await Promise.all([provider.close(), endpoint.close()]);
    },
  };
}

const authorizations = ({ requests }: Receiver) => requests.map(({ headers }) => headers.authorization);

describe('OAuth 2 client credentials', () => {
  it('asks for a token as RFC 6749 has it, and sends it', async () => {
    await using both = await startBoth();
    expect(await both.send()).toMatchObject({ kind: 'succeeded' });
    const [request] = both.provider.requests;
    expect(request).toMatchObject({ method: 'POST', path: '/token' });
    expect(request?.headers).toMatchObject({
      'content-type': 'application/x-www-form-urlencoded',
      authorization: `Basic ${Buffer.from('a+client:p%26ss').toString('base64')}`,
    });
    expect(request?.body).toBe('grant_type=client_credentials&scope=one+two');
    expect(authorizations(both.endpoint)).toEqual(['Bearer t-1']);
  });

  it('keeps a token until shortly before it expires', async () => {
    await using both = await startBoth();
    await both.send();
    both.clock.advance(3_539_000);
    await both.send();
    expect(both.provider.requests).toHaveLength(1);
    both.clock.advance(2000);
    await both.send();
    expect(authorizations(both.endpoint)).toEqual(['Bearer t-1', 'Bearer t-1', 'Bearer t-2']);
  });

  it('asks once for all that need a token at the same time', async () => {
    await using both = await startBoth();
    await Promise.all(Array.from({ length: 20 }, () => both.send()));
    expect(both.provider.requests).toHaveLength(1);
    expect(both.endpoint.requests).toHaveLength(20);
  });

  it('replaces a token that the target does not take any more, once, for all of them', async () => {
    await using both = await startBoth((token) => token !== 1);
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => both.send()));
    expect(outcomes.every(({ kind }) => kind === 'succeeded')).toBe(true);
    expect(both.provider.requests).toHaveLength(2);
  });

  it('does not go on asking when the target takes none', async () => {
    await using both = await startBoth(() => false);
    expect(await both.send()).toMatchObject({ kind: 'failed', statusCode: 401, retryable: false });
    expect(both.provider.requests).toHaveLength(2);
    expect(both.endpoint.requests).toHaveLength(2);
  });

  it('does not use the token of one client for another, nor of an old secret', async () => {
    await using both = await startBoth();
    await both.send();
    await both.send({ clientId: 'other' });
    await both.send({ clientSecret: 'new' });
    await both.send({ scope: 'less' });
    expect(both.provider.requests).toHaveLength(4);
  });

  it.each([
    ['a refused client', { status: 400, body: '{"error":"invalid_client"}' }, true, 'http: status 400'],
    ['a provider that is down', { status: 503 }, true, 'http: status 503'],
    ['no JSON', { body: '<html>' }, true, 'no access_token'],
    ['no token', { body: '{"token_type":"bearer"}' }, true, 'no access_token'],
    ['another type', { body: '{"access_token":"x","token_type":"mac"}' }, true, 'no access_token'],
    [
      'a token that is no header',
      { body: JSON.stringify({ access_token: 'a\r\nb: c', token_type: 'bearer' }) },
      true,
      'no access_token',
    ],
  ])('fails the attempt with %s', async (_, answer, retryable, error) => {
    await using both = await startBoth(undefined, () => answer);
    const outcome = await both.send();
    expect(outcome).toMatchObject({ kind: 'failed', statusCode: null, retryable, response: null });
    expect(outcome).toHaveProperty('error', expect.stringContaining(error));
    expect(both.endpoint.requests).toEqual([]);
  });

  it('reads tokens of more than the 4 KB that are kept of an answer', async () => {
    const token = 'x'.repeat(12_000);
    await using both = await startBoth(undefined, () => ({
      body: JSON.stringify({ access_token: token, token_type: 'bearer' }),
    }));
    await both.send();
    expect(authorizations(both.endpoint)).toEqual([`Bearer ${token}`]);
  });

  it('takes no longer than one attempt may, whoever does not answer', async () => {
    await using provider = await startReceiver(() => undefined);
    await using both = await startBoth();
    const startedAt = performance.now();
    const outcome = await both.send({ tokenUrl: provider.url }, 300);
    expect(outcome).toMatchObject({ kind: 'failed', retryable: true });
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });
});

it('credentials that cannot be opened are tried again: they can be given anew', async () => {
  const tokens = createTokens({ agent, now: () => new Date() });
  const outcome = await sendAuthorized(tokens, { problem: 'sealed with another key' }, 1000, () => {
    throw new Error('Nothing must be sent.');
  });
  expect(outcome).toMatchObject({ kind: 'failed', retryable: true, error: 'auth: sealed with another key' });
});
