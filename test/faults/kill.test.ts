import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { expect, onTestFinished, test } from 'vitest';
import type { Execution } from '../../shared/executions/execution.ts';
import { apiOf } from '../support/api.ts';
import { startEngineProcess, upstreamClient } from '../support/engine.ts';
import { startReceiver } from '../support/http-server.ts';

const eventCount = 1000;
const killAfter = 400;

test('kill -9 in the middle of 1,000 events loses none and repeats at most 100', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-kill-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await using receiver = await startReceiver();
  const first = await startEngineProcess(folder);
  onTestFinished(async () => void (await first.end('SIGKILL')));
  const { id: handlerId } = await apiOf(first.url).post<{ id: string }>('/v1/handlers', {
    name: 'kill',
    events: ['kill.test'],
    target: { type: 'http', url: receiver.url },
  });

  const killed = receiver.waitForRequests(killAfter).then(() => first.end('SIGKILL'));
  const accepted = await publishUntilDeath(first.url);
  await killed;
  const second = await startEngineProcess(folder);
  onTestFinished(async () => void (await second.end('SIGKILL')));
  const restartedAt = performance.now();
  accepted.push(...(await publish(second.url, eventCount - accepted.length)));
  const executions = await allExecutions(second.url, handlerId, accepted);
  const seconds = (performance.now() - restartedAt) / 1000;

  const deliveries = receiver.requests.map(({ headers }) => String(headers['webhook-id']));
  const repeats = deliveries.length - new Set(deliveries).size;
  console.info(
    `kill -9: ${repeats} deliveries repeated, everything delivered ${seconds.toFixed(1)} s after the restart`,
  );
  const delivered = new Set(deliveries.map((id) => id.slice(0, id.indexOf('_'))));
  expect(accepted).toHaveLength(eventCount);
  expect(accepted.filter((id) => !delivered.has(id))).toEqual([]);
  expect(executions.filter(({ status }) => status !== 'succeeded')).toEqual([]);
  expect(repeats).toBeLessThanOrEqual(100);
});

/** Publishes until there are enough events or nobody answers. Resolves to the ids that were accepted. */
async function publishUntilDeath(url: string): Promise<string[]> {
  const accepted: string[] = [];
  try {
    while (accepted.length < eventCount) accepted.push(...(await publish(url, 10)));
  } catch (error) {
    // What the killed engine had accepted without having answered is allowed to be delivered, and not counted.
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
  return accepted;
}

async function publish(url: string, count: number): Promise<string[]> {
  const upstream = upstreamClient(url, { maxAttempts: 1 });
  const ids: string[] = [];
  try {
    while (ids.length < count) {
      const { Entries = [] } = await upstream.send(
        new PutEventsCommand({
          Entries: Array.from({ length: Math.min(10, count - ids.length) }, () => ({
            EventBusName: 'handoff',
            Source: 'test',
            DetailType: 'kill.test',
            Detail: '{"data":{}}',
          })),
        }),
      );
      ids.push(...Entries.map(({ EventId }) => String(EventId)));
    }
    return ids;
  } finally {
    upstream.destroy();
  }
}

/** The whole log of the handler, as soon as it has all of these events. */
async function allExecutions(
  url: string,
  handlerId: string,
  eventIds: readonly string[],
): Promise<Execution[]> {
  const giveUpAt = Date.now() + 30_000;
  for (;;) {
    const executions: Execution[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const query = `handlerId=${handlerId}&limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`;
      const page: { items: Execution[]; nextCursor: string | null } = await apiOf(url).get(
        `/v1/executions?${query}`,
      );
      executions.push(...page.items);
      cursor = page.nextCursor;
    }
    const logged = new Set(executions.map(({ eventId }) => eventId));
    const missing = eventIds.filter((id) => !logged.has(id));
    if (missing.length === 0) return executions;
    if (Date.now() > giveUpAt) throw new Error(`${missing.length} accepted events are not in the log.`);
  }
}
