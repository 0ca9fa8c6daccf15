import { randomBytes } from 'node:crypto';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { vi } from 'vitest';
import type { Execution } from '../../shared/executions/execution.ts';
import type { Recovery } from '../../shared/executions/recovery.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { apiOf } from '../support/api.ts';
import { startEngineProcess, upstreamClient } from '../support/engine.ts';
import { startReceiver, type Respond } from '../support/http-server.ts';
import type { Dictionaries } from './schemathesis.ts';

const patience = { timeout: 30_000, interval: 500 };
const hourMs = 3_600_000;
const type = 'fuzz.happened';
const deadLetters = 3;

const statusByPath: Partial<Record<string, number>> = { '/refuses': 400, '/fails': 503, '/leads-on': 302 };
/** For the endpoint that handlers call: the path says how it answers. */
const answerByPath: Respond = ({ path }, response) =>
  void response.writeHead(statusByPath[path] ?? 200, { 'content-type': 'application/json' }).end('{}');

export type PopulatedEngine = AsyncDisposable & {
  url: string;
  /** What requests are to be made with. */
  dictionaries: Dictionaries;
  /** What it has printed since it was populated. */
  linesSince: () => string[];
};

/** An engine that has some of everything: handlers, executions of each status, dead letters, recoveries. */
export async function startPopulatedEngine(): Promise<PopulatedEngine> {
  const receiver = await startReceiver(answerByPath);
  const engine = await startEngineProcess('memory');
  const dictionaries = await populate(engine.url, receiver.url);
  const populated = engine.lines.length;
  return {
    url: engine.url,
    dictionaries,
    linesSince: () => engine.lines.slice(populated),
    async [Symbol.asyncDispose]() {
      await engine.end('SIGTERM');
      await receiver.close();
    },
  };
}

/** @param receiver the URL of the endpoint that answers by path */
async function populate(engine: string, receiver: string): Promise<Dictionaries> {
  const api = apiOf(engine);
  const create = (name: string, target: object, more: object = {}): Promise<Handler> =>
    api.post<Handler>('/v1/handlers', { name, events: [type], target, ...more });
  const http = (path: string) => ({ type: 'http', url: receiver + path });

  const handlers = [
    await create('succeeds', http('/')),
    await create('fails for good', http('/refuses')),
    await create('waits', http('/fails'), { retry: { schedule: [3600] } }),
    await create('is stopped', http('/'), { status: 'disabled' }),
    await create('is out', http('/'), { status: 'archived' }),
    await create('runs a script', { type: 'script', script: 'balance-guard' }),
    await create('halts', http('/fails'), { retry: { schedule: [3600] }, onFailure: 'halt', priority: 500 }),
    await create('is halted', http('/'), { priority: 1000 }),
  ];
  const toDelete: Handler[] = [];
  while (toDelete.length < 20) toDelete.push(await create('to delete', http('/'), { events: ['*'] }));
  const [executions, letters] = [await runSome(engine), await failSome(engine)];
  const recoveries = [];
  for (const { id } of handlers.slice(0, 3)) recoveries.push(await recover(engine, id));
  await api.post(`/v1/recoveries/${recoveries[0]}/cancel`);
  return {
    handlers: handlers.map(({ id }) => id),
    'handlers-to-delete': toDelete.map(({ id }) => id),
    executions: executions.map(({ id }) => id),
    recoveries,
    'dead-letters': letters,
    urls: ['/', ...Object.keys(statusByPath)].map((path) => receiver + path),
    scripts: ['balance-guard', 'rates-handoff'],
    'event-types': ['client.create', 'client.balance.nonpositive', 'email_rates.import', type],
  };
}

/** Publishes until there is an execution of each kind. */
async function runSome(engine: string): Promise<Execution[]> {
  const api = apiOf(engine);
  const wanted = ['succeeded null', 'failed null', 'waiting retry', 'held disabled', 'held halted'];
  return vi.waitUntil(async () => {
    await api.post('/v1/events', { type, objectId: 12, data: { id: 12 } });
    const { items } = await api.get<{ items: Execution[] }>('/v1/executions?limit=100');
    const kinds = new Set(items.map(({ status, reason }) => `${status} ${reason}`));
    return wanted.every((kind) => kinds.has(kind)) ? items : null;
  }, patience);
}

/** Sends events that are too large for the log: what is random does not get smaller by being compressed. */
async function failSome(engine: string): Promise<string[]> {
  const upstream = upstreamClient(engine);
  for (let index = 0; index < deadLetters; index++) {
    const Detail = JSON.stringify({ data: { large: randomBytes(300 * 1024).toString('base64') } });
    await upstream.send(
      new PutEventsCommand({
        Entries: [{ EventBusName: 'handoff', Source: 'fuzz', DetailType: type, Detail }],
      }),
    );
  }
  upstream.destroy();
  return vi.waitUntil(async () => {
    const { items } = await apiOf(engine).get<{ items: { id: string }[] }>('/v1/dead-letters');
    return items.length === deadLetters ? items.map(({ id }) => id) : null;
  }, patience);
}

async function recover(engine: string, handlerId: string): Promise<string> {
  const { id } = await apiOf(engine).post<Recovery>(`/v1/handlers/${handlerId}/recover`, {
    from: new Date(Date.now() - hourMs).toISOString(),
    to: new Date(Date.now() + hourMs).toISOString(),
    statuses: ['failed', 'held', 'succeeded'],
  });
  return id;
}
