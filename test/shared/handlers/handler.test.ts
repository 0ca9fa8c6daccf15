import { describe, expect, it } from 'vitest';
import { HandlerInput, type HttpTarget } from '../../../shared/handlers/handler.ts';

const target = { type: 'http', url: 'https://crm.example/hook' };
const minimal = { name: 'CRM sync', events: ['client.create'], target };

/** What is wrong with a handler, as `path: message`. JSON, because that is how handlers come. */
function problemsOf(changes: object): string[] {
  const json = JSON.stringify({ ...minimal, ...changes });
  const { error } = HandlerInput.safeParse(JSON.parse(json));
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
}
const targetProblemsOf = (changes: object) => problemsOf({ target: { ...target, ...changes } });
const urlProblemsOf = (url: string) => targetProblemsOf({ url });

describe('HandlerInput', () => {
  it('needs no more than name, events and target, and fills in the rest', () => {
    expect(HandlerInput.parse(minimal)).toEqual({
      name: 'CRM sync',
      description: '',
      events: ['client.create'],
      filter: null,
      transform: null,
      target: {
        type: 'http',
        url: 'https://crm.example/hook',
        method: 'POST',
        headers: {},
        auth: null,
        format: 'standard',
        timeoutMs: 10_000,
      },
      status: 'enabled',
      priority: 100,
      onFailure: 'continue',
      retry: { schedule: 'default' },
      rateLimit: null,
    });
  });

  it('names each required field that is missing', () => {
    const { error } = HandlerInput.safeParse({});
    expect(error?.issues.map(({ path }) => path.join('.'))).toEqual(['name', 'events', 'target']);
  });

  it.each([
    ['', 'must not be empty'],
    ['   ', 'must not be empty'],
  ])('refuses the name "%s"', (name, message) => {
    expect(problemsOf({ name })).toEqual([`name: ${message}`]);
  });

  it('takes a name of 200 characters and refuses one of 300', () => {
    expect(problemsOf({ name: 'x'.repeat(200) })).toEqual([]);
    expect(problemsOf({ name: 'x'.repeat(300) })).toEqual(['name: must have at most 200 characters']);
  });

  it.each(['a\nb', 'a\r\nb', 'a\u0000b', 'a\u0085b', 'a\u2028b', 'a\u2029b', 'a\ud800b'])(
    'refuses a name that is not one line of text: %j',
    (name) => {
      expect(problemsOf({ name })).toEqual(['name: must not contain control characters or line breaks']);
    },
  );

  it.each([
    ['a change of direction', 'invoice\u202efdp.exe'],
    ['an isolate', 'a\u2066b\u2069'],
    ['a mark of direction', '\u200fCRM'],
    ['an Arabic mark of direction', '\u061cCRM'],
    ['a space of no width', 'CR\u200bM'],
    ['a joiner in a Latin word', 'CR\u200dM'],
    ['a byte order mark', '\ufeffCRM'],
    ['a word joiner', 'CRM\u2060'],
    ['a soft hyphen', 'CR\u00adM'],
    ['tags', 'CRM\u{e0041}'],
    ['a Hangul filler', '\u3164'],
    ['a stray variation selector', 'CRM\ufe0f'],
    ['an annotation', 'a\ufff9b'],
  ])('refuses a name with what cannot be seen: %s', (_, name) => {
    const message = 'must not contain invisible characters (zero width, direction of text)';
    expect(problemsOf({ name })).toEqual([`name: ${message}`]);
    expect(problemsOf({ description: `one\n${name}` })).toEqual([`description: ${message}`]);
  });

  it.each(['\u00a0', '\u3000', ' \u2003 ', '\u2800', '\u2800 \u2800'])(
    'refuses a name that looks empty: %j',
    (name) => {
      expect(problemsOf({ name })).toEqual(['name: must not be empty']);
    },
  );

  it.each([
    '顧客同期 – Größe 👋',
    '👩‍💻 Team',
    '❤️ 7️⃣ ©️',
    '🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪',
    'می‌خواهم',
    'क्‍ष',
    'שלום',
    'Žižek’s “sync” (α→β)',
  ])('takes a name in any script: %s', (name) => {
    expect(problemsOf({ name })).toEqual([]);
  });

  it('keeps a name in the composed form, and counts in that', () => {
    expect(HandlerInput.parse({ ...minimal, name: 'Gro\u0308ße' }).name).toBe('Größe');
    expect(problemsOf({ name: 'o\u0308'.repeat(200) })).toEqual([]);
  });

  it('takes a description of several lines and refuses one of 20 kB', () => {
    expect(problemsOf({ description: 'one\ntwo' })).toEqual([]);
    expect(problemsOf({ description: 'x'.repeat(20_000) })).toEqual([
      'description: must have at most 10000 characters',
    ]);
  });

  it.each([0, -1, 1.5, 1001, '5', null])('refuses the priority %j', (priority) => {
    expect(problemsOf({ priority })).toHaveLength(1);
    expect(problemsOf({ priority })[0]).toMatch(/^priority: /u);
  });

  it('takes the priorities 1 and 1000', () => {
    expect(problemsOf({ priority: 1 })).toEqual([]);
    expect(problemsOf({ priority: 1000 })).toEqual([]);
  });

  it('names a field that does not exist, at any depth', () => {
    expect(problemsOf({ colour: 'red' })).toEqual([': Unrecognized key: "colour"']);
    expect(targetProblemsOf({ verb: 'GET' })).toEqual(['target: Unrecognized key: "verb"']);
    expect(problemsOf({ retry: { times: 3 } })).toEqual(['retry: Unrecognized key: "times"']);
  });

  it.each(['deleted', 'ENABLED', null])('refuses the status %j', (status) => {
    expect(problemsOf({ status })).toHaveLength(1);
  });
});

describe('events of a handler', () => {
  it('refuses an empty list', () => {
    expect(problemsOf({ events: [] })).toEqual(['events: name at least one event type']);
  });

  it('takes exact names, prefixes and everything', () => {
    expect(
      problemsOf({ events: ['client.create', 'client.*', 'crm.contact_merged', 'handoff.*', '*'] }),
    ).toEqual([]);
  });

  it('says which one cannot be, and suggests the nearest', () => {
    expect(problemsOf({ events: ['client.create', 'client.craete'] })).toEqual([
      'events.1: there is no event type "client.craete"; did you mean "client.create"?',
    ]);
  });

  it('refuses events before the fact', () => {
    expect(problemsOf({ events: ['before.client.create'] })).toEqual([
      'events.0: handlers only run after the fact, there are no "before" events',
    ]);
  });

  it('refuses a name that stands there twice', () => {
    expect(problemsOf({ events: ['client.create', 'client.create'] })).toEqual([
      'events: an event type stands there twice',
    ]);
  });

  it('takes 100 names and refuses more', () => {
    const names = (count: number) => Array.from({ length: count }, (_, index) => `crm.event_${index}`);
    expect(problemsOf({ events: names(100) })).toEqual([]);
    expect(problemsOf({ events: names(101) })).toEqual(['events: at most 100 event types']);
  });
});

describe('the URL of a target', () => {
  it.each([
    'https://crm.example/hook?a=b',
    'http://127.0.0.1:5000/api',
    'HTTPS://CRM.example',
    'https://[::1]:8443/',
    'https://crm.example/größe',
  ])('takes %s', (url) => {
    expect(urlProblemsOf(url)).toEqual([]);
  });

  it.each([
    ['120.0.0.1:5000/api', 'http://120.0.0.1:5000/api'],
    ['localhost:8080/hook', 'http://localhost:8080/hook'],
    ['crm.example/hook', 'http://crm.example/hook'],
    ['//crm.example/hook', 'http://crm.example/hook'],
  ])('proposes a URL for %s and names the setting that it needs', (url, proposal) => {
    expect(urlProblemsOf(url)).toEqual([
      `target.url: has no scheme; did you mean "${proposal}"? Plain HTTP needs the setting allowHttp (HANDOFF_ALLOW_HTTP=true on one machine)`,
    ]);
  });

  it.each([
    'ftp://crm.example/hook',
    'file:///etc/passwd',
    'mailto:a@crm.example',
    'javascript:alert(1)',
    'ws://crm.example',
  ])('refuses the scheme of %s', (url) => {
    expect(urlProblemsOf(url)).toEqual(['target.url: must begin with https:// or http://']);
  });

  it.each(['', '/', '/hook', '///hook', 'https://', 'http://:80', 'https://crm.example:99999', '%%%'])(
    'refuses what is no URL: "%s"',
    (url) => {
      expect(urlProblemsOf(url)).toEqual(['target.url: is not a URL']);
    },
  );

  it.each([
    'https://crm.exa\nmple/hook',
    'https://crm.example/hook\r\n',
    'https://crm.example/\thook',
    ' https://crm.example',
    'not a url',
    ' ',
  ])('refuses spaces and control characters: %j', (url) => {
    expect(urlProblemsOf(url)).toEqual(['target.url: must not contain spaces or control characters']);
  });

  it('refuses credentials and fragments', () => {
    expect(urlProblemsOf('https://user:pass@crm.example')).toEqual([
      'target.url: must not contain a user name or password',
    ]);
    expect(urlProblemsOf('https://user@crm.example')).toHaveLength(1);
    expect(urlProblemsOf('https://crm.example/#a')).toEqual(['target.url: must not contain a fragment (#)']);
  });

  it('refuses more than 2048 characters', () => {
    expect(urlProblemsOf(`https://crm.example/${'a'.repeat(2028)}`)).toEqual([]);
    expect(urlProblemsOf(`https://crm.example/${'a'.repeat(2029)}`)).toEqual([
      'target.url: must have at most 2048 characters',
    ]);
  });
});

describe('the headers of a target', () => {
  const headerProblemsOf = (headers: object) => targetProblemsOf({ headers });

  it('takes ordinary ones', () => {
    expect(headerProblemsOf({ 'X-Tenant': 'acme', accept: '*/*', empty: '', tab: 'a\tb' })).toEqual([]);
  });

  it.each(['a\r\nx-evil: 1', 'a\nb', 'a\rb', 'a\u0000b', 'größe', '\u007f'])(
    'refuses the value %j',
    (value) => {
      expect(headerProblemsOf({ 'x-tenant': value })).toEqual([
        'target.headers.x-tenant: must be printable ASCII without line breaks',
      ]);
    },
  );

  it.each(['a b', 'a:b', 'a\r\nb', '', 'größe', 'x'.repeat(257)])('refuses the name %j', (name) => {
    expect(headerProblemsOf({ [name]: 'v' })).toEqual([`target.headers.${name}: is not a header name`]);
  });

  it.each(['Authorization', 'cookie', 'PROXY-AUTHORIZATION'])('refuses %s, which is a credential', (name) => {
    expect(headerProblemsOf({ [name]: 'v' })).toEqual([
      `target.headers.${name}: is a credential; those belong into target.auth`,
    ]);
  });

  it.each([
    'Host',
    'Content-Length',
    'content-type',
    'Transfer-Encoding',
    'Connection',
    'webhook-id',
    'Webhook-Signature',
    'user-agent',
    'traceparent',
  ])('refuses %s, which Handoff sets itself', (name) => {
    expect(headerProblemsOf({ [name]: 'v' })).toEqual([`target.headers.${name}: is set by Handoff itself`]);
  });

  it('refuses a name that stands there twice in another spelling', () => {
    expect(headerProblemsOf({ 'X-Tenant': 'a', 'x-tenant': 'b' })).toEqual([
      'target.headers.x-tenant: stands there twice',
    ]);
  });

  it('takes 50 and refuses more', () => {
    const headers = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`x-${index}`, 'v']));
    expect(headerProblemsOf(headers(50))).toEqual([]);
    expect(headerProblemsOf(headers(51))).toEqual(['target.headers: at most 50 headers']);
  });

  it('takes a value of 4096 characters and refuses a longer one', () => {
    expect(headerProblemsOf({ a: 'v'.repeat(4096) })).toEqual([]);
    expect(headerProblemsOf({ a: 'v'.repeat(4097) })).toEqual([
      'target.headers.a: must have at most 4096 characters',
    ]);
  });

  it('takes 16 KB of names and values together and refuses more', () => {
    const headers = { a: 'v'.repeat(4095), b: 'v'.repeat(4095), c: 'v'.repeat(4095), d: 'v'.repeat(4095) };
    expect(headerProblemsOf(headers)).toEqual([]);
    expect(headerProblemsOf({ ...headers, e: '' })).toEqual([
      'target.headers: at most 16384 bytes, names and values together',
    ]);
  });

  it.each([1, null, ['a'], {}])('refuses the value %j, which is no text', (value) => {
    expect(headerProblemsOf({ a: value })).toHaveLength(1);
  });
});

describe('keys that could change an object itself', () => {
  const parse = (json: string) => HandlerInput.safeParse(JSON.parse(json));
  const json = JSON.stringify(minimal);

  it.each(['__proto__', 'constructor', 'prototype'])('refuses "%s" as a field', (key) => {
    for (const value of ['{"priority":1}', '"x"', 'null']) {
      expect(parse(json.replace('{', `{"${key}":${value},`)).success).toBe(false);
      expect(parse(json.replace('"target":{', `"target":{"${key}":${value},`)).success).toBe(false);
    }
  });

  it('never makes a header named __proto__ anything but nothing', () => {
    const parsed = parse(json.replace('"target":{', '"target":{"headers":{"__proto__":"x"},'));
    const { headers } = (parsed.data as { target: HttpTarget }).target;
    expect(headers).toEqual({});
    expect(Object.getPrototypeOf(headers)).toBe(Object.prototype);
  });

  it('leaves every other object as it was', () => {
    parse(json.replace('{', '{"__proto__":{"polluted":true},'));
    expect({}).not.toHaveProperty('polluted');
  });
});

describe('a target', () => {
  it.each([{ type: 'queue' }, { type: null }, { type: ['http'] }, { url: 'https://crm.example' }, {}])(
    'refuses the type of %j',
    (other) => {
      expect(problemsOf({ target: other })).toEqual(['target.type: must be "http" or "script"']);
    },
  );

  it.each(['https://crm.example', null, [], 7])('refuses %j, which is no target', (other) => {
    expect(problemsOf({ target: other })).toEqual([
      expect.stringMatching(/^target: Invalid input: expected object/u),
    ]);
  });

  it.each([0, 99, 30_001, 100.5, '5000'])('refuses the timeout %j', (timeoutMs) => {
    expect(targetProblemsOf({ timeoutMs })).toHaveLength(1);
  });

  it.each(['GET', 'DELETE', 'post'])('refuses the method %s', (method) => {
    expect(targetProblemsOf({ method })).toHaveLength(1);
  });
});

describe('a script as target', () => {
  const scriptProblemsOf = (changes: object) =>
    problemsOf({ target: { type: 'script', script: 'mail', ...changes } });

  it('needs no more than its name', () => {
    const parsed = HandlerInput.parse({ ...minimal, target: { type: 'script', script: 'mail' } });
    expect(parsed.target).toEqual({ type: 'script', script: 'mail', timeoutMs: 30_000 });
  });

  it.each([
    [undefined, 'Invalid input: expected string, received undefined'],
    [null, 'Invalid input: expected string, received null'],
    [7, 'Invalid input: expected string, received number'],
    ['', 'must name a script'],
    ['x'.repeat(65), 'must have at most 64 characters'],
  ])('refuses the name %j', (script, message) => {
    expect(scriptProblemsOf({ script })).toEqual([`target.script: ${message}`]);
  });

  it('takes up to 120 s, and nothing but whole milliseconds', () => {
    for (const timeoutMs of [100, 120_000]) expect(scriptProblemsOf({ timeoutMs })).toEqual([]);
    for (const timeoutMs of [0, 99, 120_001, 100.5, '5000', null]) {
      expect(scriptProblemsOf({ timeoutMs })).toEqual([expect.stringMatching(/^target\.timeoutMs: /u)]);
    }
  });

  it('has nothing that only an HTTP target has, nor the other way round', () => {
    for (const [key, value] of Object.entries({ url: target.url, headers: {}, auth: null, method: 'POST' })) {
      expect(scriptProblemsOf({ [key]: value })).toEqual([`target: Unrecognized key: "${key}"`]);
    }
    expect(targetProblemsOf({ script: 'mail' })).toEqual(['target: Unrecognized key: "script"']);
  });
});

describe('the schedule of retries', () => {
  const scheduleProblemsOf = (schedule: unknown) => problemsOf({ retry: { schedule } });
  const notAWait = 'must be a wait of 1 to 604800 seconds (7 days)';
  const day = 86_400;

  it.each([['default'], ['none'], [[]], [[1]], [[5, 300, 7 * day]], [[1.5]]])('takes %j', (schedule) => {
    const parsed = HandlerInput.parse({ ...minimal, retry: { schedule } });
    expect(parsed.retry).toEqual({ schedule });
  });

  it.each([null, 5, true, {}, '5', 'Default', ''])('refuses %j, which is none', (schedule) => {
    expect(scheduleProblemsOf(schedule)).toEqual([
      'retry.schedule: must be "default", "none" or a list of waits in seconds',
    ]);
  });

  it.each([0, -1, 0.999, 7 * day + 1, '5', null, [5], {}, true])('says which wait cannot be: %j', (wait) => {
    expect(scheduleProblemsOf([5, 10, wait])).toEqual([`retry.schedule.2: ${notAWait}`]);
  });

  it('refuses a wait that JSON makes infinite', () => {
    const { error } = HandlerInput.safeParse(
      JSON.parse(JSON.stringify({ ...minimal, retry: { schedule: [7] } }).replace('[7]', '[1e999]')),
    );
    expect(error?.issues.map(({ path }) => path.join('.'))).toEqual(['retry.schedule.0']);
  });

  it('names every wait that cannot be', () => {
    expect(scheduleProblemsOf([0, 5, 'x'])).toEqual([
      `retry.schedule.0: ${notAWait}`,
      `retry.schedule.2: ${notAWait}`,
    ]);
  });

  it('takes 50 waits and refuses more', () => {
    expect(scheduleProblemsOf(Array.from({ length: 50 }, () => 60))).toEqual([]);
    expect(scheduleProblemsOf(Array.from({ length: 51 }, () => 60))).toEqual([
      'retry.schedule: at most 50 waits',
    ]);
    // Not one complaint for each: that would be an answer of many megabytes.
    expect(scheduleProblemsOf(Array.from({ length: 100_000 }, () => 0))).toEqual([
      'retry.schedule: at most 50 waits',
    ]);
  });

  it('takes waits of 30 days together and refuses more', () => {
    const thirtyDays = [7 * day, 7 * day, 7 * day, 7 * day, 2 * day];
    expect(scheduleProblemsOf(thirtyDays)).toEqual([]);
    expect(scheduleProblemsOf([...thirtyDays, 1])).toEqual([
      'retry.schedule: all waits together may take at most 30 days',
    ]);
    // A wait that cannot be is told of; it does not count beside that.
    expect(scheduleProblemsOf([...thirtyDays, 'x'])).toEqual([`retry.schedule.5: ${notAWait}`]);
  });
});
