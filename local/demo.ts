/** The main job in one command: the engine, a receiver beside it, HTTP and script handlers, and one event of every type. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { EventBridgeClient, PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { builtInEventTypes } from '../shared/catalogue/catalogue.ts';
import type { Execution } from '../shared/executions/execution.ts';
import type { ExecutionStatus } from '../shared/executions/life-cycle.ts';
import { busName, region } from './aws-identity.ts';
import { parseConfig } from './config.ts';

// The demo prints a line of its own for each execution. The log is built when its module loads: before the engine.
process.env['POWERTOOLS_LOG_LEVEL'] ??= 'WARN';
const { startEngine } = await import('./engine.ts');

const pollMs = 100;
const patienceMs = 60_000;

type DemoHandler = {
  name: string;
  events: string[];
  priority: number;
  target: { type: 'http'; path: string } | { type: 'script'; script: string };
  status?: 'disabled';
  retry?: { schedule: number[] };
  /** How every one of its executions is meant to end, and after how many attempts. */
  plan: { status: ExecutionStatus; attempts: number };
};

const atOnce = { status: 'succeeded', attempts: 1 } as const;

const demoHandlers: readonly DemoHandler[] = [
  {
    name: 'Balance alerts',
    events: ['client.balance.*'],
    priority: 1,
    target: { type: 'http', path: '/alerts' },
    plan: atOnce,
  },
  {
    name: 'CRM sync',
    events: ['client.*', 'account.*'],
    priority: 10,
    target: { type: 'http', path: '/crm' },
    plan: atOnce,
  },
  {
    name: 'Balance guard',
    events: ['*'],
    priority: 20,
    target: { type: 'script', script: 'balance-guard' },
    plan: atOnce,
  },
  {
    name: 'Rates hand-off',
    events: ['*'],
    priority: 30,
    target: { type: 'script', script: 'rates-handoff' },
    plan: atOnce,
  },
  {
    name: 'Rates desk',
    events: ['email_rates.import'],
    priority: 50,
    target: { type: 'http', path: '/recovering' },
    retry: { schedule: [1, 2] },
    plan: { status: 'succeeded', attempts: 3 },
  },
  {
    name: 'Event archive',
    events: ['*'],
    priority: 100,
    target: { type: 'http', path: '/archive' },
    plan: atOnce,
  },
  {
    name: 'Old CRM',
    events: ['client.create'],
    priority: 100,
    target: { type: 'http', path: '/old' },
    status: 'disabled',
    plan: { status: 'held', attempts: 0 },
  },
];

const isPassing = process.argv.includes('--exit');
const receiver = await startReceiver();
const port = (receiver.address() as AddressInfo).port;
const engine = await startEngine(
  parseConfig({
    PATH: process.env['PATH'],
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
  const handlerOf = await registerHandlers();
  const expected = await publishEvents();
  const executions = await watchExecutions(expected, handlerOf);
  const isAsPlanned = summarize(executions, expected, handlerOf);
  if (isPassing) process.exitCode = isAsPlanned ? 0 : 1;
  else await stayOpen([...handlerOf.keys()][0] ?? '');
} finally {
  upstream.destroy();
  receiver.close();
  receiver.closeAllConnections();
  await engine.stop();
}

/** Takes everything, but what is sent to `/recovering` only at the third time. */
async function startReceiver(): Promise<Server> {
  let refusals = 2;
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      if (request.url === '/recovering' && refusals > 0) {
        refusals -= 1;
        response.writeHead(503).end('down for maintenance');
      } else {
        response.writeHead(200).end('thank you');
      }
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return server;
}

/** Registers the handlers through the API. Answers them by id. */
async function registerHandlers(): Promise<Map<string, DemoHandler>> {
  const handlerOf = new Map<string, DemoHandler>();
  console.log('Handlers, by priority');
  for (const handler of demoHandlers) {
    const { plan: _plan, target, ...input } = handler;
    const { id } = await api<{ id: string }>('POST', '/v1/handlers', {
      ...input,
      target:
        target.type === 'http' ? { type: 'http', url: `http://127.0.0.1:${port}${target.path}` } : target,
    });
    handlerOf.set(id, handler);
    const place = target.type === 'http' ? `POST ${target.path}` : `script ${target.script}`;
    console.log(
      `  ${String(handler.priority).padStart(3)}  ${handler.name.padEnd(15)} ${place.padEnd(21)} ${handler.events.join(', ')}${handler.status === undefined ? '' : ` (${handler.status})`}`,
    );
  }
  return handlerOf;
}

/** One event of every type, as an upstream would: the plain AWS SDK. Answers how many executions will follow. */
async function publishEvents(): Promise<number> {
  const entries = builtInEventTypes.map(({ name, sample }) => ({
    EventBusName: busName,
    Source: 'billing',
    DetailType: name,
    Detail: JSON.stringify(sample),
  }));
  const counts = await Promise.all(
    builtInEventTypes.map(async ({ name }) => {
      const page = await api<{ items: unknown[] }>('GET', `/v1/handlers?event=${name}`);
      return page.items.length;
    }),
  );
  // PutEvents takes ten entries at a time.
  for (let start = 0; start < entries.length; start += 10) {
    const { FailedEntryCount } = await upstream.send(
      new PutEventsCommand({ Entries: entries.slice(start, start + 10) }),
    );
    if (FailedEntryCount !== 0) throw new Error(`The engine refused ${FailedEntryCount} events.`);
  }
  console.log(`\nExecutions of ${entries.length} events`);
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Prints every execution as it appears in the log, and again when it has moved on, until all have ended. */
async function watchExecutions(
  expected: number,
  handlerOf: ReadonlyMap<string, DemoHandler>,
): Promise<Execution[]> {
  const seen = new Map<string, Execution>();
  const giveUpAt = Date.now() + patienceMs;
  const isOver = () =>
    seen.size >= expected && [...seen.values()].every((execution) => execution.status !== 'waiting');
  while (!isOver() && Date.now() < giveUpAt) {
    for (const execution of (await listExecutions()).toSorted((a, b) =>
      a.startedAt < b.startedAt ? -1 : 1,
    )) {
      const before = seen.get(execution.id);
      if (before?.status === execution.status && before.attemptCount === execution.attemptCount) continue;
      seen.set(execution.id, execution);
      console.log(`  ${describe(execution, handlerOf)}`);
    }
    await delay(pollMs);
  }
  return [...seen.values()];
}

async function listExecutions(): Promise<Execution[]> {
  const executions: Execution[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page: { items: Execution[]; nextCursor: string | null } = await api(
      'GET',
      `/v1/executions?limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`,
    );
    executions.push(...page.items);
    cursor = page.nextCursor;
  }
  return executions;
}

function describe(
  { status, reason, event, handlerId, handlerName, statusCode, durationMs, attemptCount, error }: Execution,
  handlerOf: ReadonlyMap<string, DemoHandler>,
): string {
  const priority = String(handlerOf.get(handlerId)?.priority ?? '').padStart(3);
  const result =
    error ?? (durationMs === null ? (reason ?? '') : `${statusCode ?? 'returned'} in ${durationMs} ms`);
  const attempt = attemptCount > 1 ? `, attempt ${attemptCount}` : '';
  return `${status.padEnd(10)} ${event.padEnd(28)} ${priority}  ${handlerName.padEnd(15)} ${result}${attempt}`;
}

function summarize(
  executions: readonly Execution[],
  expected: number,
  handlerOf: ReadonlyMap<string, DemoHandler>,
): boolean {
  const isPlanned = ({ handlerId, status, attemptCount }: Execution) => {
    const plan = handlerOf.get(handlerId)?.plan;
    return plan?.status === status && plan.attempts === attemptCount;
  };
  const unplanned = executions.filter((execution) => !isPlanned(execution));
  const outOfOrder = executions.filter((execution) => beganTooEarly(execution, executions, handlerOf));
  const counts = Object.entries(Object.groupBy(executions, ({ status }) => status))
    .map(([status, group]) => `${group.length} ${status}`)
    .join(', ');
  console.log(
    `\n${executions.length} of ${expected} executions: ${counts}; ${outOfOrder.length} out of order`,
  );
  for (const execution of unplanned) console.log(`  not as planned: ${describe(execution, handlerOf)}`);
  for (const execution of outOfOrder) console.log(`  out of order: ${describe(execution, handlerOf)}`);
  return executions.length === expected && unplanned.length === 0 && outOfOrder.length === 0;
}

/** Whether an execution began before the first attempts of a lower number in the same event had ended. */
function beganTooEarly(
  execution: Execution,
  executions: readonly Execution[],
  handlerOf: ReadonlyMap<string, DemoHandler>,
): boolean {
  const priorityOf = ({ handlerId }: Execution) => handlerOf.get(handlerId)?.priority ?? 0;
  return executions.some(
    (other) =>
      other.eventId === execution.eventId &&
      priorityOf(other) < priorityOf(execution) &&
      // The duration is that of the last attempt: where there were more, the beginning of the first one must do.
      Date.parse(other.startedAt) + (other.attemptCount === 1 ? (other.durationMs ?? 0) : 0) >
        Date.parse(execution.startedAt),
  );
}

async function stayOpen(handlerId: string): Promise<void> {
  const curl = `curl -H "authorization: Bearer ${engine.token}"`;
  console.log(`
What to try next, while this runs (Ctrl-C ends it)
  what is held      ${curl} "${engine.url}/v1/executions?status=held"
  how much ran      ${curl} ${engine.url}/v1/stats
  test a handler    ${curl} -X POST ${engine.url}/v1/handlers/${handlerId}/test
  event types       ${curl} ${engine.url}/v1/event-types
  all of the API    ${curl} ${engine.url}/v1/openapi.json
  as an upstream    AWS_ENDPOINT_URL=${engine.url} AWS_DEFAULT_REGION=${region} AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any \\
                    aws events put-events --entries '[{"EventBusName":"${busName}","Source":"me","DetailType":"client.create","Detail":"{\\"objectId\\":1,\\"data\\":{}}"}]'
  a script          functions/scripts/ has two; docs/scripts.md tells how to add one`);
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
