import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startReceiver } from '../../support/http-server.ts';
import { aHandlerInput, fieldsOf, messageOf, startApi, type Answer, type Api } from './api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const post = (path: string, body: unknown) => api.request('POST', path, body);
/** How long the answer is that comes back to a body. */
const sizeOf = ({ body }: Answer) => JSON.stringify(body).length;

describe('keys that would reach a prototype', () => {
  it.each(['constructor', 'prototype'])(
    '400: %s as the name of a header, in a test of a handler too',
    async (key) => {
      const headers = { [key]: 'x' };
      const handler = { ...aHandlerInput(), target: { ...aHandlerInput().target, headers } };
      expect(fieldsOf(await post('/v1/handlers', handler), 400)).toEqual([`target.headers.${key}`]);
      expect(fieldsOf(await post('/v1/handlers/test', { handler, send: false }), 400)).toEqual([
        `handler.target.headers.${key}`,
      ]);
    },
  );

  it('202: words like any other in the data of an event, which come out as they went in', async () => {
    const data = JSON.parse(
      '{"headers":{"constructor":"x","prototype":1},"constructor":{"prototype":{"polluted":true}},"toString":"t"}',
    ) as unknown;
    expect((await post('/v1/events', { type: 'crm.merged', objectId: 1, data })).status).toBe(202);
    expect(api.published().map(({ Detail }) => JSON.parse(Detail ?? '') as unknown)).toEqual([
      { objectId: 1, data },
    ]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('400: named in an answer that stays short, however many there are and however long their way is', async () => {
    const long = 'k'.repeat(100_000);
    const many = Array.from({ length: 9000 }, () => '{"__proto__":1}').join(',');
    const answer = await post('/v1/handlers', `{"${long}":[${many}]}`);
    expect(fieldsOf(answer, 400)).toHaveLength(20);
    expect(sizeOf(answer)).toBeLessThan(50_000);
  });

  it.each(['__proto__', 'constructor', 'prototype'])(
    '400: %s as the name of the header for credentials',
    async (name) => {
      const target = { ...aHandlerInput().target, auth: { type: 'header', name, value: 'secret' } };
      expect(fieldsOf(await post('/v1/handlers', { ...aHandlerInput(), target }), 400)).toEqual([
        'target.auth.name',
      ]);
    },
  );
});

describe('what is too much', () => {
  it.each([
    ['/v1/handlers', 101],
    ['/v1/events', 101],
    ['/v1/handlers/test', 101],
    ['/v1/handlers', 120_000],
    ['/v1/events', 500_000],
  ])('400: a body to %s that is nested %i levels deep', async (path, levels) => {
    for (const [open, close] of [
      ['[', ']'],
      ['{"a":', '}'],
    ] as const) {
      const depth = open === '[' ? levels : Math.min(levels, 30_000);
      const answer = await post(path, `{"data":${open.repeat(depth)}1${close.repeat(depth)}}`);
      expect(messageOf(answer, 'data')).toBe('is nested more than 100 levels deep');
    }
  });

  it('202: data of an event that is nested 90 levels deep', async () => {
    const data = `{"a":${'['.repeat(90)}${']'.repeat(90)}}`;
    expect((await post('/v1/events', `{"type":"crm.merged","data":${data}}`)).status).toBe(202);
  });

  it.each([
    ['a header', { headers: { 'x-a': 'v'.repeat(4097) } }, ['target.headers.x-a']],
    [
      'a header of a quarter of a megabyte',
      { headers: { 'x-a': 'v'.repeat(200_000) } },
      ['target.headers', 'target.headers.x-a'],
    ],
    ['the name of a header', { headers: { ['n'.repeat(257)]: 'v' } }, [`target.headers.${'n'.repeat(257)}`]],
    [
      '51 headers',
      { headers: Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`x-${index}`, 'v'])) },
      ['target.headers'],
    ],
    [
      'all headers together',
      {
        headers: Object.fromEntries(
          Array.from({ length: 5 }, (_, index) => [`x-${index}`, 'v'.repeat(4000)]),
        ),
      },
      ['target.headers'],
    ],
    ['a secret', { auth: { type: 'bearer', token: 't'.repeat(4097) } }, ['target.auth.token']],
    [
      'a user name',
      { auth: { type: 'basic', username: 'u'.repeat(257), password: 'p' } },
      ['target.auth.username'],
    ],
    [
      'a scope',
      {
        auth: {
          type: 'oauth2',
          tokenUrl: 'https://a.example',
          clientId: 'c',
          clientSecret: 's',
          scope: 's'.repeat(1025),
        },
      },
      ['target.auth.scope'],
    ],
  ])('400: %s', async (_, target, fields) => {
    const answer = await post('/v1/handlers', {
      ...aHandlerInput(),
      target: { ...aHandlerInput().target, ...target },
    });
    expect(fieldsOf(answer, 400)).toEqual(fields);
  });

  it('400: a key or a text of the caller stands in the answer up to a thousand characters', async () => {
    const answer = await post('/v1/handlers', { ...aHandlerInput(), ['k'.repeat(200_000)]: 1 });
    expect(answer.status).toBe(400);
    expect(sizeOf(answer)).toBeLessThan(3000);
    const url = `crm.example/${'x'.repeat(200_000)}`;
    expect(
      sizeOf(await post('/v1/handlers', { ...aHandlerInput(), target: { type: 'http', url } })),
    ).toBeLessThan(5000);
  });
});

describe('line breaks and control characters in what is sent on', () => {
  const breaks = ['a\r\nx-b: 1', 'a\nb', 'a\rb', 'a\0b', 'a\u0085b', 'a\u2028b', '\u007f', 'a\tb'];
  const withAuth = (auth: object) => ({ ...aHandlerInput(), target: { ...aHandlerInput().target, auth } });

  it.each(breaks)('400: %j in credentials', async (text) => {
    for (const [auth, fields] of [
      [{ type: 'basic', username: text, password: text }, ['target.auth.username', 'target.auth.password']],
      [{ type: 'bearer', token: text }, ['target.auth.token']],
      [{ type: 'header', name: text, value: text }, ['target.auth.name', 'target.auth.value']],
      [
        {
          type: 'oauth2',
          tokenUrl: `https://a.example/${text}`,
          clientId: text,
          clientSecret: text,
          scope: text,
        },
        ['target.auth.tokenUrl', 'target.auth.clientId', 'target.auth.clientSecret', 'target.auth.scope'],
      ],
    ] as const) {
      const answer = await post('/v1/handlers', withAuth(auth));
      expect([...new Set(fieldsOf(answer, 400))]).toEqual(fields);
    }
  });

  it.each(breaks)('400: %j in a URL', async (text) => {
    const url = `https://crm.example/${text}`;
    expect(
      fieldsOf(await post('/v1/handlers', { ...aHandlerInput(), target: { type: 'http', url } }), 400),
    ).toEqual(['target.url']);
  });

  it.each([
    'Webhook-Id',
    'webhook-signature',
    'WEBHOOK-ANYTHING',
    'Content-Length',
    'Transfer-Encoding',
    'Connection',
    'Host',
    'Expect',
    'TE',
    'Upgrade',
    'traceparent',
    'User-Agent',
    'Content-Type',
  ])('400: the header %s, which is not for handlers to set, nor for their credentials', async (name) => {
    const headers = { ...aHandlerInput(), target: { ...aHandlerInput().target, headers: { [name]: '1' } } };
    expect(fieldsOf(await post('/v1/handlers', headers), 400)).toEqual([`target.headers.${name}`]);
    expect(fieldsOf(await post('/v1/handlers', withAuth({ type: 'header', name, value: '1' })), 400)).toEqual(
      ['target.auth.name'],
    );
  });
});

describe('templates and markup', () => {
  const texts = [
    '{{7*7}}',
    '${7*7}',
    '<%= 7*7 %>',
    '#{7*7}',
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    '%s%n',
    "'; DROP TABLE handlers; --",
    '../../etc/passwd',
    '$(id)',
    '`id`',
  ];

  it.each(texts)('%s is text, in what is kept and in what is sent', async (text) => {
    await using receiver = await startReceiver();
    const target = {
      type: 'http',
      url: `${receiver.url}/?q=${encodeURIComponent(text)}`,
      headers: { 'x-text': text },
    };
    const handler = await api.create({ name: text, description: text, target });
    expect(handler).toMatchObject({ name: text, description: text, target });
    const data = { [text]: text };
    const event = { type: 'client.create', objectId: text, data };
    const answer = await post(`/v1/handlers/${handler.id}/test`, { event });
    expect(answer.body.response).toMatchObject({ statusCode: 204 });
    const [request] = await receiver.waitForRequests(1);
    expect(request?.headers['x-text']).toBe(text);
    expect(new URLSearchParams(request?.path.slice(2)).get('q')).toBe(text);
    expect(JSON.parse(request?.body ?? '')).toMatchObject({ data, objectId: text });
  });

  it('no answer can be taken for a page', async () => {
    const name = '<script>alert(1)</script>';
    const { id } = await api.create({ name });
    const answers = [
      await api.request('GET', '/v1/handlers'),
      await api.request('GET', `/v1/handlers/${id}`),
      await api.request('GET', `/v1/handlers/${name}`),
      await api.request('GET', '/v1/openapi.json'),
      await api.request('PATCH', '/v1/handlers', {}),
      await api.request('GET', `/${name}`),
      await post('/v1/handlers', { [name]: name }),
      await post('/v1/handlers', '{'),
      await post('/v1/handlers', 'x'.repeat(300_000)),
      await api.request('GET', '/v1/handlers', undefined, { claims: {} }),
      await api.request('DELETE', `/v1/handlers/${id}`),
    ];
    expect(answers.map(({ status }) => status)).toEqual([
      200, 200, 404, 200, 405, 404, 400, 400, 413, 403, 204,
    ]);
    for (const { status, headers } of answers) {
      expect([status, headers.get('x-content-type-options')]).toEqual([status, 'nosniff']);
      const type = status === 204 ? null : status < 400 ? 'application/json' : 'application/problem+json';
      expect([status, headers.get('content-type')]).toEqual([status, type]);
    }
  });
});
