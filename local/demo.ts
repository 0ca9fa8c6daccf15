/** The main job in one command: the engine, a receiver beside it, handlers, and one event of every type. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { builtInEventTypes } from '../shared/events/catalogue.ts';
import type { Execution } from '../shared/executions/execution.ts';
import type { ExecutionStatus } from '../shared/executions/life-cycle.ts';
import { busName, region } from './aws-identity.ts';
import { parseConfig } from './config.ts';

// The demo prints a line of its own for each execution. The log is built when its module loads: before the engine.
process.env['POWERTOOLS_LOG_LEVEL'] ??= 'WARN';
const { startEngine } = await import('./engine.ts');

const pollMs = 100;
const patienceMs = 30_000;

type DemoHandler = {
  name: string;
  events: string[];
  priority: number;
  path: string;
  status?: 'disabled';
  /** How every one of its executions is meant to end. */
  plan: ExecutionStatus;
};

const demoHandlers: readonly DemoHandler[] = [
  { name: 'CRM sync', events: ['client.*', 'account.*'], priority: 10, path: '/crm', plan: 'succeeded' },
  { name: 'Balance alerts', events: ['client.balance.*'], priority: 1, path: '/alerts', plan: 'succeeded' },
  { name: 'Event archive', events: ['*'], priority: 100, path: '/archive', plan: 'succeeded' },
  {
    name: 'Rates desk',
    events: ['email_rates.import', 'import.failed'],
    priority: 50,
    path: '/busy',
    plan: 'waiting',
  },
  {
    name: 'Old CRM',
    events: ['client.create'],
    priority: 100,
    path: '/old',
    status: 'disabled',
    plan: 'held',
  },
];

const isPassing = process.argv.includes('--exit');
const receiver = await startReceiver();
const port = (receiver.address() as AddressInfo).port;
const engine = await startEngine(
  parseConfig({
    PORT: process.env['PORT'] ?? '0',
    HANDOFF_DATA: 'memory',
    HANDOFF_ALLOW_HTTP: 'true',
    HANDOFF_ALLOW_CIDRS: '127.0.0.0/8',
  }),
);
const upstream = new EventBridgeClient({
  endpoint: engine.url,
  region,
  credentials: { accessKeyId: 'demo', secretAccessKey: 'demo' },
});

try {
  const planOf = await registerHandlers();
  const expected = await publishEvents();
  const executions = await watchExecutions(expected);
  const isAsPlanned = summarize(executions, expected, planOf);
  if (isPassing) process.exitCode = isAsPlanned ? 0 : 1;
  else await stayOpen();
} finally {
  upstream.destroy();
  receiver.close();
  receiver.closeAllConnections();
  await engine.stop();
}

/** Takes everything but `/busy`, which is down: its executions wait for their retry. */
async function startReceiver(): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      if (request.url === '/busy') response.writeHead(503).end('down for maintenance');
      else response.writeHead(200).end('thank you');
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return server;
}

async function registerHandlers(): Promise<Map<string, ExecutionStatus>> {
  const plans = new Map<string, ExecutionStatus>();
  console.log('Handlers');
  for (const { path, plan, ...handler } of demoHandlers) {
    const { id } = await api<{ id: string }>('POST', '/v1/handlers', {
      ...handler,
      target: { type: 'http', url: `http://127.0.0.1:${port}${path}` },
    });
    plans.set(id, plan);
    console.log(
      `  ${handler.name.padEnd(16)} ${handler.events.join(', ')}${handler.status === undefined ? '' : ` (${handler.status})`}`,
    );
  }
  return plans;
}

/** One event of every type, as an upstream would: the plain AWS SDK. Answers how many executions will follow. */
async function publishEvents(): Promise<number> {
  const entries = builtInEventTypes.map(({ name, sample }) => ({
    EventBusName: busName,
    Source: 'billing',
    DetailType: name,
    Detail: JSON.stringify(sample),
  }));
  // PutEvents takes ten entries at a time.
  for (let start = 0; start < entries.length; start += 10) {
    const { FailedEntryCount } = await upstream.send(
      new PutEventsCommand({ Entries: entries.slice(start, start + 10) }),
    );
    if (FailedEntryCount !== 0) throw new Error(`The engine refused ${FailedEntryCount} events.`);
  }
  const counts = await Promise.all(
    builtInEventTypes.map(async ({ name }) => {
      const page = await api<{ items: unknown[] }>('GET', `/v1/handlers?event=${name}`);
      return page.items.length;
    }),
  );
  console.log(`\nExecutions of ${entries.length} events`);
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Prints every execution as it appears in the log, until there are as many as expected. */
async function watchExecutions(expected: number): Promise<Map<string, Execution>> {
  const seen = new Map<string, Execution>();
  const giveUpAt = Date.now() + patienceMs;
  while (seen.size < expected && Date.now() < giveUpAt) {
    const { items } = await api<{ items: Execution[] }>('GET', '/v1/executions?limit=100');
    const fresh = items
      .filter(({ id }) => !seen.has(id))
      .toSorted((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
    for (const execution of fresh) {
      seen.set(execution.id, execution);
      console.log(`  ${describe(execution)}`);
    }
    await delay(pollMs);
  }
  return seen;
}

function describe({ status, reason, event, handlerName, statusCode, durationMs, error }: Execution): string {
  const result = error ?? (statusCode === null ? (reason ?? '') : `${statusCode} in ${durationMs} ms`);
  return `${status.padEnd(10)} ${event.padEnd(28)} ${handlerName.padEnd(16)} ${result}`;
}

function summarize(
  executions: Map<string, Execution>,
  expected: number,
  planOf: Map<string, ExecutionStatus>,
): boolean {
  const all = [...executions.values()];
  const unplanned = all.filter(({ handlerId, status }) => planOf.get(handlerId) !== status);
  const counts = Object.entries(Object.groupBy(all, ({ status }) => status))
    .map(([status, group]) => `${group.length} ${status}`)
    .join(', ');
  console.log(`\n${all.length} of ${expected} executions: ${counts}`);
  for (const execution of unplanned) console.log(`  not as planned: ${describe(execution)}`);
  return all.length === expected && unplanned.length === 0;
}

async function stayOpen(): Promise<void> {
  const authorization = `-H "authorization: Bearer ${engine.token}"`;
  console.log(`
What to try next, while this runs (Ctrl-C ends it)
  the API         curl ${authorization} ${engine.url}/v1/executions?status=waiting
  its document    curl ${authorization} ${engine.url}/v1/openapi.json
  an upstream     AWS_ENDPOINT_URL=${engine.url} AWS_DEFAULT_REGION=${region} AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any \\
                  aws events put-events --entries '[{"EventBusName":"${busName}","Source":"me","DetailType":"client.create","Detail":"{\\"objectId\\":1,\\"data\\":{}}"}]'`);
  const ended = Promise.withResolvers<void>();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.resolve());
  await Promise.race([
    ended.promise,
    engine.failed.then((error) => {
      throw error;
    }),
  ]);
}

async function api<Answer>(method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(engine.url + path, {
    method,
    headers: { authorization: `Bearer ${engine.token}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Answer;
}
