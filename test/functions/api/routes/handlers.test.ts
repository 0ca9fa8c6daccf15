import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HandlerInput } from '../../../../shared/handlers/handler.ts';
import { openSecret } from '../../../../shared/secrets/secret-envelope.ts';
import { createHealthStore } from '../../../../shared/handlers/health-store.ts';
import { anExecution } from '../../../support/builders.ts';
import { aHandlerInput, fieldsOf, startApi, type Api, type Body } from '../api.ts';
import { logExecutions } from '../execution-log.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/u;
const namesOf = ({ body }: { body: Body }): string[] =>
  (body.items as { name: string }[]).map(({ name }) => name);

describe('POST /v1/handlers', () => {
  it('201: answers with every default, and shows the secret this once', async () => {
    const created = await api.request('POST', '/v1/handlers', aHandlerInput());
    expect(created.status).toBe(201);
    const { id, secret, createdAt, ...rest } = created.body;
    expect(id).toMatch(/^h_[\w-]{16}$/u);
    expect(secret).toMatch(/^whsec_[\w+/]+=*$/u);
    expect(createdAt).toMatch(isoTime);
    expect(rest).toEqual({ ...HandlerInput.parse(aHandlerInput()), version: 1, updatedAt: createdAt });
    expect(created.headers.get('etag')).toBe('"1"');
    expect(created.headers.get('location')).toBe(`/v1/handlers/${id}`);

    const { sealedSecrets } = await api.store.get(id);
    expect(sealedSecrets.map((sealed) => openSecret(api.dataKey, id, sealed))).toEqual([secret]);
    expect(JSON.stringify(await api.store.get(id))).not.toContain(secret);
    const later = [
      await api.request('GET', `/v1/handlers/${id}`),
      await api.request('GET', '/v1/handlers'),
      await api.request('PATCH', `/v1/handlers/${id}`, { priority: 5 }),
      await api.request('POST', `/v1/handlers/${id}/disable`),
      await api.request('PUT', `/v1/handlers/${id}`, aHandlerInput()),
    ];
    expect(later.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(JSON.stringify(later.map(({ body }) => body))).not.toMatch(/secret|whsec_/iu);
  });

  it('201: takes a script, which has a secret too', async () => {
    const target = { type: 'script', script: 'balance-guard' };
    const { status, body } = await api.request('POST', '/v1/handlers', { ...aHandlerInput(), target });
    expect(status).toBe(201);
    expect(body.target).toEqual({ ...target, timeoutMs: 30_000 });
    expect(body.secret).toMatch(/^whsec_/u);
    const read = await api.request('GET', `/v1/handlers/${body.id}`);
    expect(read.body.target).toEqual(body.target);
  });

  it('201: gives every handler its own id and secret', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => api.request('POST', '/v1/handlers', aHandlerInput())),
    );
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(20);
    expect(new Set(answers.map(({ body }) => body.secret)).size).toBe(20);
  });
});

describe('GET /v1/handlers/{id}', () => {
  it('200: answers with its version in the ETag, and its health', async () => {
    const handler = await api.create();
    const { status, headers, body } = await api.request('GET', `/v1/handlers/${handler.id}`);
    expect(status).toBe(200);
    expect(headers.get('etag')).toBe('"1"');
    expect(body).toEqual({
      ...handler,
      health: { circuit: 'closed', since: null, lastExecutionAt: null, disabledBecause: null },
    });
  });

  it('200: says how its circuit is and since when, and an edit of the target closes it', async () => {
    const { id } = await api.create();
    const { dynamo, handlersTable: tableName, store } = api;
    const now = () => new Date('2026-11-23T10:00:00.000Z');
    const health = createHealthStore({ dynamo, tableName, handlers: store, scale: 1, now });
    const subject = { handlerId: id, targetVersion: 1 };
    const since = now().toISOString();
    const circuit = async () => (await api.request('GET', `/v1/handlers/${id}`)).body.health.circuit;

    await health.reportFailures(subject, { count: 5, since, aliveAt: null, maxGapMs: 60_000 });
    expect(await circuit()).toBe('closed');
    await health.open(subject, { random: 0 });
    expect((await api.request('GET', `/v1/handlers/${id}`)).body.health).toMatchObject({
      circuit: 'open',
      since,
    });
    const later = createHealthStore({
      dynamo,
      tableName,
      handlers: store,
      scale: 1,
      now: () => new Date(),
    });
    const { health: known } = await later.read(id);
    if (known === null) throw new Error('Nothing is wrong.');
    expect(await later.takeProbe(subject, known, 60_000)).not.toBeNull();
    expect(await circuit()).toBe('probing');

    await api.request('PATCH', `/v1/handlers/${id}`, { name: 'Renamed' });
    expect(await circuit()).toBe('probing');
    await api.request('PATCH', `/v1/handlers/${id}`, { target: { url: 'https://crm.example/other' } });
    expect(await circuit()).toBe('closed');
    // What a straggler says about the target of before does not count for the new one.
    await health.reportFailures(subject, { count: 5, since, aliveAt: null, maxGapMs: 60_000 });
    expect(await circuit()).toBe('closed');
  });

  it('200: a handler that is enabled again begins with a closed circuit', async () => {
    const { id } = await api.create();
    const { dynamo, handlersTable: tableName, store } = api;
    const now = () => new Date();
    const health = createHealthStore({ dynamo, tableName, handlers: store, scale: 1, now });
    const subject = { handlerId: id, targetVersion: 1 };
    const since = now().toISOString();
    await health.reportFailures(subject, { count: 5, since, aliveAt: null, maxGapMs: 60_000 });
    await health.open(subject, { random: 0 });
    await api.request('POST', `/v1/handlers/${id}/disable`);
    await api.request('POST', `/v1/handlers/${id}/enable`);
    const { body } = await api.request('GET', `/v1/handlers/${id}`);
    expect(body.health.circuit).toBe('closed');
  });

  it('200: says when it ran last', async () => {
    const handler = await api.create();
    const startedAt = '2026-11-23T10:00:07.123Z';
    await logExecutions(api, [anExecution({ handlerId: handler.id, startedAt })]);
    const { body } = await api.request('GET', `/v1/handlers/${handler.id}`);
    expect(body.health.lastExecutionAt).toBe(startedAt);
  });

  it.each([
    'h_0123456789abcdef',
    'nonsense',
    '%00',
    '%F0%9F%92%A9',
    '..%2Fevents',
    'REVISION',
    '%23REVISION',
  ])('404: for the id %s', async (id) => {
    expect(fieldsOf(await api.request('GET', `/v1/handlers/${id}`), 404)).toEqual([]);
  });

  it('400: for an id that is longer than any', async () => {
    expect(fieldsOf(await api.request('GET', `/v1/handlers/${'x'.repeat(3000)}`), 400)).toEqual(['id']);
  });
});

describe('PUT /v1/handlers/{id}', () => {
  it('200: takes back what GET answered', async () => {
    const handler = await api.create({ priority: 7, description: 'Ünïcode ✓', status: 'disabled' });
    const read = await api.request('GET', `/v1/handlers/${handler.id}`);
    const written = await api.request('PUT', `/v1/handlers/${handler.id}`, read.body, {
      headers: { 'if-match': read.headers.get('etag') ?? '' },
    });
    expect(written.status).toBe(200);
    expect(written.headers.get('etag')).toBe('"2"');
    expect(written.body).toEqual({
      ...handler,
      version: 2,
      updatedAt: expect.stringMatching(isoTime) as string,
    });
  });

  it('200: replaces everything, back to the defaults; what only Handoff sets stays', async () => {
    const handler = await api.create({ priority: 7, description: 'old', status: 'disabled' });
    const { body } = await api.request('PUT', `/v1/handlers/${handler.id}`, {
      ...aHandlerInput(),
      id: 'h_other',
      version: 99,
      createdAt: '1999-01-01T00:00:00Z',
    });
    expect(body).toMatchObject({
      id: handler.id,
      version: 2,
      createdAt: handler.createdAt,
      priority: 100,
      description: '',
      status: 'enabled',
    });
    expect((await api.request('GET', `/v1/handlers/${handler.id}`)).body).toMatchObject(body as object);
  });

  it('200: keeps the signing secret', async () => {
    const handler = await api.create();
    const { sealedSecrets } = await api.store.get(handler.id as string);
    await api.request('PUT', `/v1/handlers/${handler.id}`, aHandlerInput());
    expect((await api.store.get(handler.id as string)).sealedSecrets).toEqual(sealedSecrets);
  });

  it('400, 404: for a handler that cannot be, and for one that is not there', async () => {
    const handler = await api.create();
    const answer = await api.request('PUT', `/v1/handlers/${handler.id}`, { ...aHandlerInput(), extra: 1 });
    expect(fieldsOf(answer, 400)).toEqual(['extra']);
    fieldsOf(await api.request('PUT', '/v1/handlers/h_gone', aHandlerInput()), 404);
  });
});

describe('a transform', () => {
  const transform = '{ "id": detail.data.id }';
  const wrong = {
    status: 400,
    body: {
      errors: [{ field: 'transform', message: expect.stringMatching(/^is not JSONata: /u) as string }],
    },
  };

  it('is taken when it is JSONata, by each way of writing a handler', async () => {
    const { id } = await api.create({ transform });
    const path = `/v1/handlers/${id}`;
    const { body } = await api.request('GET', path);
    expect(body.transform).toBe(transform);
    expect(await api.request('PUT', path, { ...body, transform: 'detail.(' })).toMatchObject(wrong);
    expect(await api.request('PATCH', path, { transform: 'detail.(' })).toMatchObject(wrong);
    expect(await api.request('POST', '/v1/handlers', { ...aHandlerInput(), transform: '(' })).toMatchObject(
      wrong,
    );
    expect((await api.request('PATCH', path, { transform: null })).body.transform).toBeNull();
  });

  it('goes with an http target', async () => {
    const { id } = await api.create({ transform });
    const target = { type: 'script', script: 'balance-guard' };
    const answer = await api.request('PATCH', `/v1/handlers/${id}`, { target });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: 'transform' }] } });
    expect((await api.request('PATCH', `/v1/handlers/${id}`, { target, transform: null })).status).toBe(200);
  });
});

describe('PATCH /v1/handlers/{id}', () => {
  it('200: changes what is named and nothing else', async () => {
    const handler = await api.create({ description: 'stays' });
    const { body, headers } = await api.request('PATCH', `/v1/handlers/${handler.id}`, {
      name: 'Renamed',
      target: { timeoutMs: 500 },
    });
    expect(body).toEqual({
      ...handler,
      name: 'Renamed',
      target: { ...handler.target, timeoutMs: 500 },
      version: 2,
      updatedAt: body.updatedAt,
    });
    expect(headers.get('etag')).toBe('"2"');
  });

  it('200: takes application/merge-patch+json, with a charset and in capitals too', async () => {
    const handler = await api.create();
    for (const [index, type] of [
      'application/merge-patch+json',
      'application/json; charset=utf-8',
      'Application/JSON',
    ].entries()) {
      const { body } = await api.request(
        'PATCH',
        `/v1/handlers/${handler.id}`,
        { priority: index + 1 },
        { headers: { 'content-type': type } },
      );
      expect(body.priority).toBe(index + 1);
    }
  });

  it('200: null sets a field back to its default', async () => {
    const handler = await api.create({
      description: 'old',
      priority: 7,
      status: 'disabled',
      target: { ...aHandlerInput().target, method: 'PUT', headers: { 'x-a': '1' }, timeoutMs: 500 },
    });
    const { body } = await api.request('PATCH', `/v1/handlers/${handler.id}`, {
      description: null,
      priority: null,
      status: null,
      target: { method: null, headers: null, timeoutMs: null },
    });
    expect(body).toMatchObject({ description: '', priority: 100, status: 'enabled' });
    expect(body.target).toMatchObject({ method: 'POST', headers: {}, timeoutMs: 10_000 });
  });

  it('200: merges headers; null removes one', async () => {
    const handler = await api.create({
      target: { ...aHandlerInput().target, headers: { 'x-a': '1', 'x-b': '2' } },
    });
    const { body } = await api.request('PATCH', `/v1/handlers/${handler.id}`, {
      target: { headers: { 'x-a': null, 'x-b': '3', 'x-c': '4', 'x-never-there': null } },
    });
    expect(body.target.headers).toEqual({ 'x-b': '3', 'x-c': '4' });
  });

  it('200: replaces a list as a whole', async () => {
    const handler = await api.create({ events: ['client.create', 'client.update'] });
    const { body } = await api.request('PATCH', `/v1/handlers/${handler.id}`, { events: ['account.*'] });
    expect(body.events).toEqual(['account.*']);
  });

  it('400: another target.type replaces the target, so what the old one had does not count', async () => {
    const handler = await api.create();
    const path = `/v1/handlers/${handler.id}`;
    const answer = await api.request('PATCH', path, { target: { type: 'script' } });
    expect(fieldsOf(answer, 400)).toEqual(['target.script']);
    expect((await api.request('GET', path)).body.version).toBe(1);
  });

  it('200: another target.type replaces the target, and the secret stays', async () => {
    const handler = await api.create({ target: { ...aHandlerInput().target, headers: { 'x-a': '1' } } });
    const { sealedSecrets } = await api.store.get(handler.id as string);
    const path = `/v1/handlers/${handler.id}`;
    const script = await api.request('PATCH', path, { target: { type: 'script', script: 'balance-guard' } });
    expect(script.body.target).toEqual({ type: 'script', script: 'balance-guard', timeoutMs: 30_000 });
    const renamed = await api.request('PATCH', path, { target: { script: 'rates-handoff', timeoutMs: 500 } });
    expect(renamed.body.target).toEqual({ type: 'script', script: 'rates-handoff', timeoutMs: 500 });
    const http = await api.request('PATCH', path, { target: aHandlerInput().target });
    expect(http.body.target).toEqual({ ...handler.target, headers: {} });
    expect((await api.store.get(handler.id as string)).sealedSecrets).toEqual(sealedSecrets);
  });

  it('200: sets a schedule as a whole', async () => {
    const handler = await api.create({ retry: { schedule: [5, 60] } });
    const path = `/v1/handlers/${handler.id}`;
    for (const schedule of [[7], [], 'none', 'default']) {
      expect((await api.request('PATCH', path, { retry: { schedule } })).body.retry).toEqual({ schedule });
    }
  });

  it.each([
    ['required fields that are removed', { name: null, events: null }, ['name', 'events']],
    ['a removed target', { target: null }, ['target']],
    ['a removed URL', { target: { url: null } }, ['target.url']],
    ['an unknown field', { nmae: 'x' }, ['nmae']],
    ['an unknown field that is removed', { nmae: null }, ['nmae']],
    ['an unknown field of the target that is removed', { target: { uri: null } }, ['target.uri']],
    ['a field that only Handoff sets', { version: 5 }, ['version']],
    ['a bad value', { priority: 0 }, ['priority']],
    ['a list', [], ['body']],
    ['nothing but null', null, ['body']],
    ['a text', '"name"', ['body']],
  ])('400: for %s', async (_, changes, fields) => {
    const handler = await api.create();
    const path = `/v1/handlers/${handler.id}`;
    const answer = await api.request('PATCH', path, changes === null ? 'null' : changes);
    expect(fieldsOf(answer, 400).toSorted()).toEqual(fields.toSorted());
    expect((await api.request('GET', path)).body.version).toBe(1);
  });

  it('404: for one that is not there', async () => {
    fieldsOf(await api.request('PATCH', '/v1/handlers/h_gone', { name: 'x' }), 404);
  });
});

describe('If-Match', () => {
  const changes = {
    PUT: aHandlerInput(),
    PATCH: { priority: 5 },
    DELETE: undefined,
  };

  it.each(Object.entries(changes))(
    '412: on %s with a version that is not the stored one',
    async (method, body) => {
      const handler = await api.create();
      const path = `/v1/handlers/${handler.id}`;
      await api.request('PATCH', path, { priority: 50 });
      for (const etag of ['"1"', 'W/"1"', '"0", "1"', '2', '""', 'nonsense']) {
        const answer = await api.request(method, path, body, { headers: { 'if-match': etag } });
        expect(fieldsOf(answer, 412)).toEqual([]);
        // Of a version without its quotes, too, which the number alone would not tell.
        expect(answer.body.detail).toBe(`The ETag of the handler is "2", not ${etag}.`);
      }
      expect((await api.request('GET', path)).body).toMatchObject({ version: 2, priority: 50 });
    },
  );

  it.each(['"1"', 'W/"1"', '"7", "1"', '*'])('200: with %s at version 1', async (etag) => {
    const handler = await api.create();
    const answer = await api.request(
      'PATCH',
      `/v1/handlers/${handler.id}`,
      { priority: 5 },
      { headers: { 'if-match': etag } },
    );
    expect(answer.status).toBe(200);
  });

  it('412: exactly one of two edits at once', async () => {
    const handler = await api.create();
    const headers = { 'if-match': '"1"' };
    for (let version = 1; version <= 5; version++) {
      const answers = await Promise.all(
        [{ priority: version }, { name: `name ${version}` }].map((change) =>
          api.request('PATCH', `/v1/handlers/${handler.id}`, change, {
            headers: { ...headers, 'if-match': `"${version}"` },
          }),
        ),
      );
      const statuses = answers.map(({ status }) => status);
      expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 412]);
    }
  });

  it('applies both of two edits at once without it', async () => {
    const handler = await api.create();
    const path = `/v1/handlers/${handler.id}`;
    const answers = await Promise.all(
      [{ priority: 5 }, { name: 'Renamed' }].map((change) => api.request('PATCH', path, change)),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect((await api.request('GET', path)).body).toMatchObject({ priority: 5, name: 'Renamed', version: 3 });
  });

  it.each([
    ['PATCH', 'PutItem', { priority: 5 }, 200],
    ['DELETE', 'PutItem', undefined, 204],
  ] as const)(
    'goes on without it when another edit came between: %s',
    async (method, operation, body, status) => {
      const handler = await api.create();
      let conflicts = 0;
      api.wire.intercept((call) => {
        if (call.operation !== operation || call.text.includes('AUDIT#') || conflicts++ > 0) return null;
        const __type = 'com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException';
        return { status: 400, body: { __type, message: 'The conditional request failed' } };
      });
      expect((await api.request(method, `/v1/handlers/${handler.id}`, body)).status).toBe(status);
      expect(conflicts).toBe(2);
    },
  );
});

describe('DELETE /v1/handlers/{id}', () => {
  it('204, then 404; its executions stay readable', async () => {
    const handler = await api.create();
    await logExecutions(api, [anExecution({ handlerId: handler.id })]);
    const path = `/v1/handlers/${handler.id}`;
    const answer = await api.request('DELETE', path);
    expect(answer).toMatchObject({ status: 204, body: null });
    for (const method of ['GET', 'DELETE']) fieldsOf(await api.request(method, path), 404);
    fieldsOf(await api.request('POST', `${path}/enable`), 404);

    const list = await api.request('GET', `/v1/executions?handlerId=${handler.id}`);
    expect(list.body.items).toHaveLength(1);
    const read = await api.request('GET', `/v1/executions/${list.body.items[0].id}`);
    expect(read).toMatchObject({ status: 200, body: { handlerId: handler.id } });
    const all = await api.request('GET', '/v1/executions');
    expect(all.body.items).toEqual(list.body.items);
  });

  it('204: with the version it has', async () => {
    const handler = await api.create();
    const headers = { 'if-match': '"1"' };
    expect((await api.request('DELETE', `/v1/handlers/${handler.id}`, undefined, { headers })).status).toBe(
      204,
    );
  });
});

describe('POST /v1/handlers/{id}/enable, /disable', () => {
  it('200: flips the status, and nothing else', async () => {
    const handler = await api.create({ priority: 7 });
    const path = `/v1/handlers/${handler.id}`;
    const disabled = await api.request('POST', `${path}/disable`);
    expect(disabled.status).toBe(200);
    expect(disabled.headers.get('etag')).toBe('"2"');
    expect(disabled.body).toEqual({
      ...handler,
      status: 'disabled',
      version: 2,
      updatedAt: disabled.body.updatedAt,
    });
    const enabled = await api.request('POST', `${path}/enable`);
    expect(enabled.body).toMatchObject({ status: 'enabled', version: 3, priority: 7 });
  });

  it('200: on one that is that already', async () => {
    const handler = await api.create();
    expect((await api.request('POST', `/v1/handlers/${handler.id}/enable`)).status).toBe(200);
  });

  it('200: stops a handler whose target this deployment would no longer take', async () => {
    const handler = await api.create({ target: { type: 'http', url: 'http://127.0.0.1:5000' } });
    const strict = api.open({ ALLOW_HTTP: 'false', ALLOW_CIDRS: '' });
    const answer = await api.request('POST', `/v1/handlers/${handler.id}/disable`, undefined, {
      app: strict,
    });
    expect(answer).toMatchObject({ status: 200, body: { status: 'disabled' } });
  });

  it('200: flips a handler whose script this deployment has no more', async () => {
    const handler = await api.create({ target: { type: 'script', script: 'balance-guard' } });
    const without = api.open({ SCRIPTS: '' });
    for (const [verb, status] of Object.entries({ disable: 'disabled', enable: 'enabled' })) {
      const path = `/v1/handlers/${handler.id}/${verb}`;
      const answer = await api.request('POST', path, undefined, { app: without });
      expect(answer).toMatchObject({ status: 200, body: { status } });
    }
  });

  it('409: on an archived one, and it stays archived', async () => {
    const handler = await api.create({ status: 'archived' });
    const path = `/v1/handlers/${handler.id}`;
    for (const verb of ['enable', 'disable']) {
      const answer = await api.request('POST', `${path}/${verb}`);
      fieldsOf(answer, 409);
      expect(answer.body.detail).toContain('PATCH it with a "status"');
    }
    expect((await api.request('GET', path)).body).toMatchObject({ status: 'archived', version: 1 });
    expect((await api.request('PATCH', path, { status: 'enabled' })).status).toBe(200);
  });

  it('404: on one that is not there', async () => {
    fieldsOf(await api.request('POST', '/v1/handlers/h_gone/disable'), 404);
  });
});

describe('GET /v1/handlers', () => {
  it('200: by priority, then name; archived ones only when asked for', async () => {
    await api.create({ name: 'b', priority: 2 });
    await api.create({ name: 'c', priority: 1, status: 'disabled' });
    await api.create({ name: 'a', priority: 2 });
    await api.create({ name: 'z', priority: 1, status: 'archived' });
    const lists = {
      '': ['c', 'a', 'b'],
      '?status=enabled': ['a', 'b'],
      '?status=disabled': ['c'],
      '?status=archived': ['z'],
    };
    for (const [query, names] of Object.entries(lists)) {
      const answer = await api.request('GET', `/v1/handlers${query}`);
      expect(answer.status).toBe(200);
      expect(namesOf(answer)).toEqual(names);
      expect(answer.body.nextCursor).toBe(null);
    }
  });

  it('200: those that would run for an event, wildcards too', async () => {
    await api.create({ name: 'exact', events: ['client.balance.nonpositive'] });
    await api.create({ name: 'near', events: ['client.balance.*'] });
    await api.create({ name: 'prefix', events: ['client.*'] });
    await api.create({ name: 'star', events: ['*'] });
    await api.create({ name: 'other', events: ['client.create', 'account.*'] });
    await api.create({ name: 'own', events: ['handoff.circuit.open'] });
    const lists = {
      'client.balance.nonpositive': ['exact', 'near', 'prefix', 'star'],
      'client.create': ['other', 'prefix', 'star'],
      'account.update': ['other', 'star'],
      'crm.merged': ['star'],
      'handoff.circuit.open': ['own'],
      client: ['star'],
    };
    for (const [event, names] of Object.entries(lists)) {
      expect(namesOf(await api.request('GET', `/v1/handlers?event=${event}`)).toSorted()).toEqual(names);
    }
  });

  it('200: by type, and by a text in name, description, URL or script, whatever its case', async () => {
    await api.create({ name: 'Ledger' });
    await api.create({ name: 'a', description: 'Feeds the LEDGER' });
    await api.create({ name: 'b', target: { type: 'http', url: 'https://ledger.example/' } });
    await api.create({ name: 'c' });
    await api.create({ name: 'd', target: { type: 'script', script: 'rates-handoff' } });
    expect(namesOf(await api.request('GET', '/v1/handlers?q=ledger'))).toEqual(['Ledger', 'a', 'b']);
    expect(namesOf(await api.request('GET', '/v1/handlers?q=RATES-'))).toEqual(['d']);
    expect(namesOf(await api.request('GET', '/v1/handlers?q=100%25'))).toEqual([]);
    expect(namesOf(await api.request('GET', '/v1/handlers?type=http'))).toHaveLength(4);
    expect(namesOf(await api.request('GET', '/v1/handlers?type=script'))).toEqual(['d']);
    expect(namesOf(await api.request('GET', '/v1/handlers?type=script&q=ledger'))).toEqual([]);
    expect(
      namesOf(await api.request('GET', '/v1/handlers?type=http&q=ledger&event=client.create')),
    ).toHaveLength(3);
  });

  it('200: gives each of 120 handlers once and in order, page by page', async () => {
    const expected: [number, string, string][] = [];
    for (let index = 0; index < 120; index++) {
      // Names and priorities that repeat: the id decides.
      const { priority, name, id } = await api.register({
        priority: 1 + (index % 3),
        name: `name ${index % 7}`,
      });
      expected.push([priority, name, id]);
    }
    expected.sort(([a, b, c], [d, e, f]) => a - d || (b < e ? -1 : Number(b > e)) || (c < f ? -1 : 1));

    for (const limit of [undefined, 7, 40, 100]) {
      const seen: unknown[] = [];
      let cursor: string | null = null;
      let pages = 0;
      do {
        const parameters = new URLSearchParams({
          ...(limit !== undefined && { limit: String(limit) }),
          ...(cursor !== null && { cursor }),
        });
        const { body }: { body: Body } = await api.request('GET', `/v1/handlers?${parameters.toString()}`);
        expect(body.items.length).toBeLessThanOrEqual(limit ?? 20);
        seen.push(...body.items.map(({ priority, name, id }: Body) => [priority, name, id] as unknown));
        cursor = body.nextCursor as string | null;
        pages += 1;
      } while (cursor !== null);
      expect(seen).toEqual(expected);
      expect(pages).toBe(Math.ceil(120 / (limit ?? 20)));
    }
  });

  it('200: goes on in order although the handler of the cursor is gone', async () => {
    for (const name of ['a', 'b', 'c']) await api.create({ name });
    const first = await api.request('GET', '/v1/handlers?limit=2');
    await api.request('DELETE', `/v1/handlers/${first.body.items[1].id}`);
    const next = await api.request('GET', `/v1/handlers?limit=2&cursor=${first.body.nextCursor}`);
    expect(namesOf(next)).toEqual(['c']);
  });

  it.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=abc', 'limit'],
    ['limit=1.5', 'limit'],
    ['limit=', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['status=gone', 'status'],
    ['type=email', 'type'],
    ['cursor=nonsense', 'cursor'],
    ['cursor=W10', 'cursor'],
    [`cursor=${'x'.repeat(3000)}`, 'cursor'],
    [`q=${'x'.repeat(201)}`, 'q'],
    ['page=2', 'page'],
    ['__proto__=1', '__proto__'],
  ])('400: for %s', async (query, field) => {
    expect(fieldsOf(await api.request('GET', `/v1/handlers?${query}`), 400)).toEqual([field]);
  });
});
