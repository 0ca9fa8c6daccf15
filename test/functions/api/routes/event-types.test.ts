import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { builtInEventTypes } from '../../../../shared/events/catalogue.ts';
import { encodeCursor } from '../../../../shared/cursor.ts';
import { fieldsOf, startApi, type Api, type Body } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const read = (name: string) => api.request('GET', `/v1/event-types/${name}`);
const namesOf = (body: Body): string[] => (body.items as { name: string }[]).map(({ name }) => name);
const inOrder = builtInEventTypes.map(({ name }) => name);

describe('GET /v1/event-types/{name}', () => {
  it('200: what it is called, by whom, and a whole Detail', async () => {
    const answer = await read('client.balance.nonpositive');
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      name: 'client.balance.nonpositive',
      label: 'Clients: balance became <=0',
      group: 'Clients',
      oldId: 'clients.balance_zero',
      description: expect.stringMatching(/balance/u) as string,
      sample: {
        objectId: 12,
        data: { id: 12, balance: '0.0000', previousBalance: '5.0000', currency: 'EUR', credit: '100.0000' },
      },
      builtIn: true,
      enabledHandlers: 0,
    });
  });

  it('200: shows all of a sample, what stands beside its data too', async () => {
    expect((await read('client.update')).body.sample).toEqual({
      objectId: 12,
      data: { id: 12, credit: '250.0000' },
      changed: ['credit'],
      previous: { credit: '100.0000' },
    });
  });

  it('200: counts the enabled handlers that would run for it, wildcards too, each once', async () => {
    await api.create({ events: ['client.balance.nonpositive'] });
    await api.create({ events: ['client.balance.*', 'client.*', 'client.balance.nonpositive'] });
    await api.create({ events: ['client.*'] });
    await api.create({ events: ['*'], target: { type: 'script', script: 'balance-guard' } });
    await api.create({ events: ['client.create', 'account.*'] });
    await api.create({ events: ['*'], status: 'disabled' });
    await api.create({ events: ['*'], status: 'archived' });
    const counts = {
      'client.balance.nonpositive': 4,
      'client.create': 4,
      'account.delete': 2,
      'import.failed': 1,
    };
    for (const [name, count] of Object.entries(counts)) {
      expect((await read(name)).body.enabledHandlers).toBe(count);
    }
    const { body } = await api.request('GET', '/v1/event-types?limit=100');
    const listed = new Map(body.items.map((type: Body) => [type.name, type.enabledHandlers]));
    expect(Object.keys(counts).map((name) => listed.get(name))).toEqual(Object.values(counts));
  });

  it('200: sees a handler that was enabled right before', async () => {
    const handler = await api.create({ events: ['email_rates.import'], status: 'disabled' });
    expect((await read('email_rates.import')).body.enabledHandlers).toBe(0);
    await api.request('POST', `/v1/handlers/${handler.id}/enable`);
    expect((await read('email_rates.import')).body.enabledHandlers).toBe(1);
  });

  it.each([
    ['client.craete', 'There is no event type "client.craete". Did you mean "client.create"?'],
    ['import.faild', 'There is no event type "import.faild". Did you mean "import.failed"?'],
    ['crm.merged', 'There is no event type "crm.merged".'],
    ['client', 'There is no event type "client".'],
    ['*', 'There is no event type "*".'],
    ['__proto__', 'There is no event type "__proto__".'],
  ])('404: for %s', async (name, detail) => {
    const answer = await read(name);
    expect(fieldsOf(answer, 404)).toEqual([]);
    expect(answer.body.detail).toBe(detail);
  });

  it('400: for a name that is longer than any', async () => {
    expect(fieldsOf(await read('x'.repeat(129)), 400)).toEqual(['name']);
  });

  it.each(['PUT', 'DELETE', 'POST', 'PATCH'])('405: %s', async (method) => {
    const answer = await api.request(
      method,
      '/v1/event-types/client.create',
      method === 'DELETE' ? undefined : {},
    );
    fieldsOf(answer, 405);
    expect(answer.headers.get('allow')).toBe('GET');
  });
});

describe('GET /v1/event-types', () => {
  it('200: each of the 18 once, in the order of the catalogue, page by page', async () => {
    for (const limit of [undefined, 1, 5, 18, 100]) {
      const seen: string[] = [];
      let cursor: string | null = null;
      let pages = 0;
      do {
        const parameters = new URLSearchParams({
          ...(limit !== undefined && { limit: String(limit) }),
          ...(cursor !== null && { cursor }),
        });
        const { body }: { body: Body } = await api.request('GET', `/v1/event-types?${parameters.toString()}`);
        seen.push(...namesOf(body));
        cursor = body.nextCursor as string | null;
        pages += 1;
      } while (cursor !== null);
      expect(seen).toEqual(inOrder);
      expect(pages).toBe(Math.ceil(18 / (limit ?? 20)));
    }
  });

  it('200: shows the same as each one alone', async () => {
    await api.create({ events: ['subscription.*'] });
    const { body } = await api.request('GET', '/v1/event-types');
    for (const type of body.items as Body[]) expect((await read(type.name as string)).body).toEqual(type);
  });

  it.each([
    ['limit=101', 'limit'],
    ['cursor=nonsense', 'cursor'],
    [`cursor=${encodeCursor('client.craete')}`, 'cursor'],
    [`cursor=${encodeCursor(3)}`, 'cursor'],
    ['group=Clients', 'group'],
  ])('400: for %s', async (query, field) => {
    expect(fieldsOf(await api.request('GET', `/v1/event-types?${query}`), 400)).toEqual([field]);
  });
});
