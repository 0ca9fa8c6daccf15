import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { storageProblem } from '../../../../shared/events/packed-text.ts';
import { anEventTypeInput, fieldsOf, messageOf, startApi, type Api } from '../api.ts';
import { captureLog } from '../../log-lines.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(async () => {
  vi.useRealTimers();
  await api.clear();
});
afterAll(() => api[Symbol.asyncDispose]());

const publish = (body: unknown, headers = {}) => api.request('POST', '/v1/events', body, { headers });

describe('POST /v1/events', () => {
  it('202: puts the event on the bus, and answers with its id and the time it has there', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-11-23T10:00:00.987Z') });
    const data = { name: 'Ädä', constructor: 'Ferrari', nested: [{ a: null }] };
    const answer = await publish({ type: 'client.create', objectId: 12, data });
    expect(answer.status).toBe(202);
    expect(answer.body).toEqual({
      id: expect.stringMatching(/^[\da-f-]{36}$/u) as string,
      time: '2026-11-23T10:00:00.000Z',
      warnings: expect.arrayContaining(['data.id is missing', 'and 2 more']) as string[],
    });
    expect(api.published()).toEqual([
      {
        EventBusName: 'handoff',
        Source: 'handoff.api',
        DetailType: 'client.create',
        Time: Date.parse('2026-11-23T10:00:00Z') / 1000,
        Detail: JSON.stringify({ objectId: 12, data }),
      },
    ]);
  });

  it.each([
    [{ type: 'crm.merged' }, { objectId: null, data: {} }],
    [
      { type: 'client.update', objectId: 'c-12' },
      { objectId: 'c-12', data: {} },
    ],
  ])('202: %j', async (event, detail) => {
    expect((await publish(event)).status).toBe(202);
    expect(api.published().map(({ Detail }) => JSON.parse(Detail) as unknown)).toEqual([detail]);
  });

  it('202: carries what stands beside the data of an update', async () => {
    const update = {
      objectId: 12,
      data: { id: 12, name: 'Ada' },
      changed: ['name'],
      previous: { name: 'Bob' },
    };
    const answer = await publish({ type: 'client.update', ...update });
    expect(answer.body.warnings).toEqual([]);
    expect(api.published().map(({ Detail }) => Detail)).toEqual([JSON.stringify(update)]);
  });

  it('202: numbers go on the bus as they were written', async () => {
    const detail =
      '{"objectId":12345678901234567890,"data":{"big":12345678901234567890,"rate":1.50,"most":1e400,"none":-0.0},"previous":{"rate":[2.50]}}';
    const answer = await publish(`{"type":"crm.merged",${detail.slice(1)}`);
    expect(answer.status).toBe(202);
    expect(api.published().map(({ Detail }) => Detail)).toEqual([detail]);
    const { items } = (await api.request('GET', '/v1/audit')).body;
    expect(items[0].after).toEqual({ type: 'crm.merged', objectId: '12345678901234567890' });
  });

  it('400: names the fields that are not what a strict schema says, and publishes nothing', async () => {
    const event = { type: 'client.balance.nonpositive', objectId: 12, data: { id: 12, balance: 0 } };
    const warned = await publish(event);
    expect(warned.status).toBe(202);
    expect(warned.body.warnings).toEqual([
      'data.balance must be a decimal string such as "12.5000"',
      'data.previousBalance is missing',
      'data.currency is missing',
      'data.credit is missing',
    ]);
    await api.request('PUT', '/v1/event-types/client.balance.nonpositive', { validation: 'strict' });
    const refused = await publish(event, { 'idempotency-key': 'k-1' });
    expect(fieldsOf(refused, 400)).toEqual([
      'data.balance',
      'data.previousBalance',
      'data.currency',
      'data.credit',
    ]);
    expect(messageOf(refused, 'data.balance')).toBe('must be a decimal string such as "12.5000"');
    expect(api.published()).toHaveLength(1);
    const data = { id: 12, balance: '0', previousBalance: '5', currency: 'EUR', credit: '0' };
    const taken = await publish({ ...event, data }, { 'idempotency-key': 'k-1' });
    expect([taken.status, taken.body.warnings]).toEqual([202, []]);
  });

  it('400: the same for an event type of the deployer, which warns unless it is strict', async () => {
    await api.request('PUT', '/v1/event-types/crm.merged', anEventTypeInput());
    const event = { type: 'crm.merged', objectId: 'c-7', data: { into: 'nobody' } };
    expect((await publish(event)).body.warnings).toEqual(['data.into must match pattern "^c-[0-9]+$"']);
    await api.request('PUT', '/v1/event-types/crm.merged', { ...anEventTypeInput(), validation: 'strict' });
    expect(fieldsOf(await publish(event), 400)).toEqual(['data.into']);
    expect((await publish({ ...event, data: { into: 'c-8' } })).status).toBe(202);
  });

  it.each([
    ['no type', {}, ['type']],
    ['a type that cannot be', { type: 'Client Created' }, ['type']],
    ['an unknown name that begins like a built-in one', { type: 'client.creat' }, ['type']],
    ['a "before" event', { type: 'before.client.create' }, ['type']],
    ["one of Handoff's own", { type: 'handoff.circuit.open' }, ['type']],
    ['a pattern', { type: 'client.*' }, ['type']],
    ['an object as id', { type: 'client.create', objectId: {} }, ['objectId']],
    ['a list as data', { type: 'client.create', data: [] }, ['data']],
    ['a text as data', { type: 'client.create', data: 'x' }, ['data']],
    ['an unknown field', { type: 'client.create', source: 'billing' }, ['source']],
    [
      '__proto__ in its data',
      '{"type":"client.create","data":{"a":[{"__proto__":{}}]}}',
      ['data.a.0.__proto__'],
    ],
    [
      'data nested too deeply',
      `{"type":"client.create","data":{"a":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`,
      ['data'],
    ],
  ])('400: %s', async (_, body, fields) => {
    expect(fieldsOf(await publish(body), 400)).toEqual(fields);
    expect(api.published()).toEqual([]);
  });

  it('400: says what would be good', async () => {
    const answer = await publish({ type: 'crm.merged', objectId: true, data: [], previous: 7 });
    expect(answer.body.errors).toEqual([
      { field: 'objectId', message: 'must be a number, null, or a text of at most 256 characters' },
      { field: 'data', message: 'must be an object' },
      { field: 'previous', message: 'must be an object' },
    ]);
    const long = await publish({ type: 'crm.merged', objectId: 'x'.repeat(257) });
    expect(fieldsOf(long, 400)).toEqual(['objectId']);
  });

  it('400: suggests the nearest built-in name', async () => {
    expect(messageOf(await publish({ type: 'client.creat' }), 'type')).toContain('"client.create"');
  });

  it('takes nearly 1 MB; 413: what is more than a bus would carry, and a body of more than 1 MB', async () => {
    const withText = (length: number) => ({ type: 'client.create', data: { text: 'x'.repeat(length) } });
    expect((await publish(withText(1_046_000))).status).toBe(202);
    for (const length of [1_048_200, 1_048_576]) fieldsOf(await publish(withText(length)), 413);
    expect(api.published()).toHaveLength(1);
  });

  it('413: counts the object id, and what the bus adds', async () => {
    const event = { type: 'a.b', data: { text: 'x'.repeat(1_047_850) } };
    expect((await publish(event)).status).toBe(202);
    fieldsOf(await publish({ ...event, objectId: 'x'.repeat(256) }), 413);
  });

  it('413: what would not fit beside its executions; whatever it took, the dispatcher can keep', async () => {
    const noise = randomBytes(450_000).toString('base64');
    const publishNoise = (length: number) =>
      publish({ type: 'a.b', data: { noise: noise.slice(0, length) } });
    // Base64 compresses to three quarters: the limit of 256 KB is met at about 349,000 characters.
    let [taken, refused] = [300_000, 400_000];
    while (refused - taken > 16) {
      const middle = Math.floor((taken + refused) / 2);
      const { status } = await publishNoise(middle);
      expect([202, 413]).toContain(status);
      if (status === 202) taken = middle;
      else refused = middle;
    }
    // Ids are random and compress a little differently each time: a step away from the edge.
    const answer = await publishNoise(refused + 200);
    fieldsOf(answer, 413);
    expect(answer.body.detail).toBe('The compressed event has more than 262144 bytes.');
    for (const { Source, DetailType, Detail, Time } of api.published()) {
      const envelope = JSON.stringify({
        version: '0',
        id: randomUUID(),
        'detail-type': DetailType,
        source: Source,
        account: '123456789012',
        time: new Date(Time * 1000).toISOString(),
        region: 'ap-southeast-4',
        resources: [],
      });
      expect(storageProblem(`${envelope.slice(0, -1)},"detail":${Detail}}`)).toBeNull();
    }
  });

  it('500: when the bus does not take it, without its words', async () => {
    const lines = captureLog();
    const answer = await publish({ type: 'bus.full' });
    fieldsOf(answer, 500);
    expect(JSON.stringify(answer.body)).not.toMatch(/Throttling|inner words/u);
    expect(JSON.stringify(lines)).toContain('inner words');
    expect(lines).toHaveLength(1);
  });
});

describe('POST /v1/events with an Idempotency-Key', () => {
  const event = { type: 'client.create', objectId: 12, data: { name: 'Ada' } };
  const publishAs = (key: string, body: unknown = event, app = api.router) =>
    api.request('POST', '/v1/events', body, { headers: { 'idempotency-key': key }, app });

  it('202: publishes once; a repeat gets the same answer, and is told that it is one', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-11-23T10:00:00.987Z') });
    const first = await publishAs('k-1');
    expect(first).toMatchObject({ status: 202, body: { time: '2026-11-23T10:00:00.000Z' } });
    expect(first.headers.has('idempotency-replayed')).toBe(false);
    vi.setSystemTime('2026-11-24T09:59:59Z');
    const sameJson = ' { "type":"client.create", "objectId":12,"data":{"name":"\\u0041da"} }';
    for (const [body, app] of [[event], [sameJson], [event, api.open()]] as const) {
      const repeat = await publishAs('k-1', body, app);
      expect(repeat).toMatchObject({ status: 202, body: first.body as object });
      expect(repeat.headers.get('idempotency-replayed')).toBe('true');
    }
    expect(api.published()).toHaveLength(1);
    vi.setSystemTime('2026-11-24T10:00:02Z');
    expect((await publishAs('k-1')).headers.has('idempotency-replayed')).toBe(false);
    expect(api.published()).toHaveLength(2);
  });

  it('202: publishes each time without one, or with others', async () => {
    for (const key of ['a', 'A', 'a b', '"a"', 'x'.repeat(255)])
      expect((await publishAs(key)).status).toBe(202);
    expect((await publish(event)).status).toBe(202);
    expect((await publish(event)).status).toBe(202);
    expect(api.published()).toHaveLength(7);
  });

  it.each([
    ['another type', { ...event, type: 'client.update' }],
    ['another object', { ...event, objectId: '12' }],
    ['other data', { ...event, data: { name: 'Bo' } }],
  ])('409: with %s', async (_, other) => {
    await publishAs('k-1');
    const answer = await publishAs('k-1', other);
    expect(fieldsOf(answer, 409)).toEqual([]);
    expect(answer.body.detail).toContain('was used with another body');
    expect(api.published()).toHaveLength(1);
  });

  it('409: while the first is still being worked on; publishes once, however many come at once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => publishAs('k-1')));
    expect(api.published()).toHaveLength(1);
    const taken = answers.filter(({ status }) => status === 202);
    expect(new Set(taken.map(({ body }) => body.id as string)).size).toBe(1);
    for (const answer of answers.filter(({ status }) => status !== 202)) {
      fieldsOf(answer, 409);
      expect(answer.body.detail).toContain('still being worked on');
    }
  });

  it('500: when the bus does not take it, and the key is free again', async () => {
    captureLog();
    fieldsOf(await publishAs('k-1', { type: 'bus.full' }), 500);
    fieldsOf(await publishAs('k-1', { type: 'bus.full' }), 500);
    const answer = await publishAs('k-1');
    expect(answer.status).toBe(202);
    expect(answer.headers.has('idempotency-replayed')).toBe(false);
  });

  it('400, 413: and the key is not used up', async () => {
    fieldsOf(await publishAs('k-1', { type: 'client.creat' }), 400);
    fieldsOf(await publishAs('k-1', { type: 'a.b', data: { text: 'x'.repeat(1_048_200) } }), 413);
    expect((await publishAs('k-1')).status).toBe(202);
  });

  it.each(['', 'x'.repeat(256), 'schlüssel', 'a\tb', '\u007f'])('400: the key %j', async (key) => {
    const answer = await publishAs(key);
    expect(fieldsOf(answer, 400)).toEqual(['Idempotency-Key']);
    expect(messageOf(answer, 'Idempotency-Key')).toBe('must be 1 to 255 printable ASCII characters');
    expect(api.published()).toEqual([]);
  });
});
