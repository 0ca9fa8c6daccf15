import { randomBytes } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inflateRawSync } from 'node:zlib';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { paginateScan } from '@aws-sdk/lib-dynamodb';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { region } from '../../local/aws-identity.ts';
import { startDynamoDb, tableNames, tablesFolder } from '../../local/dynamodb.ts';
import { createDynamo } from '../../shared/aws/clients.ts';
import { apiThrough, sendWithToken } from '../support/api.ts';
import { startEngineProcess, upstreamClient } from '../support/engine.ts';
import { startReceiver, type Respond } from '../support/http-server.ts';

const home = mkdtempSync(join(tmpdir(), 'handoff-secrets-'));
afterAll(() => rmSync(home, { recursive: true }));

/** A script that tells all it knows, in each way that it can. */
const scriptsFolder = join(home, 'scripts');
mkdirSync(join(scriptsFolder, 'blabs'), { recursive: true });
writeFileSync(
  join(scriptsFolder, 'blabs', 'lambda.ts'),
  `export const handler = (invocation: { event: { detail: { data: { iban: string } } } }) => {
     console.log(JSON.stringify({ invocation, environment: process.env }));
     throw new Error('cannot book ' + invocation.event.detail.data.iban);
   };`,
);
const echoScript = join(scriptsFolder, 'echoes');
mkdirSync(echoScript);
writeFileSync(
  join(echoScript, 'lambda.ts'),
  'export const handler = (invocation: unknown) => ({ invocation, environment: process.env });',
);

const aSecret = () => `S3cret${randomBytes(12).toString('hex')}`;

/** What is nobody's business but that of those who set it up. */
const plant = () => ({
  password: aSecret(),
  token: aSecret(),
  value: aSecret(),
  clientSecret: aSecret(),
  accessToken: aSecret(),
  iban: aSecret(),
  engineToken: aSecret(),
  readToken: aSecret(),
});
type Planted = ReturnType<typeof plant>;

/** An endpoint that answers with what it got: first that it is busy, then that all is well. */
const echo = (): Respond => {
  const seen = new Set<string>();
  return ({ path, headers, body }, response) => {
    const key = `${path} ${String(headers['webhook-id'])}`;
    response.writeHead(seen.has(key) ? 200 : 503, { 'set-cookie': String(headers['authorization']) });
    seen.add(key);
    response.end(JSON.stringify({ headers, body }));
  };
};

/** Where the secrets are put, which is where they belong, or where Handoff cannot know that they are some. */
type Places = 'protected' | 'open';

const targetsOf = (planted: Planted, url: string, tokenUrl: string, places: Places) => {
  const open = (value: string) => ({ type: 'http', url, headers: { 'x-plain': value } });
  const target = (auth: object) => ({ type: 'http', url, auth });
  return places === 'open'
    ? [planted.password, planted.token, planted.value, planted.clientSecret, planted.accessToken].map(open)
    : [
        target({ type: 'basic', username: 'ada', password: planted.password }),
        target({ type: 'bearer', token: planted.token }),
        target({ type: 'header', name: 'Cookie', value: planted.value }),
        target({ type: 'oauth2', tokenUrl, clientId: 'handoff', clientSecret: planted.clientSecret }),
      ];
};

/**
 * Runs an engine through all that it does with secrets, and gives every place where somebody could read them afterwards, as text. Of the answers
 * of the API those are left out that show a signing secret this once.
 */
async function runEngine(
  planted: Planted,
  places: Places,
): Promise<{ sinks: Record<string, string>; signing: string[] }> {
  const isOpen = places === 'open';
  const data = join(home, places);
  await using endpoint = await startReceiver(echo());
  await using tokenServer = await startReceiver((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ access_token: planted.accessToken, token_type: 'Bearer' }));
  });
  await using watcher = await startReceiver();
  const engine = await startEngineProcess(data, {
    env: {
      HANDOFF_TOKEN: planted.engineToken,
      HANDOFF_TOKENS: `read:${planted.readToken}`,
      HANDOFF_SCRIPTS: scriptsFolder,
      HANDOFF_RETRY_SCALE: '0.01',
      ...(!isOpen && { HANDOFF_REDACT_PATHS: 'detail.data.iban' }),
    },
  });
  const answers: string[] = [];
  const signing: string[] = [];
  const send = sendWithToken(engine.url, planted.engineToken);
  const keep = (text: string): void => void answers.push(text);
  const request = async (method: string, path: string, body?: unknown): Promise<string> => {
    const answer = await send(path, {
      method,
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = `${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`;
    keep(text);
    return text;
  };
  const create = async (body: object): Promise<string> => {
    const { id, secret, ...shown } = await apiThrough(send).post<{ id: string; secret: string }>(
      '/v1/handlers',
      body,
    );
    signing.push(secret.slice('whsec_'.length));
    keep(JSON.stringify(shown));
    return id;
  };
  const upstream = upstreamClient(engine.url);
  try {
    const ids: string[] = [];
    const retry = { schedule: [1] };
    for (const [index, target] of targetsOf(
      planted,
      `${endpoint.url}/${places}`,
      tokenServer.url,
      places,
    ).entries())
      ids.push(await create({ name: `crm ${index}`, events: ['book.made'], target, retry }));
    for (const script of ['blabs', 'echoes'])
      ids.push(
        await create({ name: script, events: ['book.made'], target: { type: 'script', script }, retry }),
      );
    await create({
      name: 'watch',
      events: ['handoff.execution.failed'],
      target: { type: 'http', url: watcher.url },
    });
    for (const id of ids.slice(0, 1)) {
      const { secret } = await apiThrough(send).post<{ secret: string }>(`/v1/handlers/${id}/rotate-secret`);
      signing.push(secret.slice('whsec_'.length));
    }
    // Edits, and what is wrong in them.
    for (const [index, target] of targetsOf(planted, endpoint.url, tokenServer.url, places).entries()) {
      await request('PATCH', `/v1/handlers/${ids[index]}`, {
        target,
        description: isOpen ? Object.values(planted).join(' ') : 'edited',
      });
      await request('POST', '/v1/handlers', { name: '', events: ['book.made'], target });
      await request('POST', '/v1/handlers/test', {
        handler: { name: 'unsaved', events: ['book.made'], target },
        event: { type: 'book.made', objectId: 1, data: {} },
      });
    }
    if (isOpen) await request('GET', `/v1/event-types/${Object.values(planted).join('.')}`);
    const stranger = await fetch(`${engine.url}/v1/handlers`, {
      headers: { authorization: `Bearer ${planted.token}` },
    });
    keep(await stranger.text());

    const entry = (detail: object) => ({
      EventBusName: 'handoff',
      Source: 'books',
      DetailType: 'book.made',
      Detail: JSON.stringify(detail),
    });
    const all = Object.values(planted).join(' ');
    await delay(1000); // A handler runs for the events that come a second after it was registered.
    const event = { objectId: 7, data: { iban: isOpen ? all : planted.iban } };
    await upstream.send(new PutEventsCommand({ Entries: [entry(event)] }));
    // Too large to be kept: a dead letter.
    const filler = randomBytes(300_000).toString('base64');
    await upstream.send(
      new PutEventsCommand({ Entries: [entry({ ...event, data: { ...event.data, filler } })] }),
    );
    type Listed = { items: { id: string; status: string }[] };
    const executions = await vi.waitFor(
      async () => {
        const { items } = await apiThrough(send).get<Listed>('/v1/executions?event=book.made&limit=100');
        expect(items.filter(({ status }) => status !== 'waiting')).toHaveLength(ids.length);
        return items;
      },
      { timeout: 20_000, interval: 50 },
    );
    const told = await watcher.waitForRequests(1);
    for (const id of ids) {
      await request('GET', `/v1/handlers/${id}`);
      await request('POST', `/v1/handlers/${id}/test`, {
        event: { type: 'book.made', objectId: 1, data: {} },
      });
    }
    for (const { id } of executions) await request('GET', `/v1/executions/${id}`);
    for (const path of [
      'handlers',
      'executions',
      'executions?error=cannot',
      'dead-letters',
      'audit?limit=100',
      'scripts',
      'stats',
      'openapi.json',
    ])
      await request('GET', `/v1/${path}`);
    await vi.waitFor(
      async () => expect(await request('GET', '/v1/dead-letters')).toContain('bytes compressed'),
      {
        timeout: 10_000,
      },
    );
    expect(await engine.end('SIGTERM')).toBe(0);
    const tables = await readTables(data);
    return {
      signing,
      sinks: {
        'the answers of the API': answers.join('\n'),
        'what the engine printed': engine.lines.join('\n'),
        'the handlers, and who changed them': tables.handlers,
        'the log of executions, and the dead letters': tables.executions,
        'the files of the data folder': readFiles(data),
        'the events about Handoff': told.map(({ body }) => body).join('\n'),
      },
    };
  } finally {
    upstream.destroy();
    await engine.end('SIGKILL');
  }
}

/** Every item of both tables, with what is compressed in it unpacked. */
async function readTables(data: string): Promise<Record<keyof typeof tableNames, string>> {
  const copy = join(home, `tables-${randomBytes(4).toString('hex')}`);
  cpSync(join(data, tablesFolder), copy, { recursive: true });
  const tables = await startDynamoDb(copy);
  Object.assign(process.env, {
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: tables.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: tables.credentials.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: tables.endpoint,
  });
  const dynamo = createDynamo();
  const read = async (TableName: string): Promise<string> => {
    const texts: string[] = [];
    for await (const { Items = [] } of paginateScan({ client: dynamo }, { TableName }))
      texts.push(...Items.map((item) => JSON.stringify(item, (_, value: unknown) => textOf(value))));
    return texts.join('\n');
  };
  try {
    return { handlers: await read(tableNames.handlers), executions: await read(tableNames.executions) };
  } finally {
    dynamo.destroy();
    await tables.stop(2000);
  }
}

function textOf(value: unknown): unknown {
  if (!(value instanceof Uint8Array)) return value;
  const bytes = Buffer.from(value);
  try {
    return inflateRawSync(bytes).toString('latin1');
  } catch {
    return bytes.toString('latin1');
  }
}

const readFiles = (folder: string): string =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => readFileSync(join(file.parentPath, file.name), 'latin1'))
    .join('\n');

/** The forms in which somebody who looks for a secret would find it. */
const formsOf = (secret: string): string[] => [
  secret,
  Buffer.from(secret).toString('base64').replace(/=+$/u, '').slice(0, -1),
  Buffer.from(`ada:${secret}`).toString('base64').replace(/=+$/u, '').slice(0, -1),
];

describe('a secret', () => {
  it('is nowhere but with those who were given it', { timeout: 90_000 }, async () => {
    const planted = plant();
    const { sinks, signing } = await runEngine(planted, 'protected');
    const secrets = {
      ...planted,
      ...Object.fromEntries(signing.map((secret, index) => [`signing ${index}`, secret])),
    };
    expect(signing.length).toBeGreaterThan(6);
    const found = Object.entries(sinks).flatMap(([sink, text]) =>
      Object.entries(secrets)
        .filter(([, secret]) => formsOf(secret).some((form) => text.includes(form)))
        .map(([name]) => `${name} in ${sink}`),
    );
    expect(found).toEqual([]);
  });

  it('would be found in each of these places, were it not protected', { timeout: 90_000 }, async () => {
    const planted = plant();
    const { sinks } = await runEngine(planted, 'open');
    for (const [sink, text] of Object.entries(sinks)) {
      const missing = Object.entries(planted)
        .filter(([, secret]) => !text.includes(secret))
        .map(([name]) => name);
      expect({ sink, missing }).toEqual({ sink, missing: [] });
    }
  });
});
