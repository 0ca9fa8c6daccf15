import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, expect, it } from 'vitest';
import { createSqs } from '../../shared/aws/clients.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { toItem } from '../../shared/executions/item.ts';
import { readKey } from '../../shared/executions/key.ts';
import { waitUntil } from '../../shared/executions/retry-decision.ts';
import { createWakeUps } from '../../shared/executions/wake-ups.ts';
import { startLane } from '../functions/retrier/lane.ts';
import { anExecution } from '../support/builders.ts';
import { startReceiver } from '../support/http-server.ts';

const count = 10_000;
const withinSeconds = 45 * 60;
const maxLateMs = 5000;
const itemsPerWrite = 25;
const timeoutMs = 600_000;

const lane = await startLane();
afterAll(() => lane[Symbol.asyncDispose]());

/** Executions that wait, due at any time of the next 45 minutes, the same in every run. */
function* waitingExecutions(handlerId: string): Generator<ExecutionRecord> {
  const now = lane.clock.now();
  for (let index = 0; index < count; index += 1) {
    const dueInMs = 1000 + ((index * 7919 * 997) % (withinSeconds * 1000));
    const due = new Date(now.getTime() + dueInMs);
    yield anExecution({
      handlerId,
      eventId: `e-${index}`,
      time: now.toISOString(),
      state: waitUntil(due, { reason: 'retry', now, scale: 1 }),
    });
  }
}

/** Stores them as whoever made their first attempt would have: what the queue can wait for is in the queue. */
async function store(records: readonly ExecutionRecord[]): Promise<void> {
  const wakeUps = createWakeUps({
    sqs: createSqs(),
    queueUrl: lane.variables.RETRIES_QUEUE,
    now: lane.clock.now,
  });
  for (let start = 0; start < records.length; start += itemsPerWrite) {
    const page = records.slice(start, start + itemsPerWrite);
    const requests = page.map((record) => ({
      PutRequest: { Item: toItem(record, { endedDays: 30, heldDays: 90 }, lane.clock.now()) },
    }));
    const RequestItems = { [lane.executionsTable]: requests };
    expect((await lane.dynamo.send(new BatchWriteCommand({ RequestItems }))).UnprocessedItems).toEqual({});
    await Promise.all(page.map((record) => wakeUps.sendFor(record)));
  }
}

it(
  'wakes 10,000 executions at their time: none early, none more than 5 s late',
  { timeout: timeoutMs },
  async () => {
    const startedAt = lane.clock.now().getTime();
    const calledAt = new Map<string, number>();
    await using receiver = await startReceiver(({ headers }, response) => {
      const eventId = String(headers['webhook-id']).split('_')[0] ?? '';
      expect(calledAt.has(eventId)).toBe(false);
      calledAt.set(eventId, lane.clock.now().getTime());
      response.writeHead(204).end();
    });
    const handler = await lane.register({ target: { url: receiver.url } });
    const records = [...waitingExecutions(handler.id)];
    await store(records);

    const retrier = lane.coldRetrier();
    for (let second = 1; second <= withinSeconds + 10; second += 1) {
      lane.clock.set(new Date(startedAt + second * 1000).toISOString());
      if (second % 60 === 0) expect(await lane.sweep()).toMatchObject({ problems: [], unfinished: false });
      for (let messages = 1; messages > 0;) {
        const report = await lane.retryDue(retrier);
        expect(report).toMatchObject({ problems: [], failedMessageIds: [] });
        ({ messages } = report);
      }
    }

    expect(calledAt.size).toBe(count);
    const lateMs = records.map(({ key, state }) => {
      const due = 'nextAttemptAt' in state ? Date.parse(state.nextAttemptAt) : Number.NaN;
      return (calledAt.get(readKey(key).eventId) ?? Number.NaN) - due;
    });
    const [least, most] = [Math.min(...lateMs), Math.max(...lateMs)];
    console.info(`10,000 wake-ups: the earliest ${least} ms after its time, the latest ${most} ms`);
    expect(least).toBeGreaterThanOrEqual(0);
    expect(most).toBeLessThanOrEqual(maxLateMs);
  },
);
