import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { captureLog } from '../log-lines.ts';
import { aHandlerInput, fieldsOf, messageOf, startApi, type Api } from './api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

describe('a body', () => {
  const wholeHandler = ['name', 'events', 'target'];
  // What is missing from an empty body that does not say its type.
  const writes = [
    ['POST', '/v1/handlers', wholeHandler],
    ['POST', '/v1/events', ['type']],
    ['PUT', '/v1/handlers/h_1', wholeHandler],
    ['PATCH', '/v1/handlers/h_1', ['body']],
    ['PUT', '/v1/event-types/client.create', ['body']],
  ] as const;

  it.each(writes)('400: that is not JSON, %s %s', async (method, path) => {
    for (const body of ['{', 'name=x', "{'a': 1}", '{"a":1,}', '\u0000']) {
      expect(fieldsOf(await api.request(method, path, body), 400)).toEqual(['body']);
    }
  });

  it('400: with more wrong fields than anybody reads', async () => {
    const fields = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`field${index}`, 1]));
    expect(fieldsOf(await api.request('POST', '/v1/handlers', fields), 400)).toHaveLength(100);
  });

  it('400: that is not UTF-8', async () => {
    const body = new Uint8Array([...Buffer.from('{"name":"'), 0xff, ...Buffer.from('"}')]);
    expect(fieldsOf(await api.request('POST', '/v1/handlers', body), 400)).toEqual(['body']);
  });

  it.each(writes)('400: that is empty, %s %s', async (method, path, missing) => {
    expect(fieldsOf(await api.request(method, path, ''), 400)).toEqual(['body']);
    expect(fieldsOf(await api.request(method, path), 400)).toEqual(missing);
  });

  it('400: says in a few words what is wrong with a request', async () => {
    const range = { from: 'now', to: 7 };
    const answers = [
      await api.request('POST', '/v1/handlers', ''),
      await api.request('POST', '/v1/handlers', { name: 7 }),
      await api.request('GET', '/v1/executions?limit=many&from=2026-11-23T10:00:00+01:00'),
      await api.request('POST', '/v1/handlers/h_1/recover', range),
      await api.request('POST', '/v1/handlers/h_1/recover', {}),
    ];
    const isNoTime =
      'must be a time such as 2026-11-23T10:00:00Z, or with an offset: +01:00, which is %2B01:00 in a URL';
    expect(answers.map(({ body }) => body.errors)).toEqual([
      [{ field: 'body', message: 'is empty' }],
      [
        { field: 'name', message: 'Invalid input: expected string, received number' },
        { field: 'events', message: 'is missing' },
        { field: 'target', message: 'is missing' },
      ],
      [
        { field: 'from', message: isNoTime },
        { field: 'limit', message: 'must be a whole number from 1 to 100' },
      ],
      [
        { field: 'from', message: isNoTime },
        { field: 'to', message: isNoTime },
      ],
      [
        { field: 'from', message: 'is missing' },
        { field: 'to', message: 'is missing' },
      ],
    ]);
  });

  it.each(writes)('400: of another content type, %s %s', async (method, path) => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/json-seq',
      'application/json ; charset=utf-8',
      'application/json; charset',
      'application/vnd.v2+json',
      'json',
      '',
    ]) {
      const answer = await api.request(method, path, '{}', { headers: { 'content-type': type } });
      expect(fieldsOf(answer, 400)).toEqual(['content-type']);
      expect(messageOf(answer, 'content-type')).toBe('must be application/json');
    }
  });

  it.each(writes)('400: that is empty, of another content type, %s %s', async (method, path) => {
    const answer = await api.request(method, path, undefined, { headers: { 'content-type': 'text/plain' } });
    expect(fieldsOf(answer, 400)).toEqual(['content-type']);
  });

  it.each(writes)('413: of more than 256 KB, and 1 MB for events, %s %s', async (method, path) => {
    const bytes = path === '/v1/events' ? 1024 * 1024 : 256 * 1024;
    const bodyOf = (length: number) =>
      `{"x":"${'é'.repeat(Math.floor((length - 8) / 2))}${'x'.repeat(length % 2)}"}`;
    expect(Buffer.byteLength(bodyOf(bytes))).toBe(bytes);
    fieldsOf(await api.request(method, path, bodyOf(bytes + 1)), 413);
    expect((await api.request(method, path, bodyOf(bytes))).status).not.toBe(413);
  });
});

describe('a path or a method', () => {
  it.each(['/', '/v1', '/v1/', '/v1/handler', '/v1/handlers/', '/v2/handlers', '/v1/handlers/h_1/rotate'])(
    '404: %s',
    async (path) => {
      expect(fieldsOf(await api.request('GET', path), 404)).toEqual([]);
    },
  );

  it.each([
    ['DELETE', '/v1/handlers', 'GET, POST'],
    ['PUT', '/v1/handlers', 'GET, POST'],
    ['POST', '/v1/handlers/h_1', 'GET, PUT, PATCH, DELETE'],
    ['GET', '/v1/handlers/h_1/enable', 'POST'],
    ['PUT', '/v1/handlers/h_1/disable', 'POST'],
    ['POST', '/v1/executions', 'GET'],
    ['DELETE', '/v1/executions/x_1', 'GET'],
    ['GET', '/v1/events', 'POST'],
    ['POST', '/v1/openapi.json', 'GET'],
    ['OPTIONS', '/v1/handlers', 'GET, POST'],
  ])('405: %s %s, with what is allowed', async (method, path, allowed) => {
    const bodies = method === 'GET' || method === 'OPTIONS' ? [undefined] : [undefined, {}];
    for (const body of bodies) {
      const answer = await api.request(method, path, body);
      expect(fieldsOf(answer, 405)).toEqual([]);
      expect(answer.headers.get('allow')).toBe(allowed);
    }
  });
});

describe('an error of our own', () => {
  it.each([
    ['GET', '/v1/handlers', undefined],
    ['GET', '/v1/handlers/h_1', undefined],
    ['POST', '/v1/handlers', aHandlerInput()],
    ['GET', '/v1/executions', undefined],
  ])('500: %s %s, in neutral words, with one line in the log', async (method, path, body) => {
    api.wire.refuse(() => true);
    const lines = captureLog();
    const answer = await api.request(method, path, body);
    expect(fieldsOf(answer, 500)).toEqual([]);
    expect(answer.body.detail).toBe('Something went wrong on our side. The log has the details.');
    expect(JSON.stringify(answer.body)).not.toMatch(/not today|AccessDenied|dynamo|handlers/iu);
    expect(lines).toMatchObject([
      { level: 'ERROR', message: 'request.failed', method, path, error: { name: 'AccessDeniedException' } },
    ]);
  });

  it('500: without the path of the data key', async () => {
    const app = api.open({ DATA_KEY: 'file:/nowhere/data-key' });
    const lines = captureLog();
    const answer = await api.request('POST', '/v1/handlers', aHandlerInput(), { app });
    fieldsOf(answer, 500);
    expect(JSON.stringify(answer.body)).not.toContain('nowhere');
    expect(lines).toHaveLength(1);
  });
});
