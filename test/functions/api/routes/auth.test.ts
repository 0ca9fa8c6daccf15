import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openAuth } from '../../../../shared/handlers/registry.ts';
import { startReceiver, type ReceivedRequest } from '../../../support/http-server.ts';
import { fieldsOf, messageOf, startApi, type Api } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const basic = { type: 'basic', username: 'ada', password: 'S3cret:with colon' };
const bearer = { type: 'bearer', token: 'S3cret-token' };
const header = { type: 'header', name: 'X-Api-Key', value: 'S3cret value' };
const oauth2 = {
  type: 'oauth2',
  tokenUrl: 'https://id.example/token',
  clientId: 'handoff',
  clientSecret: 'S3cret/client',
  scope: 'hooks.write',
};
const kinds = [basic, bearer, header, oauth2];

const target = (auth: object | null, url = 'https://crm.example/hook') => ({ type: 'http', url, auth });
const create = (auth: object | null, url?: string) => api.create({ target: target(auth, url) });

/** The secret that deliveries of a handler would be sent with. */
const storedSecret = async (id: string): Promise<unknown> => openAuth(api.dataKey, await api.store.get(id));

const headersOf = ([request]: readonly ReceivedRequest[]) => request?.headers ?? {};

describe('target.auth', () => {
  it.each(kinds)('$type: is kept sealed, and its secret never shown', async (auth) => {
    const created = await api.request('POST', '/v1/handlers', {
      name: 'CRM',
      events: ['client.create'],
      target: target(auth),
    });
    const { id } = created.body as { id: string };
    const shown = [
      created,
      await api.request('GET', `/v1/handlers/${id}`),
      await api.request('GET', '/v1/handlers'),
      await api.request('POST', `/v1/handlers/${id}/disable`),
    ];
    for (const { body } of shown) expect(JSON.stringify(body)).not.toContain('S3cret');
    expect(JSON.stringify(await api.store.get(id))).not.toContain('S3cret');
    expect(created.body.target.auth).toMatchObject({ type: auth.type });
    expect(Object.values(created.body.target.auth as object)).toContain('***');
    expect(await storedSecret(id)).toEqual(auth);
  });

  it.each(kinds)('$type: the mask keeps the secret when it is sent back', async (auth) => {
    const { id } = await create(auth);
    const { body } = await api.request('GET', `/v1/handlers/${id}`);
    const replaced = await api.request('PUT', `/v1/handlers/${id}`, { ...body, name: 'CRM 2' });
    expect(replaced.status).toBe(200);
    await api.request('PATCH', `/v1/handlers/${id}`, { priority: 5 });
    expect(await storedSecret(id)).toEqual(auth);
  });

  it('is changed by a patch, taken away by null, and replaced as a whole when it is of another type', async () => {
    const { id } = await create(basic);
    const patch = (auth: object | null) => api.request('PATCH', `/v1/handlers/${id}`, { target: { auth } });
    expect((await patch({ password: 'other' })).status).toBe(200);
    expect(await storedSecret(id)).toEqual({ ...basic, password: 'other' });
    expect((await patch(bearer)).status).toBe(200);
    expect(await storedSecret(id)).toEqual(bearer);
    expect((await patch(null)).status).toBe(200);
    expect(await storedSecret(id)).toBeNull();
  });

  it.each([
    ['a mask at the beginning', { ...basic, password: '***' }, 'target.auth.password'],
    ['a mask of a client secret', { ...oauth2, clientSecret: '***' }, 'target.auth.clientSecret'],
    ['another type', { type: 'digest' }, 'target.auth.type'],
    ['a missing secret', { type: 'bearer' }, 'target.auth.token'],
    ['a line break', { ...header, value: 'a\r\nx-evil: 1' }, 'target.auth.value'],
    ['a line break in a token', { ...bearer, token: 'a\r\nx-evil: 1' }, 'target.auth.token'],
    ['a colon in a user name', { ...basic, username: 'a:b' }, 'target.auth.username'],
    ['a header of Handoff', { ...header, name: 'webhook-signature' }, 'target.auth.name'],
    ['no header name', { ...header, name: 'x y' }, 'target.auth.name'],
    [
      'a token URL that is refused',
      { ...oauth2, tokenUrl: 'https://169.254.169.254/' },
      'target.auth.tokenUrl',
    ],
    [
      'a token URL with a password',
      { ...oauth2, tokenUrl: 'https://a:b@id.example/' },
      'target.auth.tokenUrl',
    ],
    ['an unknown field', { ...basic, realm: 'x' }, 'target.auth'],
    ['no object', 'Bearer x', 'target.auth'],
  ])('refuses %s', async (_, auth, field) => {
    const answer = await api.request('POST', '/v1/handlers', {
      name: 'CRM',
      events: ['client.create'],
      target: { type: 'http', url: 'https://crm.example/hook', auth },
    });
    expect(fieldsOf(answer, 400).some((name) => name.startsWith(field))).toBe(true);
    expect(JSON.stringify(answer.body)).not.toContain('S3cret');
  });

  it('a mask of another kind of credentials keeps nothing', async () => {
    const { id } = await create(basic);
    const answer = await api.request('PATCH', `/v1/handlers/${id}`, {
      target: { auth: { type: 'bearer', token: '***' } },
    });
    expect(messageOf(answer, 'target.auth.token')).toContain('is needed');
    expect(await storedSecret(id)).toEqual(basic);
  });

  it('a handler of a test needs its secret, and the answer does not show it', async () => {
    await using receiver = await startReceiver();
    const handler = { name: 'CRM', events: ['client.create'], target: target(bearer, receiver.url) };
    const { status, body } = await api.request('POST', '/v1/handlers/test', { handler });
    expect(status).toBe(200);
    expect(headersOf(receiver.requests)['authorization']).toBe('Bearer S3cret-token');
    expect(JSON.stringify(body)).not.toContain('S3cret');
    expect(body.request.headers.authorization).toBe('***');
    const masked = { ...handler, target: target({ ...bearer, token: '***' }, receiver.url) };
    const refused = await api.request('POST', '/v1/handlers/test', { handler: masked });
    expect(fieldsOf(refused, 400)).toEqual(['handler.target.auth.token']);
  });

  it('goes with the deliveries of a saved handler, before a header of the same name', async () => {
    await using receiver = await startReceiver();
    const { id } = await api.create({
      target: { ...target(header, receiver.url), headers: { 'X-API-KEY': 'plain', 'x-other': '1' } },
    });
    await api.request('POST', `/v1/handlers/${id}/test`);
    expect(headersOf(receiver.requests)).toMatchObject({ 'x-api-key': 'S3cret value', 'x-other': '1' });
  });
});
