import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { migrateHandler, readOldHandlers } from '../../local/old-handlers.ts';
import { builtInEventTypes } from '../../shared/catalogue/catalogue.ts';
import { HandlerInput } from '../../shared/handlers/handler.ts';
import { startReceiver } from '../support/http-server.ts';

const file = 'test/fixtures/migrate/old-handlers.csv';
const all = readOldHandlers(readFileSync(file, 'utf8'), 'csv').map(migrateHandler);
const of = (id: number) => all.find(({ old }) => old.id === String(id));
const anOldHandler = (parts: object = {}) => {
  const row = {
    id: 1,
    name: 'CRM',
    event: 'clients.create',
    type: 'http',
    handler: 'https://crm.example/',
    ...parts,
  };
  const [old] = readOldHandlers(
    JSON.stringify([{ status: 'enabled', priority: 1, method: 'POST', ...row }]),
    'json',
  );
  if (old === undefined) throw new Error('There is none.');
  return old;
};

describe('migrateHandler', () => {
  it('carries over what can be, as the API takes it', () => {
    expect(
      all.map(
        ({ handler }) => handler && [handler.name, handler.events[0], handler.status, handler.priority],
      ),
    ).toEqual([
      ['Block, or warn', 'client.balance.nonpositive', 'disabled', 1],
      ['CRM sync', 'client.create', 'enabled', 10],
      ['CRM sync', 'client.update', 'enabled', 10],
      ['Switch "A"', 'client.custom_fields.update', 'disabled', 20],
      ['Old ledger', 'import.success', 'archived', 1000],
      null,
      ['Rates', 'email_rates.import', 'disabled', 100],
      null,
      null,
      ['Balance up', 'client.balance.nonnegative', 'enabled', 7],
    ]);
    expect(all.map(({ handler }) => handler?.target)).toEqual([
      { type: 'script', script: 'balance-guard' },
      { type: 'http', url: 'http://120.0.0.1:5000/api', method: 'POST', format: 'provisioning' },
      { type: 'http', url: 'https://crm.example/hook', method: 'PUT', format: 'provisioning' },
      { type: 'http', url: 'http://switch.example/fields', method: 'POST', format: 'provisioning' },
      { type: 'http', url: 'http://10.1.2.3/ledger', method: 'POST', format: 'provisioning' },
      undefined,
      { type: 'script', script: 'rates' },
      undefined,
      undefined,
      { type: 'http', url: 'http://127.0.0.1:8000/up', method: 'POST', format: 'provisioning' },
    ]);
    for (const { handler } of all.filter((migration) => migration.handler !== null)) {
      expect(HandlerInput.safeParse(handler).error).toBeUndefined();
    }
  });

  it('says of each what is to be done, and what is lost', () => {
    expect(of(1)?.notes).toEqual([
      expect.stringMatching(
        /^user\/local\/vcs\/balance_guard\.py has to be ported as functions\/scripts\/balance-guard\/lambda_function\.py/u,
      ),
    ]);
    expect(of(2)?.notes).toEqual([expect.stringMatching(/^plain http: .*HANDOFF_ALLOW_HTTP=true/u)]);
    expect(of(3)?.notes).toEqual([]);
    expect(of(4)?.notes).toEqual([
      expect.stringMatching(/^the method GET is not carried over/u),
      expect.stringContaining('plain http'),
      expect.stringMatching(/^disabled: /u),
    ]);
    expect(of(5)?.notes).toEqual([
      expect.stringContaining('plain http'),
      expect.stringMatching(/^10\.1\.2\.3 is .*allowCidrs/u),
      expect.stringMatching(/^archived: /u),
      'the priority "99999" is none from 1 to 1000: it comes with 1000.',
    ]);
    expect(of(6)?.notes).toEqual([
      expect.stringMatching(/^not carried over: "clients\.before_create" runs before/u),
    ]);
    expect(of(7)?.notes).toEqual([
      expect.stringContaining('has to be written anew in Python or TypeScript'),
      'the priority "" is none from 1 to 1000: it comes with 100.',
    ]);
    expect(of(8)?.notes).toEqual([
      expect.stringMatching(/^not carried over: there is no event "clients\.calls\.end"/u),
    ]);
    expect(of(9)?.notes).toEqual(['not carried over: "::nowhere::" is no address.']);
    expect(of(10)?.notes).toEqual([
      expect.stringContaining('plain http'),
      expect.stringMatching(/^127\.0\.0\.1 is a loopback address/u),
    ]);
  });

  it('knows each event by its old id, its label and its name', () => {
    for (const { name, oldId, label } of builtInEventTypes) {
      for (const event of [oldId, label, name, label.toUpperCase(), label.replace('>=', ' >= ')]) {
        expect(migrateHandler(anOldHandler({ event })).handler?.events).toEqual([name]);
      }
    }
  });

  it.each([
    [{ type: 'queue' }, 'the type "queue" is neither script nor http'],
    [{ type: 'script', handler: '???' }, '"???" has no name that a script could have'],
    [{ handler: '' }, '"" is no address'],
    [{ event: '' }, 'there is no event ""'],
    [{ event: 'Clients: before delete' }, 'runs before the fact'],
  ])('leaves out %j', (parts, note) => {
    const { handler, notes } = migrateHandler(anOldHandler(parts));
    expect(handler).toBeNull();
    expect(notes.join()).toContain(note);
  });

  it('takes what it does not know for the careful choice', () => {
    expect(migrateHandler(anOldHandler({ status: 'paused', name: '', priority: 0 }))).toMatchObject({
      handler: { status: 'disabled', name: 'clients.create 1', priority: 1 },
      notes: [
        'the status "paused" is none: it comes disabled.',
        'it had no name, and is named after its event.',
        'the priority "0" is none from 1 to 1000: it comes with 1.',
      ],
    });
  });
});

describe('the places of old handlers', () => {
  const http = { type: 'http', method: 'POST', format: 'provisioning' };
  it.each([
    // As the old list shows them: the type and the place in one column.
    [
      { type: '', handler: 'Http: 120.0.0.1:5000/api' },
      { ...http, url: 'http://120.0.0.1:5000/api' },
    ],
    [
      { type: '', handler: 'script user/local/vcs/script.py' },
      { type: 'script', script: 'script' },
    ],
    [
      { type: '', handler: '120.0.0.1:5000/api' },
      { ...http, url: 'http://120.0.0.1:5000/api' },
    ],
    [
      { type: '', handler: 'https://crm.example/x' },
      { ...http, url: 'https://crm.example/x' },
    ],
    [
      { type: '', handler: 'user/local/vcs/script.py' },
      { type: 'script', script: 'script' },
    ],
    // And as its form asks for them: host, port and method.
    [
      { handler: '', host: '120.0.0.1', port: 5000, method: 'api' },
      { ...http, url: 'http://120.0.0.1:5000/api' },
    ],
    [
      { handler: '', host: 'https://crm.example', port: 8443, method: '/api/v1' },
      { ...http, url: 'https://crm.example:8443/api/v1' },
    ],
    [
      { handler: 'https://crm.example/x', port: 8443 },
      { ...http, url: 'https://crm.example:8443/x' },
    ],
    [{ handler: 'crm.example/a b#c' }, { ...http, url: 'http://crm.example/a%20b' }],
    [
      { handler: 'https://crm:s%20t@crm.example/x' },
      { ...http, url: 'https://crm.example/x', auth: { type: 'basic', username: 'crm', password: 's t' } },
    ],
  ])('%j', (parts, target) => {
    const { handler } = migrateHandler(anOldHandler(parts));
    expect(handler?.target).toEqual(target);
    expect(HandlerInput.safeParse(handler).error).toBeUndefined();
    expect(handler?.description).not.toContain('s%20t');
  });

  it.each([
    ['ftp://crm.example/x', 'is no address'],
    ['/api', 'is no address'],
    ['http://169.254.169.254/x', 'which no setting opens'],
    [`https://crm.example/${'x'.repeat(2048)}`, 'target.url'],
  ])('has none for %.30s', (place, why) => {
    const { handler, notes } = migrateHandler(anOldHandler({ handler: place }));
    expect(handler).toBeNull();
    expect(notes.at(-1)).toMatch(/^not carried over: /u);
    expect(notes.at(-1)).toContain(why);
  });

  it('leaves out of names and descriptions what the API refuses', () => {
    const { handler } = migrateHandler(
      anOldHandler({ name: `a\u0007b\u202E${'x'.repeat(196)}😀y`, handler: 'crm.example/\u200Bx' }),
    );
    expect(handler?.name).toBe(`a b${'x'.repeat(196)}`);
    expect(HandlerInput.safeParse(handler).error).toBeUndefined();
  });
});

describe('readOldHandlers', () => {
  it('takes other heads, semicolons, a port of its own and an object around the list', () => {
    const expected = [
      expect.objectContaining({ id: '7', event: 'clients.create', place: '120.0.0.1:5000/api' }),
    ];
    expect(
      readOldHandlers(
        '\uFEFFhandlers_id;events_id;handler type;host;port\r\n7;clients.create;http;120.0.0.1/api;5000\r\n',
        'csv',
      ),
    ).toEqual(expected);
    expect(
      readOldHandlers(
        JSON.stringify({
          total: 1,
          rows: [{ id: 7, events_id: 'clients.create', host: '120.0.0.1/api', port: 5000 }],
        }),
        'json',
      ),
    ).toEqual(expected);
  });

  it('takes a path and its host, each in a column', () => {
    const [http, script] = readOldHandlers(
      'id,event,type,handler,host,port\n1,clients.create,http,/hook,10.0.0.5,8080\n2,clients.create,script,/opt/vcs/a.py,10.0.0.5,\n',
      'csv',
    );
    expect([http?.place, script?.place]).toEqual(['10.0.0.5:8080/hook', '/opt/vcs/a.py']);
  });

  it.each([
    ['', 'There is no handler in it.'],
    ['id,event\n', 'There is no handler in it.'],
    [
      'id,occasion\n1,clients.create\n',
      'No column has the events: it would be called event, events_id, event_id, events, and there are id, occasion.',
    ],
  ])('says that there is nothing to be had from %j', (text, sentence) => {
    expect(() => readOldHandlers(text, 'csv')).toThrow(sentence);
  });

  it.each(['{}', '7', '["a"]', 'null'])('says that there is no list in %s', (text) => {
    expect(() => readOldHandlers(text, 'json')).toThrow('The JSON is neither a list of handlers');
  });
});

const run = (args: string[], env: Record<string, string> = {}) =>
  promisify(execFile)(process.execPath, ['local/migrate.ts', ...args], {
    env: { PATH: process.env['PATH'], ...env },
  });

describe('npm run migrate', () => {
  it('prints a shell script, which makes the calls', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'handoff-'));
    try {
      const hostile = {
        ...anOldHandler(),
        name: "It's $(touch x) `y`\nexit 1",
        handler: 'https://crm.example/',
      };
      const list = join(folder, 'old.json');
      await writeFile(
        list,
        JSON.stringify([hostile, anOldHandler({ id: 2, event: 'clients.before_create' })]),
      );
      const { stdout } = await run([list]);
      expect(stdout).toContain('# 2 handlers, 1 carried over, 1 not.');
      const calls = join(folder, 'calls.sh');
      await writeFile(calls, stdout);
      await using receiver = await startReceiver((_, response) => void response.writeHead(201).end('{}'));
      const env = {
        PATH: process.env['PATH'] ?? '',
        HANDOFF_URL: `${receiver.url}/`,
        HANDOFF_TOKEN: 'secret',
      };
      await expect(
        promisify(execFile)('sh', [calls], { env: { PATH: env.PATH }, cwd: folder }),
      ).rejects.toMatchObject({ stderr: expect.stringContaining('HANDOFF_URL: has to be set') as string });
      await promisify(execFile)('sh', [calls], { env, cwd: folder });
      expect(
        receiver.requests.map(({ method, path, headers }) => [method, path, headers['authorization']]),
      ).toEqual([['POST', '/v1/handlers', 'Bearer secret']]);
      expect(JSON.parse(receiver.requests[0]?.body ?? '')).toMatchObject({
        name: "It's $(touch x) `y` exit 1",
        description: 'http https://crm.example/ of the provisioning system (old handler 1)',
        events: ['client.create'],
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('makes the calls itself, but for what is there already, and says what the API refused', async () => {
    await using receiver = await startReceiver(({ method, path, body }, response) => {
      if (method === 'GET') {
        const items = decodeURIComponent(path).includes('(old handler 3)') ? [{}] : [];
        return void response.end(JSON.stringify({ items }));
      }
      const { name } = JSON.parse(body) as { name: string };
      if (name === 'Rates') return void response.writeHead(400).end('{"detail":"no such script"}');
      return void response.writeHead(201).end('{"id":"h_1","secret":"whsec_1"}');
    });
    const failure = await run([file, '--apply'], { HANDOFF_URL: receiver.url, HANDOFF_TOKEN: 't' }).catch(
      (error: unknown) => error as { code: number; stdout: string },
    );
    expect(failure).toMatchObject({ code: 1 });
    const posted = receiver.requests.filter(({ method }) => method === 'POST');
    expect(posted.map(({ body }) => (JSON.parse(body) as { name: string }).name)).toEqual([
      'Block, or warn',
      'CRM sync',
      'Switch "A"',
      'Old ledger',
      'Rates',
      'Balance up',
    ]);
    expect(failure.stdout).toContain('it is there already');
    expect(failure.stdout).toContain('h_1, signs with whsec_1');
    expect(failure.stdout).toContain('refused, 400: {"detail":"no such script"}');
    expect(failure.stdout).toContain('10 handlers, 7 carried over, 3 not. 1 refused by the API.');
  });

  it('ends with a sentence where the API cannot be asked', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(401).end('no token'));
    for (const [url, words] of [
      ['127.0.0.1:8080', 'Failed to parse URL'],
      [receiver.url, 'The API answered 401: no token'],
    ] as const) {
      await expect(run([file, '--apply'], { HANDOFF_URL: url, HANDOFF_TOKEN: 't' })).rejects.toMatchObject({
        code: 1,
        stderr: expect.stringMatching(new RegExp(`^${words}.*\nIt has ended here`, 'u')) as string,
      });
    }
  });

  it('refuses a list that is not UTF-8, as spreadsheets write it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'handoff-'));
    try {
      for (const encoding of ['latin1', 'utf16le'] as const) {
        const list = join(folder, `${encoding}.csv`);
        await writeFile(list, Buffer.from('\uFEFFid,event,name\n1,clients.create,Köln\n', encoding));
        await expect(run([list])).rejects.toMatchObject({
          code: 2,
          stderr: expect.stringContaining('It is not UTF-8.') as string,
        });
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('says how it is called', async () => {
    await expect(run([])).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('npm run migrate') as string,
    });
    await expect(run(['no-such-file.csv'])).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^no-such-file\.csv cannot be read: ENOENT/u) as string,
    });
    for (const [args, words] of [
      [[file, file], 'npm run migrate'],
      [['--aply', file], "Unknown option '--aply'"],
    ] as const) {
      await expect(run([...args])).rejects.toMatchObject({
        code: 2,
        stderr: expect.stringContaining(words) as string,
      });
    }
    await expect(run([file, '--apply'])).rejects.toMatchObject({
      code: 1,
      stderr: 'HANDOFF_URL and HANDOFF_TOKEN have to be set.\n',
    });
  });
});
