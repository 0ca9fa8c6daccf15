import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openSigning } from '../../../../shared/handlers/registry.ts';
import { startReceiver, type ReceivedRequest } from '../../../support/http-server.ts';
import { fieldsOf, startApi, type Api } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const hourMs = 3_600_000;

const rotate = async (id: string) => api.request('POST', `/v1/handlers/${id}/rotate-secret`);

const isSignedWith = (secret: string, delivery: ReceivedRequest | undefined): boolean => {
  try {
    new Webhook(secret).verify(delivery?.body ?? '', delivery?.headers as Record<string, string>);
    return true;
  } catch {
    return false;
  }
};

describe('POST /v1/handlers/{id}/rotate-secret', () => {
  it('makes a secret that signs from now on, beside the one before', async () => {
    await using receiver = await startReceiver();
    const target = { type: 'http', url: receiver.url };
    const created = await api.request('POST', '/v1/handlers', {
      name: 'CRM',
      events: ['client.create'],
      target,
    });
    const { id, secret: old, version } = created.body;
    const { status, headers, body } = await rotate(id);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id,
      version: version + 1,
      secret: expect.stringMatching(/^whsec_/u) as string,
    });
    expect(body.secret).not.toBe(old);
    expect(headers.get('etag')).toBe(`"${version + 1}"`);

    await api.request('POST', `/v1/handlers/${id}/test`);
    const [delivery] = receiver.requests;
    expect([old, body.secret].map((secret) => isSignedWith(secret, delivery))).toEqual([true, true]);
    expect(delivery?.headers['webhook-signature']).toMatch(/^v1,\S+ v1,\S+$/u);
  });

  it('lets the old one sign for 24 hours and no longer', async () => {
    const { id } = await api.create();
    await rotate(id);
    const stored = await api.store.get(id);
    const keysIn = (ms: number) => {
      const signing = openSigning(api.dataKey, stored, new Date(Date.now() + ms));
      return 'keys' in signing ? signing.keys.length : signing.problem;
    };
    expect(keysIn(23.9 * hourMs)).toBe(2);
    expect(keysIn(24.1 * hourMs)).toBe(1);
  });

  it('is not undone by an edit', async () => {
    await using receiver = await startReceiver();
    const created = await api.request('POST', '/v1/handlers', {
      name: 'CRM',
      events: ['client.create'],
      target: { type: 'http', url: receiver.url },
    });
    const { id, secret: old } = created.body;
    const { body } = await rotate(id);
    await api.request('PATCH', `/v1/handlers/${id}`, { name: 'CRM 2' });
    await api.request('POST', `/v1/handlers/${id}/disable`);
    await api.request('POST', `/v1/handlers/${id}/test`);
    expect([old, body.secret].map((secret) => isSignedWith(secret, receiver.requests[0]))).toEqual([
      true,
      true,
    ]);
  });

  it('keeps all that were replaced within a day, up to four', async () => {
    await using receiver = await startReceiver();
    const { id } = await api.create({ target: { type: 'http', url: receiver.url } });
    const secrets: string[] = [];
    for (let times = 0; times < 4; times++) secrets.push((await rotate(id)).body.secret as string);
    const answer = await rotate(id);
    expect(fieldsOf(answer, 409)).toEqual([]);
    expect(answer.body.detail).toContain('4 times in the last 24 hours');
    await api.request('POST', `/v1/handlers/${id}/test`);
    expect(secrets.map((secret) => isSignedWith(secret, receiver.requests[0]))).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });

  it('shows the secret this once', async () => {
    const { id } = await api.create();
    const { secret } = (await rotate(id)).body as { secret: string };
    for (const path of [`/v1/handlers/${id}`, '/v1/handlers']) {
      expect(JSON.stringify((await api.request('GET', path)).body)).not.toContain(secret);
    }
  });

  it('answers 404 to an unknown id', async () => {
    expect((await rotate('h_gone')).status).toBe(404);
  });
});
