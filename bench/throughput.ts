/**
 * 10,000 events to one handler through the engine, published as fast as it takes them; then 50 events a second for
 * ten seconds. Prints what a person would want to compare, with a calibration of the machine beside it.
 *
 *   npm run bench:throughput [-- <events>]
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { BatchWriteCommand, DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { startDynamoDb, tableNames } from '../local/dynamodb.ts';
import { engineToken, startEngineProcess, upstreamClient } from '../test/support/engine.ts';

const eventCount = Number(process.argv[2] ?? 10_000);
const entriesPerCall = 10;
const callsUnderWay = 6;
const calibrationItems = 10_000;
const steadySeconds = 10;
const steadyPerSecond = 50;

type Item = { status: string };

const folder = await mkdtemp(join(tmpdir(), 'handoff-bench-'));
const engine = await startEngineProcess(folder);
const arrivals = new Map<string, number[]>();
const receiver = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { data } = JSON.parse(Buffer.concat(chunks).toString()) as { data: { ref: string } };
    arrivals.set(data.ref, [...(arrivals.get(data.ref) ?? []), performance.now()]);
    response.writeHead(204).end();
  });
});
await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
const upstream = upstreamClient(engine.url);

try {
  const handler = await api<{ id: string }>('POST', '/v1/handlers', {
    name: 'Bench',
    events: ['bench.tick'],
    target: { type: 'http', url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/` },
  });
  console.log(`machine     ${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`);
  const writesPerSecond = await calibrate(join(folder, 'calibration'));
  console.log(
    `calibration ${writesPerSecond.toFixed(0)} items/s, 1 KB each, into the embedded DynamoDB alone, 25 at a time`,
  );
  await burst(handler.id);
  await steady();
} finally {
  upstream.destroy();
  receiver.close();
  receiver.closeAllConnections();
  await engine.end('SIGTERM');
  await rm(folder, { recursive: true });
}

async function burst(handlerId: string): Promise<void> {
  const logged = countLogged(eventCount);
  const cpuBefore = await cpuSeconds();
  const startedAt = performance.now();
  let peak = { anonymous: 0, mapped: 0 };
  const listMs: number[] = [];
  const watching = new AbortController();
  const watcher = watch();

  const refs = Array.from({ length: eventCount }, () => randomUUID());
  await publishAll(refs);
  const publishedAt = performance.now();
  await logged;
  const loggedAt = performance.now();
  const cpu = (await cpuSeconds()) - cpuBefore;
  watching.abort();
  await watcher;

  const seconds = (loggedAt - startedAt) / 1000;
  const repeats = refs.filter((ref) => (arrivals.get(ref)?.length ?? 0) > 1).length;
  const lost = refs.filter((ref) => !arrivals.has(ref)).length;
  console.log(`events      ${eventCount} of 2 KB: ${lost} lost, ${repeats} delivered twice`);
  console.log(`in the log  ${await countSucceeded(handlerId)} succeeded`);
  console.log(`publishing  ${(eventCount / ((publishedAt - startedAt) / 1000)).toFixed(0)} events/s`);
  console.log(
    `executions  ${(eventCount / seconds).toFixed(0)} a second, from the first publish to the last log write`,
  );
  console.log(
    `engine CPU  ${((cpu / eventCount) * 1000).toFixed(2)} s per 1,000 executions, queue and tables included`,
  );
  console.log(
    `engine RSS  ${peak.anonymous.toFixed(0)} MB of its own at most, and ${peak.mapped.toFixed(0)} MB of mapped files that the system may take back`,
  );
  console.log(`first page  of all executions while it ran: ${percentiles(listMs)}`);

  async function watch(): Promise<void> {
    while (!watching.signal.aborted) {
      const asked = performance.now();
      await api('GET', '/v1/executions?limit=20');
      listMs.push(performance.now() - asked);
      const now = await memoryMb();
      if (now.anonymous > peak.anonymous) peak = now;
      await delay(100, undefined, { signal: watching.signal }).catch(() => undefined);
    }
  }
}

async function steady(): Promise<void> {
  const latencies: number[] = [];
  for (let sent = 0; sent < steadySeconds * steadyPerSecond; sent++) {
    const next = delay(1000 / steadyPerSecond);
    const ref = randomUUID();
    const publishedAt = performance.now();
    await publish([ref]);
    while (!arrivals.has(ref)) await delay(1);
    latencies.push((arrivals.get(ref)?.[0] ?? 0) - publishedAt);
    await next;
  }
  console.log(`at ${steadyPerSecond}/s      from publish to arrival: ${percentiles(latencies)}`);
}

async function publishAll(refs: readonly string[]): Promise<void> {
  const calls = Array.from({ length: Math.ceil(refs.length / entriesPerCall) }, (_, index) =>
    refs.slice(index * entriesPerCall, (index + 1) * entriesPerCall),
  );
  await Promise.all(
    Array.from({ length: callsUnderWay }, async () => {
      for (let call = calls.shift(); call !== undefined; call = calls.shift()) await publish(call);
    }),
  );
}

async function publish(refs: readonly string[]): Promise<void> {
  const { FailedEntryCount } = await upstream.send(
    new PutEventsCommand({
      Entries: refs.map((ref) => ({
        EventBusName: 'handoff',
        Source: 'bench',
        DetailType: 'bench.tick',
        Detail: JSON.stringify({ objectId: 12, data: { ref, customer: customerOf(ref) } }),
      })),
    }),
  );
  if (FailedEntryCount !== 0) throw new Error(`${FailedEntryCount} entries failed`);
}

/** About 2 KB that compress as well as a real entity does: names and addresses, not zeroes. */
function customerOf(ref: string) {
  return Array.from({ length: 10 }, (_, index) => ({
    id: `${ref.slice(0, 8)}-${index}`,
    name: `Customer ${createHash('md5').update(`${ref}${index}`).digest('hex')}`,
    email: `billing+${ref.slice(-6)}${index}@customer.example`,
    status: 'active',
    balance: '12.5000',
  }));
}

/** Resolves when the engine's own log lines account for so many executions. */
function countLogged(count: number): Promise<void> {
  let logged = 0;
  return new Promise((resolve) => {
    engine.onLine((line) => {
      if (!line.includes('"batch.dispatched"')) return;
      const { executions } = JSON.parse(line) as { executions: { succeeded: number } };
      logged += executions.succeeded;
      if (logged >= count) resolve();
    });
  });
}

async function countSucceeded(handlerId: string): Promise<number> {
  let count = 0;
  let cursor: string | null = '';
  while (cursor !== null) {
    const query = `handlerId=${handlerId}&limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`;
    const page: { items: Item[]; nextCursor: string | null } = await api('GET', `/v1/executions?${query}`);
    count += page.items.filter(({ status }) => status === 'succeeded').length;
    cursor = page.nextCursor;
  }
  return count;
}

async function api<Answer>(method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(engine.url + path, {
    method,
    headers: { authorization: `Bearer ${engineToken}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as Answer;
}

/** User and system time of the engine's process, from Linux's /proc (clock ticks of 10 ms). */
async function cpuSeconds(): Promise<number> {
  const stat = await readFile(`/proc/${engine.process.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Resident memory; LevelDB maps its files, which counts as resident as long as nobody else wants the room. */
async function memoryMb(): Promise<{ anonymous: number; mapped: number }> {
  const status = await readFile(`/proc/${engine.process.pid}/status`, 'utf8');
  const megabytes = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`, 'u').exec(status)?.[1]) / 1024;
  return { anonymous: megabytes('RssAnon'), mapped: megabytes('RssFile') };
}

/**
 * What this machine does now: the same writes as those of the log, with nothing beside them. It tells a slow machine
 * from a slow engine; compare figures by their ratio to it.
 */
async function calibrate(dataFolder: string): Promise<number> {
  const { endpoint, credentials, stop } = await startDynamoDb(dataFolder);
  const client = new DynamoDBClient({ endpoint, region: 'us-east-1', credentials });
  const dynamo = DynamoDBDocumentClient.from(client);
  const filler = 'x'.repeat(1000);
  let written = 0;
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (written < calibrationItems) {
        const first = written;
        written += 25;
        const items = Array.from({ length: 25 }, (_, index) => ({
          pk: 'bench',
          sk: String(first + index),
          filler,
        }));
        await dynamo.send(
          new BatchWriteCommand({
            RequestItems: { [tableNames.executions]: items.map((Item) => ({ PutRequest: { Item } })) },
          }),
        );
      }
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  client.destroy();
  await stop(5000);
  return written / seconds;
}

function percentiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${sorted.length} samples`;
}
