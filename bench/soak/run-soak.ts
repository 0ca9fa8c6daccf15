import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import type { Execution } from '../../shared/executions/execution.ts';
import { apiOf } from '../../test/support/api.ts';
import { startEngineProcess, upstreamClient, type EngineProcess } from '../../test/support/engine.ts';
import { heldMemoryMb, withInspector } from './memory.ts';
import { closedPort, startReceiver } from '../../test/support/http-server.ts';

export type SoakReport = {
  /** Events whose acceptance was answered, and those that nobody answered although they were taken. */
  accepted: number;
  unanswered: number;
  kills: number;
  seconds: number;
  /** Of the accepted ones, by status; together they are all of them. */
  executions: Record<Execution['status'], number>;
  /** What must not be: lost or doubled executions, a success that never arrived. */
  problems: string[];
  /** Growth of what the process holds, from 50,000 events after its start on; null when there were not enough. */
  memory: { firstMb: number; lastMb: number; perHundredThousandMb: number } | null;
};

// A hundredth of real time: a wait of the schedule is a second or a few, a sweep comes every 600 ms.
const env = { HANDOFF_RETRY_SCALE: '0.01' };
const schedule = [100, 200, 400];
const slowMs = 300;
const eventsPerWave = 200;
const entriesPerCall = 10;
const maxBehind = 500;
const waveTimeoutMs = 5000;
const pollMs = 20;
// Of a process, before its memory is looked at.
const warmUpEvents = 50_000;
const quietMs = 30_000;

/** One of ten events each goes to a slow, a flaky and a dead endpoint, the others to a good one. */
const kinds = ['good', 'good', 'good', 'slow', 'good', 'good', 'flaky', 'good', 'good', 'dead'] as const;
type Kind = (typeof kinds)[number];

type Sample = { events: number; mb: number };

/**
 * Publishes so many events, kills the engine in the first eighth of them, waits until nothing more happens, and reads the log.
 */
export async function runSoak({
  events,
  kills,
  log = () => undefined,
}: {
  events: number;
  kills: number;
  log?: (line: string) => void;
}): Promise<SoakReport> {
  const startedAt = performance.now();
  const folder = await mkdtemp(join(tmpdir(), 'handoff-soak-'));
  const arrived = new Set<string>();
  await using receiver = await startReceiver(async ({ path, headers }, response) => {
    const id = String(headers['webhook-id']);
    if (path === '/slow') await delay(slowMs);
    const isUnlucky = path === '/flaky' && luckOf(id, String(headers['webhook-timestamp'])) < 0.3;
    if (!isUnlucky) arrived.add(id);
    response.writeHead(isUnlucky ? 503 : 204).end();
  });
  const deadPort = await closedPort();
  const start = () => startEngineProcess(folder, { env, nodeOptions: withInspector });
  let engine = await start();
  let restarting: Promise<void> | null = null;
  const handlers = new Map<Kind, string>();
  for (const kind of new Set(kinds)) {
    const url = kind === 'dead' ? `http://127.0.0.1:${deadPort}/` : `${receiver.url}/${kind}`;
    const handler = {
      name: kind,
      events: [`soak.${kind}`],
      target: { type: 'http', url },
      retry: { schedule },
    };
    handlers.set(kind, (await apiOf(engine.url).post<{ id: string }>('/v1/handlers', handler)).id);
  }

  async function killAndRestart(): Promise<void> {
    await engine.end('SIGKILL');
    engine = await start();
    log(`killed and started again after ${published} events`);
  }

  /** Event ids by their kind; a call that nobody answered is made again, as an upstream would. */
  const accepted = new Map<string, Kind>();
  let unansweredCalls = 0;
  /** Of those that arrive at once. */
  let expected = 0;
  async function publish(batch: readonly Kind[]): Promise<void> {
    for (;;) {
      try {
        for (const [index, id] of (await putEvents(engine, batch)).entries()) {
          const kind = batch[index] ?? 'good';
          accepted.set(id, kind);
          if (kind === 'good' || kind === 'slow') expected += 1;
        }
        return;
      } catch {
        unansweredCalls += 1;
        await delay(pollMs);
        await restarting;
      }
    }
  }

  const killAt = Array.from({ length: kills }, (_, index) =>
    Math.round(((index + 1) * events) / (8 * (kills + 1))),
  );
  const samples: Sample[] = [];
  let published = 0;
  try {
    await delay(1000 + pollMs); // The handlers are known a second after the answer.
    while (published < events) {
      const wave = Array.from(
        { length: Math.min(eventsPerWave, events - published) },
        (_, index) => kinds[(published + index) % kinds.length] ?? 'good',
      );
      if (killAt.some((at) => at >= published && at < published + wave.length)) {
        restarting = delay(pollMs).then(killAndRestart);
      }
      const calls = Array.from({ length: Math.ceil(wave.length / entriesPerCall) }, (_, index) =>
        publish(wave.slice(index * entriesPerCall, (index + 1) * entriesPerCall)),
      );
      await Promise.all(calls);
      published += wave.length;
      await restarting;
      await keepUp();
      if (published % 5000 < eventsPerWave) {
        samples.push({ events: published, mb: await heldMemoryMb(engine) });
        log(`${published} events, ${samples.at(-1)?.mb.toFixed(0)} MB`);
      }
    }
    const executions = await settle();
    const problems = audit(executions);
    return {
      accepted: accepted.size,
      unanswered: unansweredCalls,
      kills,
      seconds: Math.round((performance.now() - startedAt) / 1000),
      executions: countByStatus(executions),
      problems,
      memory: growth(samples.filter((sample) => sample.events >= Math.max(0, ...killAt) + warmUpEvents)),
    };
  } finally {
    await engine.end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }

  /** Waits until no more than some hundred events are under way, as far as one can see from the endpoints. */
  async function keepUp(): Promise<void> {
    const deadline = performance.now() + waveTimeoutMs;
    while (arrived.size < expected - maxBehind && performance.now() < deadline) await delay(pollMs);
  }

  /** The executions of everything accepted, as soon as nothing is open any more, or nothing has come of it for long. */
  async function settle(): Promise<Map<string, Execution[]>> {
    let openBefore = Number.POSITIVE_INFINITY;
    let deadline = performance.now() + quietMs;
    for (;;) {
      const executions = await readLog();
      const waiting = [...executions.values()].flat().filter(({ status }) => status === 'waiting');
      const openCount =
        accepted.size - executions.size + waiting.filter(({ reason }) => reason !== 'circuit').length;
      if (openCount < openBefore) deadline = performance.now() + quietMs;
      if (openCount === 0 || performance.now() > deadline) return executions;
      openBefore = Math.min(openBefore, openCount);
      await delay(500);
    }
  }

  async function readLog(): Promise<Map<string, Execution[]>> {
    const byEvent = new Map<string, Execution[]>();
    for (const handlerId of handlers.values()) {
      for (let cursor: string | null = ''; cursor !== null;) {
        const query = `handlerId=${handlerId}&limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`;
        const page: { items: Execution[]; nextCursor: string | null } = await apiOf(engine.url).get(
          `/v1/executions?${query}`,
        );
        for (const execution of page.items) {
          if (!accepted.has(execution.eventId)) continue;
          byEvent.set(execution.eventId, [...(byEvent.get(execution.eventId) ?? []), execution]);
        }
        cursor = page.nextCursor;
      }
    }
    return byEvent;
  }

  function audit(executions: ReadonlyMap<string, readonly Execution[]>): string[] {
    const problems: string[] = [];
    for (const [id, kind] of accepted) {
      const own = executions.get(id) ?? [];
      if (own.length !== 1) problems.push(`the ${kind} event ${id} has ${own.length} executions`);
      const [execution] = own;
      if (execution?.status === 'succeeded' && !arrived.has(`${id}_${execution.handlerId}`)) {
        problems.push(`the ${kind} event ${id} has succeeded and never arrived`);
      }
      const isOpen = execution?.status === 'waiting' && execution.reason !== 'circuit';
      if (isOpen || (execution?.status === 'waiting' && kind !== 'dead')) {
        problems.push(`the ${kind} event ${id} still waits: ${execution.reason}`);
      }
      if ((kind === 'good' || kind === 'slow') && execution?.status === 'failed') {
        problems.push(`the ${kind} event ${id} has failed: ${execution.error}`);
      }
    }
    return problems;
  }
}

async function putEvents({ url }: EngineProcess, batch: readonly Kind[]): Promise<string[]> {
  const upstream = upstreamClient(url, { maxAttempts: 1 });
  try {
    const { Entries = [], FailedEntryCount } = await upstream.send(
      new PutEventsCommand({
        Entries: batch.map((kind) => ({
          EventBusName: 'handoff',
          Source: 'soak',
          DetailType: `soak.${kind}`,
          Detail: JSON.stringify({ objectId: 12, data: { ref: randomUUID(), filler: 'x'.repeat(1000) } }),
        })),
      }),
    );
    if (FailedEntryCount !== 0) throw new Error(`${FailedEntryCount} entries failed`);
    return Entries.map(({ EventId }) => String(EventId));
  } finally {
    upstream.destroy();
  }
}

/** From 0 up to 1: the same for the same attempt. */
const luckOf = (...parts: string[]): number =>
  createHash('sha256').update(parts.join()).digest().readUInt32BE() / 2 ** 32;

function countByStatus(executions: ReadonlyMap<string, readonly Execution[]>): SoakReport['executions'] {
  const counts = { succeeded: 0, failed: 0, waiting: 0, held: 0 };
  for (const { status } of [...executions.values()].flat()) counts[status] += 1;
  return counts;
}

/** The slope of the best line through the samples. */
function growth(samples: readonly Sample[]): SoakReport['memory'] {
  const [first] = samples;
  const last = samples.at(-1);
  if (first === undefined || last === undefined || samples.length < 5) return null;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanEvents, meanMb] = [mean(samples.map(({ events }) => events)), mean(samples.map(({ mb }) => mb))];
  const covariance = mean(samples.map(({ events, mb }) => (events - meanEvents) * (mb - meanMb)));
  const variance = mean(samples.map(({ events }) => (events - meanEvents) ** 2));
  return { firstMb: first.mb, lastMb: last.mb, perHundredThousandMb: (covariance / variance) * 100_000 };
}
