import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { anEvent } from '../../../support/builders.ts';
import { authorized, machine } from '../authorized.ts';
import { aHandlerInput, fieldsOf, messageOf, startApi, type Api } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const test = (filter: unknown, event: unknown) => api.request('POST', '/v1/filters/test', { filter, event });
/** The answer as it comes over the wire: a parser would take the spelling of its numbers away. */
async function textOf(method: string, path: string, body?: string): Promise<string> {
  const response = await api.router.request(
    path,
    { method, ...(body !== undefined && { body, headers: { 'content-type': 'application/json' } }) },
    { event: authorized(machine('handoff/admin')) },
  );
  return response.text();
}
const withFilter = (filter: string) => JSON.stringify(aHandlerInput()).replace('{', `{"filter":${filter},`);

describe('POST /v1/filters/test', () => {
  it('200: whether a filter matches an event', async () => {
    const event = JSON.parse(anEvent()) as object;
    const { status, body } = await test({ source: ['billing'], detail: { data: { name: ['Ada'] } } }, event);
    expect(status).toBe(200);
    expect(body).toEqual({ matches: true });
    expect(
      (await test({ detail: { data: { name: ['Bob'], id: [{ numeric: ['>', 12] }] } } }, event)).body,
    ).toEqual({
      matches: false,
      reasons: [
        'detail.data.name is "Ada", but must be "Bob"',
        'detail.data.id is 12, but must be a number > 12',
      ],
    });
  });

  it('200: the event is not validated, and may be a part of one', async () => {
    expect((await test({ a: [null] }, { a: null })).body).toEqual({ matches: true });
    expect((await test({ a: [1] }, {})).body).toEqual({
      matches: false,
      reasons: ['a is absent, but must be 1'],
    });
  });

  it.each([
    ['{"a":[300]}', '{"a":300.0}', false],
    ['{"a":[300.0]}', '{"a":300.0}', true],
    ['{"a":[12345678901234567891]}', '{"a":12345678901234567890}', false],
    ['{"__proto__":{"x":["y"]}}', '{"__proto__":{"x":"y"}}', true],
    [
      '{"a":{"__proto__":[{"exists":true}],"constructor":[{"exists":false}]}}',
      '{"a":{"__proto__":"y"}}',
      true,
    ],
  ])('200: %s against %s, as they are written', async (filter, event, matches) => {
    const { status, body } = await api.request(
      'POST',
      '/v1/filters/test',
      `{"filter":${filter},"event":${event}}`,
    );
    expect([status, body.matches]).toEqual([200, matches]);
  });

  it.each<[unknown, string[]]>([
    [
      { detail: { data: { balance: [{ numeric: ['<', '0'] }] } } },
      ['filter.detail.data.balance[0].numeric[1]'],
    ],
    [{ source: 'billing', detail: {} }, ['filter.source', 'filter.detail']],
    [{ 'a.b': [] }, ['filter["a.b"]']],
    [{ $or: [{ a: [1] }, { b: [{ prefix: ['x'] }] }] }, ['filter.$or[1].b[0].prefix']],
    [{}, ['filter']],
    [null, ['filter']],
    ['source', ['filter']],
    [[], ['filter']],
  ])('400: %j names the place', async (filter, fields) => {
    expect(fieldsOf(await test(filter, {}), 400)).toEqual(fields);
  });

  it('400: no event, no filter, and what is not asked for', async () => {
    expect(fieldsOf(await api.request('POST', '/v1/filters/test', { filter: { a: [1] } }), 400)).toEqual([
      'event',
    ]);
    expect(fieldsOf(await api.request('POST', '/v1/filters/test', { event: {} }), 400)).toEqual(['filter']);
    for (const event of ['x', [], null, 1])
      expect(fieldsOf(await test({ a: [1] }, event), 400)).toEqual(['event']);
    const more = { filter: { a: [1] }, event: {}, handler: {} };
    expect(fieldsOf(await api.request('POST', '/v1/filters/test', more), 400)).toEqual(['handler']);
  });

  it('400: a filter and an event that would take too long together', async () => {
    const filter = { x: { a: [1] }, $or: Array.from({ length: 700 }, (_, index) => ({ x: { b: [index] } })) };
    const event = { x: Array.from({ length: 10_000 }, () => ({ a: 1 })) };
    expect(messageOf(await test(filter, event), 'filter')).toContain('more than 5000000 steps');
  });

  it.each(['a filter of ten thousand ways', 'a thousand wildcards'])('400: %s', async (name) => {
    const filter = name.includes('ways')
      ? { $or: Array.from({ length: 10_000 }, (_, index) => ({ a: [index] })) }
      : { a: Array.from({ length: 1000 }, () => ({ wildcard: '*a*b*' })) };
    expect(fieldsOf(await test(filter, {}), 400)).toEqual(['filter']);
  });
});

describe('the filter of a handler', () => {
  it('201: is kept and shown as it was written', async () => {
    const filter = '{"detail":{"a":[300.0,3.0e2,12345678901234567890],"__proto__":{"b":["x"]}}}';
    const created = await textOf('POST', '/v1/handlers', withFilter(filter));
    expect(created).toContain(`"filter":${filter}`);
    const { id } = JSON.parse(created) as { id: string };
    expect(await textOf('GET', `/v1/handlers/${id}`)).toContain(`"filter":${filter}`);
    expect(await textOf('GET', '/v1/handlers')).toContain(`"filter":${filter}`);
    expect(await textOf('GET', '/v1/audit')).toContain(`"filter":${filter}`);
    expect(await textOf('PUT', `/v1/handlers/${id}`, withFilter('{"a":[1.50]}'))).toContain(
      '"filter":{"a":[1.50]}',
    );
    expect(await textOf('POST', `/v1/handlers/${id}/disable`)).toContain('"filter":{"a":[1.50]}');
    expect(await textOf('PATCH', `/v1/handlers/${id}`, '{"filter":{"b":[2.50]}}')).toContain(
      '"filter":{"b":[2.50]}',
    );
    expect(await textOf('PATCH', `/v1/handlers/${id}`, '{"name":"n"}')).toContain('"filter":{"b":[2.50]}');
  });

  it('200: is replaced as a whole by a patch, taken away by null, and left alone by others', async () => {
    const { id } = await api.create({ filter: { source: ['a'], detail: { x: [1] } } });
    const patch = async (changes: object) =>
      (await api.request('PATCH', `/v1/handlers/${id}`, changes)).body.filter;
    expect(await patch({ priority: 5 })).toEqual({ source: ['a'], detail: { x: [1] } });
    expect(await patch({ filter: { detail: { y: [2] } } })).toEqual({ detail: { y: [2] } });
    expect(await patch({ filter: null })).toBeNull();
    expect((await api.request('GET', `/v1/handlers/${id}`)).body.filter).toBeNull();
  });

  it('400: names the place, in a patch and in a test too', async () => {
    const { id } = await api.create();
    const filter = { detail: { a: null, b: [{ exists: 1 }] } };
    const fields = ['filter.detail.a', 'filter.detail.b[0].exists'];
    expect(fieldsOf(await api.request('POST', '/v1/handlers', { ...aHandlerInput(), filter }), 400)).toEqual(
      fields,
    );
    expect(fieldsOf(await api.request('PATCH', `/v1/handlers/${id}`, { filter }), 400)).toEqual(fields);
    const unsaved = { handler: { ...aHandlerInput(), filter }, send: false };
    expect(fieldsOf(await api.request('POST', '/v1/handlers/test', unsaved), 400)).toEqual(
      fields.map((field) => `handler.${field}`),
    );
  });

  it('200: a test says whether it matches, and runs all the same', async () => {
    const handler = { ...aHandlerInput(), filter: { detail: { data: { name: ['Bob'] } } } };
    const event = { type: 'client.create', objectId: 1, data: { name: 'Ada' } };
    const run = async (body: object) =>
      (await api.request('POST', '/v1/handlers/test', { send: false, ...body })).body;
    expect(await run({ handler, event })).toMatchObject({
      request: { type: 'http' },
      filter: { matches: false, reasons: ['detail.data.name is "Ada", but must be "Bob"'] },
    });
    expect((await run({ handler, event: { ...event, data: { name: 'Bob' } } })).filter).toEqual({
      matches: true,
    });
    expect((await run({ handler: aHandlerInput(), event })).filter).toEqual({ matches: true });
  });

  it('is not asked by the lists: who would run for a type depends on the event', async () => {
    const { id } = await api.create({ filter: { detail: { data: { name: ['nobody'] } } } });
    const { body } = await api.request('GET', '/v1/handlers?event=client.create');
    expect((body.items as { id: string }[]).map((item) => item.id)).toEqual([id]);
    expect((await api.request('GET', '/v1/event-types/client.create')).body.enabledHandlers).toBe(1);
  });
});
