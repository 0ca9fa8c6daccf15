import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { builtInEventTypes } from '../../../../shared/catalogue/catalogue.ts';
import { encodeCursor } from '../../../../shared/cursor.ts';
import { anEventTypeInput, fieldsOf, messageOf, startApi, type Api, type Body } from '../api.ts';
import { storeEventTypes } from '../many-handlers.ts';

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
      schema: expect.objectContaining({
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        required: ['objectId', 'data'],
      }) as object,
      builtIn: true,
      validation: 'warn',
      version: 0,
      enabledHandlers: 0,
    });
    expect(answer.body.schema.properties.data).toMatchObject({
      required: ['id', 'balance', 'previousBalance', 'currency', 'credit'],
      properties: { balance: { type: 'string', pattern: String.raw`^-?\d{1,30}(\.\d{1,30})?$` } },
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

  it.each(['POST', 'PATCH'])('405: %s', async (method) => {
    const answer = await api.request(method, '/v1/event-types/client.create', {});
    fieldsOf(answer, 405);
    expect(answer.headers.get('allow')).toBe('GET, PUT, DELETE');
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

const put = (name: string, body: unknown, headers: Record<string, string> = {}) =>
  api.request('PUT', `/v1/event-types/${name}`, body, { headers });
const remove = (name: string, headers: Record<string, string> = {}) =>
  api.request('DELETE', `/v1/event-types/${name}`, undefined, { headers });

describe('PUT /v1/event-types/{name}', () => {
  it('201, then 200: an event type of the deployer is read, listed and counted like a built-in one', async () => {
    await api.create({ events: ['crm.*'] });
    await api.create({ events: ['*'] });
    await api.create({ events: ['crm.merged'], status: 'disabled' });
    const created = await put('crm.merged', anEventTypeInput());
    expect(created.status).toBe(201);
    expect(created.body).toEqual({
      ...anEventTypeInput(),
      name: 'crm.merged',
      group: 'CRM',
      oldId: null,
      builtIn: false,
      validation: 'warn',
      version: 1,
      enabledHandlers: 2,
    });
    expect(created.headers.get('etag')).toBe('"1"');
    expect((await read('crm.merged')).body).toEqual(created.body);

    // What was read can be sent back.
    const changed = await put('crm.merged', { ...created.body, validation: 'strict', group: 'Contacts' });
    expect(changed.status).toBe(200);
    expect(changed.body).toEqual({ ...created.body, validation: 'strict', group: 'Contacts', version: 2 });
    expect(changed.headers.get('etag')).toBe('"2"');
  });

  it('lists those of the deployer behind the built-in ones, by name, page by page', async () => {
    for (const name of ['shop.sold', 'crm.merged', 'a']) await put(name, anEventTypeInput());
    await put('import.failed', { validation: 'strict' });
    const seen: string[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const parameters = new URLSearchParams({ limit: '4', ...(cursor !== '' && { cursor }) });
      const { body }: { body: Body } = await api.request('GET', `/v1/event-types?${parameters.toString()}`);
      seen.push(...namesOf(body));
      cursor = body.nextCursor as string | null;
    }
    expect(seen).toEqual([...inOrder, 'a', 'crm.merged', 'shop.sold']);

    // A page goes on where the one before ended, also when that type is gone.
    const after = encodeCursor('crm.merged');
    await remove('crm.merged');
    expect(namesOf((await api.request('GET', `/v1/event-types?cursor=${after}`)).body)).toEqual([
      'shop.sold',
    ]);
    expect(namesOf((await api.request('GET', `/v1/event-types?cursor=${encodeCursor('z.z')}`)).body)).toEqual(
      [],
    );
  });

  it('200: sets the validation of a built-in type, and DELETE takes that back', async () => {
    const before = (await read('client.create')).body;
    const answer = await put('client.create', { validation: 'strict' });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ ...before, validation: 'strict', version: 1 });
    expect((await put('client.create', { ...before, validation: 'warn' })).body).toMatchObject({
      validation: 'warn',
      version: 2,
    });
    expect((await remove('client.create')).status).toBe(204);
    expect((await read('client.create')).body).toEqual(before);
    // There is nothing to take back.
    expect((await remove('client.create')).status).toBe(204);
  });

  it.each([
    ['label', { label: 'Clients: made' }],
    ['schema', { schema: {} }],
    ['sample', { sample: {} }],
    ['description', { description: 'Ours.' }],
  ])('400: %s of a built-in type', async (field, body) => {
    const answer = await put('client.create', body);
    expect(fieldsOf(answer, 400)).toEqual([field]);
    expect(messageOf(answer, field)).toBe('cannot be changed: client.create is built in');
  });

  it.each([
    ['client.craete', 'there is no event type "client.craete"; did you mean "client.create"?'],
    ['before.crm.merged', 'handlers only run after the fact, there are no "before" events'],
    ['handoff.circuit.opened', 'names that begin with "handoff." are those of Handoff alone'],
    ['handoff.mine', 'names that begin with "handoff." are those of Handoff alone'],
    ['Crm.Merged', 'must be a lower-case dotted name such as client.create'],
    ['crm.*', 'must be a lower-case dotted name such as client.create'],
  ])('400: the name %s', async (name, message) => {
    const answer = await put(name, anEventTypeInput());
    expect(fieldsOf(answer, 400)).toEqual(['name']);
    expect(messageOf(answer, 'name')).toBe(message);
    expect((await read(name)).status).toBe(404);
  });

  const withSchema = (schema: unknown) => ({ ...anEventTypeInput(), schema, sample: {} });
  it.each([
    ['nothing of it', {}, ['label', 'schema', 'sample']],
    ['a schema that is none', withSchema({ type: 'objct' }), ['schema.type', 'schema.type', 'schema.type']],
    ['a schema that is a text', withSchema('x'), ['schema']],
    ['a reference to elsewhere', withSchema({ $ref: 'https://x.example/s' }), ['schema.$ref']],
    [
      'a reference to nothing',
      withSchema({ properties: { a: { $ref: '#/$defs/b' } } }),
      ['schema.properties.a.$ref'],
    ],
    [
      'another dialect',
      withSchema({ $schema: 'http://json-schema.org/draft-07/schema#' }),
      ['schema.$schema'],
    ],
    ['a pattern that looks ahead', withSchema({ pattern: '(?=a)' }), ['schema.pattern']],
    ['a label of two lines', { ...anEventTypeInput(), label: 'a\nb' }, ['label']],
    ['an unknown field', { ...anEventTypeInput(), owner: 'x' }, ['owner']],
    ['an unknown validation', { ...anEventTypeInput(), validation: 'off' }, ['validation']],
    [
      'a sample that is not what the schema says',
      { ...anEventTypeInput(), sample: { objectId: 7, data: {} } },
      ['sample.objectId', 'sample.data.into'],
    ],
    ['a large schema', withSchema({ description: 'x'.repeat(32 * 1024) }), ['schema']],
    ['a large sample', { ...withSchema({}), sample: { x: 'x'.repeat(16 * 1024) } }, ['sample']],
  ])('400: %s', async (_, body, fields) => {
    expect(fieldsOf(await put('crm.merged', body), 400)).toEqual(fields);
  });

  it('412: when it has changed since it was read; DELETE too', async () => {
    await put('crm.merged', anEventTypeInput());
    expect((await put('crm.merged', anEventTypeInput(), { 'if-match': '"1"' })).status).toBe(200);
    fieldsOf(await put('crm.merged', anEventTypeInput(), { 'if-match': '"1"' }), 412);
    fieldsOf(await remove('crm.merged', { 'if-match': '"1"' }), 412);
    expect((await remove('crm.merged', { 'if-match': '"2"' })).status).toBe(204);
    fieldsOf(await read('crm.merged'), 404);
    fieldsOf(await remove('crm.merged'), 404);
    fieldsOf(await put('crm.merged', anEventTypeInput(), { 'if-match': '"2"' }), 412);
    expect((await put('crm.merged', anEventTypeInput())).status).toBe(201);
  });

  it('lets many change one at once, one after the other', async () => {
    await put('crm.merged', anEventTypeInput());
    const answers = await Promise.all(Array.from({ length: 8 }, () => put('crm.merged', anEventTypeInput())));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
    expect((await read('crm.merged')).body.version).toBe(9);
  });

  it('409: beyond 4 MB of all together', async () => {
    const large = { ...anEventTypeInput(), schema: { description: 'x'.repeat(32_000) }, sample: {} };
    const custom = JSON.stringify({ ...large, group: 'CRM' });
    await storeEventTypes(api, 130, custom);
    const answer = await put('crm.merged', large);
    fieldsOf(answer, 409);
    expect(answer.body.detail).toMatch(/would have \d+ bytes together/u);
    await remove('crm.type_000');
    expect((await put('crm.merged', large)).status).toBe(201);
  });

  it('tests a handler with the sample of a type of the deployer', async () => {
    await put('crm.merged', anEventTypeInput());
    const handler = {
      name: 'CRM',
      events: ['crm.*'],
      target: { type: 'http', url: 'https://crm.example/hook' },
    };
    const { body } = await api.request('POST', '/v1/handlers/test', { handler, send: false });
    expect(JSON.parse(body.request.body as string)).toMatchObject({
      type: 'crm.merged',
      data: anEventTypeInput().sample.data,
    });
  });
});
