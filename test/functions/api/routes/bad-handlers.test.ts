import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { aHandlerInput, fieldsOf, messageOf, startApi, type Api, scripts } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const post = (body: unknown, app = api.router) => api.request('POST', '/v1/handlers', body, { app });
const withTarget = (target: object) => ({ target: { ...aHandlerInput().target, ...target } });
/** A handler as text, with members that no object literal can hold. */
const withText = (members: string, where: 'top' | 'target' | 'headers'): string => {
  const { name, events, target } = aHandlerInput();
  const headers = `"headers":{${where === 'headers' ? members : ''}}`;
  const inTarget = `"type":"http","url":"${target.url}",${headers}${where === 'target' ? `,${members}` : ''}`;
  const top = where === 'top' ? `,${members}` : '';
  return `{"name":"${name}","events":${JSON.stringify(events)},"target":{${inTarget}}${top}}`;
};

const bad: [name: string, change: object, fields: string[]][] = [
  ['no name', { name: undefined }, ['name']],
  ['an empty name', { name: '' }, ['name']],
  ['a blank name', { name: ' \u00a0' }, ['name']],
  ['a name of 300 characters', { name: 'x'.repeat(300) }, ['name']],
  ['a name of two lines', { name: 'a\r\nb' }, ['name']],
  ['a number as name', { name: 7 }, ['name']],
  ['a description of 20 kB', { description: 'x'.repeat(20_000) }, ['description']],
  ['no events', { events: undefined }, ['events']],
  ['an empty list of events', { events: [] }, ['events']],
  ['a text as events', { events: 'client.create' }, ['events']],
  ['101 events', { events: Array.from({ length: 101 }, (_, index) => `crm.e${index}`) }, ['events']],
  ['an event twice', { events: ['client.create', 'client.create'] }, ['events']],
  ['an event that cannot be', { events: ['client.create', 'Client Created!'] }, ['events.1']],
  ['an unknown event of a built-in name', { events: ['client.created'] }, ['events.0']],
  ['an unknown prefix of a built-in name', { events: ['client.custom.*'] }, ['events.0']],
  ['a star in the middle', { events: ['client.*.update'] }, ['events.0']],
  ['a "before" event', { events: ['before.client.create'] }, ['events.0']],
  ['all "before" events', { events: ['before.*'] }, ['events.0']],
  ['no target', { target: undefined }, ['target']],
  ['null as target', { target: null }, ['target']],
  ['a target without a type', { target: { url: 'https://crm.example/' } }, ['target.type']],
  ['a script that is not there', { target: { type: 'script', script: 'x' } }, ['target.script']],
  ['a script without a name', { target: { type: 'script' } }, ['target.script']],
  [
    'a script and a URL',
    { target: { type: 'script', script: 'balance-guard', url: 'https://a.example' } },
    ['target.url'],
  ],
  [
    'a script for more than 120 s',
    { target: { type: 'script', script: 'balance-guard', timeoutMs: 120_001 } },
    ['target.timeoutMs'],
  ],
  ['a script at an endpoint', withTarget({ script: 'balance-guard' }), ['target.script']],
  ['an unknown type', { target: { type: 'email' } }, ['target.type']],
  ['ftp://', withTarget({ url: 'ftp://crm.example/hook' }), ['target.url']],
  ['file://', withTarget({ url: 'file:///etc/passwd' }), ['target.url']],
  ['javascript:', withTarget({ url: 'javascript:alert(1)' }), ['target.url']],
  ['a URL without a scheme', withTarget({ url: '120.0.0.1:5000/api' }), ['target.url']],
  ['a host alone', withTarget({ url: 'crm.example' }), ['target.url']],
  ['a path alone', withTarget({ url: '/hook' }), ['target.url']],
  ['https:// alone', withTarget({ url: 'https://' }), ['target.url']],
  ['an empty URL', withTarget({ url: '' }), ['target.url']],
  ['a user name in the URL', withTarget({ url: 'https://me:secret@crm.example/' }), ['target.url']],
  ['a fragment in the URL', withTarget({ url: 'https://crm.example/#top' }), ['target.url']],
  [
    'a URL of 3,000 characters',
    withTarget({ url: `https://crm.example/${'x'.repeat(3000)}` }),
    ['target.url'],
  ],
  ['a port that cannot be', withTarget({ url: 'https://crm.example:99999/' }), ['target.url']],
  ['GET', withTarget({ method: 'GET' }), ['target.method']],
  ['a timeout of 99 ms', withTarget({ timeoutMs: 99 }), ['target.timeoutMs']],
  ['a timeout of more than 30 s', withTarget({ timeoutMs: 30_001 }), ['target.timeoutMs']],
  ['a timeout in words', withTarget({ timeoutMs: '10s' }), ['target.timeoutMs']],
  ['CR LF in a header', withTarget({ headers: { 'x-a': '1\r\nx-b: 2' } }), ['target.headers.x-a']],
  ['LF in a header', withTarget({ headers: { 'x-a': '1\n2' } }), ['target.headers.x-a']],
  ['NUL in a header', withTarget({ headers: { 'x-a': '1\0' } }), ['target.headers.x-a']],
  ['an umlaut in a header', withTarget({ headers: { 'x-a': 'ü' } }), ['target.headers.x-a']],
  [
    'CR LF in the name of a header',
    withTarget({ headers: { 'x-a\r\nx-b': '1' } }),
    ['target.headers.x-a\r\nx-b'],
  ],
  ['a space in the name of a header', withTarget({ headers: { 'x a': '1' } }), ['target.headers.x a']],
  ['a number as header', withTarget({ headers: { 'x-a': 1 } }), ['target.headers.x-a']],
  ['a header twice', withTarget({ headers: { 'x-a': '1', 'X-A': '2' } }), ['target.headers.X-A']],
  [
    'a header that Handoff sets',
    withTarget({ headers: { 'Webhook-Id': '1' } }),
    ['target.headers.Webhook-Id'],
  ],
  ['a header that HTTP sets', withTarget({ headers: { host: 'other.example' } }), ['target.headers.host']],
  [
    'credentials in a header',
    withTarget({ headers: { Authorization: 'Bearer x' } }),
    ['target.headers.Authorization'],
  ],
  ['a list as headers', withTarget({ headers: [] }), ['target.headers']],
  ['an unknown status', { status: 'paused' }, ['status']],
  ['priority 0', { priority: 0 }, ['priority']],
  ['priority 1001', { priority: 1001 }, ['priority']],
  ['priority 1.5', { priority: 1.5 }, ['priority']],
  ['a priority in words', { priority: '7' }, ['priority']],
  ['an unknown field', { nmae: 'x' }, ['nmae']],
  ['an unknown field of the target', withTarget({ uri: 'x' }), ['target.uri']],
  ['a schedule in words', { retry: { schedule: 'sometimes' } }, ['retry.schedule']],
  ['a number as schedule', { retry: { schedule: 5 } }, ['retry.schedule']],
  ['a wait in words', { retry: { schedule: [5, 10, '1h'] } }, ['retry.schedule.2']],
  [
    'waits too short and too long',
    { retry: { schedule: [0, 5, 604_801] } },
    ['retry.schedule.0', 'retry.schedule.2'],
  ],
  ['51 waits', { retry: { schedule: Array.from({ length: 51 }, () => 5) } }, ['retry.schedule']],
  ['waits of 35 days', { retry: { schedule: Array.from({ length: 5 }, () => 604_800) } }, ['retry.schedule']],
  ['no calls a second', { rateLimit: { perSecond: 0 } }, ['rateLimit.perSecond']],
  ['a call in 101 seconds', { rateLimit: { perSecond: 1 / 101 } }, ['rateLimit.perSecond']],
  ['1001 calls a second', { rateLimit: { perSecond: 1001 } }, ['rateLimit.perSecond']],
  ['calls a second as text', { rateLimit: { perSecond: '5' } }, ['rateLimit.perSecond']],
  ['a rate limit that is a number', { rateLimit: 5 }, ['rateLimit']],
  ['a rate limit without a rate', { rateLimit: {} }, ['rateLimit.perSecond']],
  ['a rate limit a minute', { rateLimit: { perSecond: 1, perMinute: 60 } }, ['rateLimit.perMinute']],
  ['an unknown field of retry', { retry: { schedule: 'default', max: 3 } }, ['retry.max']],
  ['an id of its own', { id: 'h_mine' }, ['id']],
  ['a format that is none', withTarget({ format: 'xml' }), ['target.format']],
  ['a transform that is empty', { transform: '' }, ['transform']],
  ['a transform of 8193 characters', { transform: ' '.repeat(8193) }, ['transform']],
  ['a transform with half a character', { transform: '"\ud800"' }, ['transform']],
  ['a transform that is no text', { transform: { a: 1 } }, ['transform']],
  ['onFailure that is nothing', { onFailure: 'stop' }, ['onFailure']],
  ['several faults at once', { name: '', priority: 0, extra: 1 }, ['extra', 'name', 'priority']],
];

describe('POST /v1/handlers, 400', () => {
  it.each(bad)('%s', async (_, change, fields) => {
    const answer = await post({ ...aHandlerInput(), ...change });
    expect(fieldsOf(answer, 400).toSorted()).toEqual(fields);
    expect((await api.store.readAll()).handlers).toEqual([]);
  });

  it('proposes a URL, an event type and the setting that is needed', async () => {
    const noScheme = await post({ ...aHandlerInput(), ...withTarget({ url: '120.0.0.1:5000/api' }) });
    expect(messageOf(noScheme, 'target.url')).toContain('"http://120.0.0.1:5000/api"');
    expect(messageOf(noScheme, 'target.url')).toContain('HANDOFF_ALLOW_HTTP=true');
    const misspelt = await post({ ...aHandlerInput(), events: ['client.creat'] });
    expect(messageOf(misspelt, 'events.0')).toContain('"client.create"');
    const before = await post({ ...aHandlerInput(), events: ['before.client.create'] });
    expect(messageOf(before, 'events.0')).toContain('only run after the fact');
  });

  it('a script that is not in the deployment, naming those that are, however it is saved', async () => {
    const script = (name: string) => ({ target: { type: 'script', script: name } });
    const [http, saved] = [await api.create(), await api.create(script('balance-guard'))];
    const target = script('balance-gaurd');
    for (const [method, path, body] of [
      ['POST', '', { ...aHandlerInput(), ...target }],
      ['PUT', `/${http.id}`, { ...aHandlerInput(), ...target }],
      ['PATCH', `/${http.id}`, target],
      ['PATCH', `/${saved.id}`, { target: { script: 'balance-gaurd' } }],
    ] as const) {
      const answer = await api.request(method, `/v1/handlers${path}`, body);
      expect(fieldsOf(answer, 400)).toEqual(['target.script']);
      expect(messageOf(answer, 'target.script')).toBe(
        `there is no script "balance-gaurd" in this deployment; there are ${scripts.map(({ name }) => name).join(', ')}`,
      );
    }
    const bare = await api.request(
      'PATCH',
      `/v1/handlers/${saved.id}`,
      { priority: 5 },
      { app: api.open({ SCRIPTS: '' }) },
    );
    expect(messageOf(bare, 'target.script')).toBe(
      'there is no script "balance-guard" in this deployment; it has none',
    );
  });

  it('says what a schedule may be', async () => {
    const answer = await post({ ...aHandlerInput(), retry: { schedule: [5, 'x'] } });
    expect(messageOf(answer, 'retry.schedule.1')).toBe('must be a wait of 1 to 604800 seconds (7 days)');
    const words = await post({ ...aHandlerInput(), retry: { schedule: 'x' } });
    expect(messageOf(words, 'retry.schedule')).toBe(
      'must be "default", "none" or a list of waits in seconds',
    );
  });

  it.each(['__proto__', 'constructor', 'prototype'])(
    'the key %s at the top, in the target, in headers',
    async (key) => {
      const members = `"${key}":"x"`;
      expect(fieldsOf(await post(withText(members, 'top')), 400)).toEqual([key]);
      expect(fieldsOf(await post(withText(members, 'target')), 400)).toEqual([`target.${key}`]);
      expect(fieldsOf(await post(withText(members, 'headers')), 400)).toEqual([`target.headers.${key}`]);
      expect(({} as Record<string, unknown>)['x']).toBeUndefined();

      const handler = await api.create();
      for (const text of [`{${members}}`, `{"target":{${members}}}`, `{"target":{"headers":{${members}}}}`]) {
        const answer = await api.request('PATCH', `/v1/handlers/${handler.id}`, text);
        expect(fieldsOf(answer, 400)).toHaveLength(1);
      }
    },
  );

  it('a body that is nested too deeply', async () => {
    const text = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    expect(fieldsOf(await post(withText(`"filter":${text}`, 'top')), 400)).toEqual(['filter']);
    expect(fieldsOf(await post(text), 400)).toHaveLength(1);
  });

  it.each([
    'https://127.0.0.1/',
    'https://127.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://localhost/',
    'https://api.localhost./',
    'https://0.0.0.0/',
    'https://10.0.0.1/',
    'https://172.16.0.1/',
    'https://192.168.1.1/',
    'https://100.64.0.1/',
    'https://169.254.169.254/latest/meta-data/',
    'https://[::1]/',
    'https://[::]/',
    'https://[fe80::1]/',
    'https://[fd00:ec2::254]/',
    'https://[::ffff:10.0.0.1]/',
    'https://[64:ff9b::7f00:1]/',
  ])('the address of %s, when the deployment does not allow it', async (url) => {
    const strict = api.open({ ALLOW_CIDRS: '' });
    const answer = await post({ ...aHandlerInput(), ...withTarget({ url }) }, strict);
    expect(fieldsOf(answer, 400)).toEqual(['target.url']);
    const handler = await api.create();
    for (const [method, body] of [
      ['PUT', { ...aHandlerInput(), ...withTarget({ url }) }],
      ['PATCH', { target: { url } }],
    ] as const) {
      const edit = await api.request(method, `/v1/handlers/${handler.id}`, body, { app: strict });
      expect(fieldsOf(edit, 400)).toEqual(['target.url']);
    }
  });

  it('loopback in Lambda, whatever ranges are allowed', async () => {
    const inLambda = api.open({ AWS_LAMBDA_RUNTIME_API: '127.0.0.1:9001' });
    const answer = await post(
      { ...aHandlerInput(), ...withTarget({ url: 'https://127.0.0.1:9001/' }) },
      inLambda,
    );
    expect(fieldsOf(answer, 400)).toEqual(['target.url']);
  });

  it('http:// when the deployment does not allow it', async () => {
    const strict = api.open({ ALLOW_HTTP: 'false' });
    const answer = await post({ ...aHandlerInput(), ...withTarget({ url: 'http://crm.example/' }) }, strict);
    expect(fieldsOf(answer, 400)).toEqual(['target.url']);
    expect(messageOf(answer, 'target.url')).toContain('HANDOFF_ALLOW_HTTP=true');
  });
});

describe('POST /v1/handlers, 201', () => {
  it.each([
    [
      'http:// and a loopback address, when the deployment allows both',
      withTarget({ url: 'http://127.0.0.1:8080/' }),
    ],
    ['the longest name', { name: 'ü'.repeat(200) }],
    ['a description of several lines', { description: 'one\ntwo' }],
    ['events of its own', { events: ['crm.contact_merged', 'crm.*', '*', 'handoff.*'] }],
    ['both ends of the priority', { priority: 1000 }],
    ['a header with every kind of character', withTarget({ headers: { 'X-A_b.c~1': 'a\t!"~ ;,=' } })],
    ['an international name', withTarget({ url: 'https://bücher.example/ü?q=ß' })],
    ['a script', { target: { type: 'script', script: 'rates-handoff', timeoutMs: 120_000 } }],
    ['no retries', { retry: { schedule: 'none' } }],
    ['no retries, as a list', { retry: { schedule: [] } }],
    ['a rate limit', { rateLimit: { perSecond: 5 } }],
    ['the least rate limit', { rateLimit: { perSecond: 0.01 } }],
    ['the largest rate limit', { rateLimit: { perSecond: 1000 } }],
    ['a schedule of its own', { retry: { schedule: [1, 60, 604_800] } }],
    ['defaults that are said', { filter: null, transform: null, rateLimit: null, onFailure: 'continue' }],
  ])('%s', async (_, change) => {
    const answer = await post({ ...aHandlerInput(), ...change });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject(change);
  });
});
