import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import pLimit from 'p-limit';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Execution } from '../../shared/executions/execution.ts';
import { apiOf } from '../support/api.ts';
import { startEngineProcess, upstreamClient, type EngineProcess } from '../support/engine.ts';
import { startReceiver, type Receiver } from '../support/http-server.ts';

const crashPoint = fileURLToPath(new URL('../support/crash-point.ts', import.meta.url));
const eventCount = 2;
const leastSteps = 20;
// Runs that wait for each other's processor time more than this many gain nothing.
const runsAtOnce = 3;

const handlers = [
  { name: 'good', path: '/good', status: 'enabled', ends: 'succeeded' },
  { name: 'broken', path: '/broken', status: 'enabled', ends: 'waiting' },
  { name: 'disabled', path: '/disabled', status: 'disabled', ends: 'held' },
] as const;

/** One run: a system that is killed at `crashAt` and started again, with what must hold of it whatever happened. */
async function run(template: string, crashAt: string): Promise<{ crashed: boolean; problems: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-crash-'));
  await cp(template, folder, { recursive: true });
  await using receiver = await startReceiver(({ path }, response) => {
    response.writeHead(path === '/broken' ? 500 : 200).end();
  });
  let engine: EngineProcess | null = await startEngineProcess(folder, {
    nodeOptions: ['--import', crashPoint],
    env: { CRASH_AT: crashAt },
  }).catch(() => null);
  let crashed = engine === null;
  let atRestart: Execution[] = [];
  try {
    await persist(async (running) => registerHandlers(running, receiver));
    const accepted = new Set<string>();
    while (accepted.size < eventCount) {
      await persist(async (running) => {
        accepted.add(await publish(running, `${crashAt}/${accepted.size}`));
      });
    }
    await allAcknowledged();
    // Reads are remote steps too. An armed process has done its part, the rest is looked at from a new one.
    if (!crashed) {
      await engine?.end('SIGTERM');
      engine = await startEngineProcess(folder);
    }
    const problems = await check(accepted);
    return { crashed, problems };
  } finally {
    await engine?.end('SIGKILL');
    await rm(folder, { recursive: true });
  }

  /** Does something with the engine; when that dies under it, starts it again and does it once more. */
  async function persist(work: (running: EngineProcess) => Promise<void>): Promise<void> {
    engine ??= await restart();
    try {
      await work(engine);
    } catch (error) {
      if (
        (await Promise.race([engine.exited, Promise.resolve('alive')])) === 'alive' &&
        !isNetworkError(error)
      ) {
        throw error;
      }
      await engine.exited;
      engine = await restart();
      await work(engine);
    }
  }

  async function restart(): Promise<EngineProcess> {
    crashed = true;
    const restarted = await startEngineProcess(folder);
    atRestart = await listAll(restarted);
    return restarted;
  }

  /** Until the armed process has acknowledged every event, or is dead: then its successor takes over. */
  async function allAcknowledged(): Promise<void> {
    const running = engine;
    if (crashed || running === null) return;
    const acknowledged = new Promise<void>((resolve) => {
      const look = () => {
        const counts = running.lines.map((line) => Number(/^acknowledged (\d+)$/u.exec(line)?.[1] ?? 0));
        if (counts.reduce((sum, count) => sum + count, 0) >= eventCount) resolve();
      };
      running.onLine(look);
      look();
    });
    const died = await Promise.race([acknowledged.then(() => false), running.exited.then(() => true)]);
    if (died) engine = await restart();
  }

  async function check(accepted: ReadonlySet<string>): Promise<string[]> {
    const running = engine as EngineProcess;
    const isWhole = (executions: readonly Execution[]) =>
      [...accepted].every((eventId) =>
        handlers.every(({ name, ends }) =>
          executions.some(
            (execution) =>
              execution.eventId === eventId && execution.handlerName === name && execution.status === ends,
          ),
        ),
      );
    const executions = await vi
      .waitUntil(
        async () => {
          const found = await listAll(running);
          return isWhole(found) ? found : null;
        },
        { timeout: 15_000, interval: 100 },
      )
      .catch(() => null);
    if (executions === null)
      return [`${crashAt}: an accepted event is not in the log: ${JSON.stringify(await listAll(running))}`];

    const problems: string[] = [];
    for (const earlier of atRestart) {
      const later = executions.find(({ id }) => id === earlier.id);
      const hasEnded = earlier.status === 'succeeded' || earlier.status === 'failed';
      if (
        later === undefined ||
        (hasEnded && later.status !== earlier.status) ||
        later.attemptCount < earlier.attemptCount
      ) {
        problems.push(`${crashAt}: ${earlier.id} went back from ${earlier.status} to ${later?.status}`);
      }
    }
    for (const eventId of accepted) {
      for (const { path } of handlers.filter(({ status }) => status === 'enabled')) {
        const deliveries = receiver.requests.filter(
          ({ path: to, headers }) => to === path && String(headers['webhook-id']).startsWith(eventId),
        );
        const ids = new Set(deliveries.map(({ headers }) => headers['webhook-id']));
        if (deliveries.length === 0) problems.push(`${crashAt}: ${eventId} never reached ${path}`);
        if (ids.size > 1) problems.push(`${crashAt}: ${eventId} reached ${path} under several webhook ids`);
      }
    }
    if (receiver.requests.some(({ path }) => path === '/disabled'))
      problems.push(`${crashAt}: a disabled handler ran`);
    return problems;
  }
}

const isNetworkError = (error: unknown): boolean =>
  error instanceof Error &&
  (error.name === 'TimeoutError' || error.message.includes('fetch failed') || 'code' in error);

async function registerHandlers({ url }: EngineProcess, receiver: Receiver): Promise<void> {
  const api = apiOf(url);
  for (const { name, path, status } of handlers) {
    const { items } = await api.get<{ items: unknown[] }>(`/v1/handlers?q=${name}`);
    if (items.length > 0) continue;
    await api.post('/v1/handlers', {
      name,
      status,
      events: ['crash.test'],
      target: { type: 'http', url: receiver.url + path },
    });
  }
}

/** Publishes one event as an upstream would. Resolves to its id when the engine has accepted it. */
async function publish({ url }: EngineProcess, ref: string): Promise<string> {
  const upstream = upstreamClient(url, { maxAttempts: 1 });
  try {
    const { Entries } = await upstream.send(
      new PutEventsCommand({
        Entries: [
          {
            EventBusName: 'handoff',
            Source: 'test',
            DetailType: 'crash.test',
            Detail: JSON.stringify({ data: { ref } }),
          },
        ],
      }),
    );
    return String(Entries?.[0]?.EventId);
  } finally {
    upstream.destroy();
  }
}

async function listAll({ url }: EngineProcess): Promise<Execution[]> {
  const { items } = await apiOf(url).get<{ items: Execution[] }>('/v1/executions?limit=100');
  return items;
}

/** The data folder of an engine that was started once, so that the runs do not all spend their time on making tables. */
async function makeTemplate(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-crash-template-'));
  const engine = await startEngineProcess(folder);
  await engine.end('SIGTERM');
  return folder;
}

test('killed before and after every remote step, it loses no accepted event and moves no status back', async () => {
  const template = await makeTemplate();
  onTestFinished(() => rm(template, { recursive: true }));
  const inTurn = pLimit(runsAtOnce);
  const problems: string[] = [];
  /** Whether there was such a step: a run that has none is not killed. */
  const runStep = async (step: number): Promise<boolean> => {
    const results = await Promise.all(
      ['before', 'after'].map((phase) => inTurn(() => run(template, `${step}:${phase}`))),
    );
    problems.push(...results.flatMap((result) => result.problems));
    return results.some(({ crashed }) => crashed);
  };
  // Steps are numbered at run time, so how many there are shows when a run has no such step any more.
  let steps = 0;
  for (;;) {
    const existed = await Promise.all([runStep(steps + 1), runStep(steps + 2)]);
    steps += existed.indexOf(false) === -1 ? existed.length : existed.indexOf(false);
    if (existed.includes(false)) break;
  }

  console.info(`crash points: ${steps} remote steps, each killed before and after`);
  expect(problems).toEqual([]);
  expect(steps).toBeGreaterThanOrEqual(leastSteps);
}, 300_000);
