import { randomUUID } from 'node:crypto';
import { GetQueueAttributesCommand, SendMessageCommand, SQSClient } from '@aws-sdk/client-sqs';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import type { Receiver } from '../support/http-server.ts';
import { connect, type System } from '../acceptance/system.ts';
import { clientOf } from './deployed-stack.ts';
import { roleOfCall, readCalls, type RecordedCall } from './policies.ts';

const stack = inject('stack');
const { outputs } = stack;
// The sweeper comes every minute, and the emulator looks every ten seconds whether it is time.
const patience = { timeout: 100_000, interval: 500 };
const testTimeoutMs = 120_000;

let system: System;
let receiver: Receiver;
let sqs: SQSClient;
let type: string;
let handlerId: string;
const events: ReturnType<typeof eventOf>[] = [];

// All of it before the sweeper comes for the first time, or the second test waits for another minute.
beforeAll(async () => {
  system = connect();
  receiver = await system.startReceiver(({ path }, response) => {
    response.writeHead(path === '/down' ? 503 : 204).end();
  });
  sqs = new SQSClient(clientOf(stack));
  type = system.newType();
  ({ id: handlerId } = await system.createHandler({ events: [type], url: `${receiver.url}/ok` }));
  const far = system.newType();
  // The longest delay of a queue is 900 s: the sweeper sends the call when no more than that is left.
  const slow = await system.createHandler({
    events: [far],
    url: `${receiver.url}/down`,
    retry: { schedule: [905] },
  });
  await system.putEvents({ type: far });
  await system.waitForStatus(slow.id, 'waiting');
  events.push(eventOf(type), eventOf(type));
  await put('EventsDeadLettersUrl', events[0] ?? {});
  await put('UndeliveredEventsUrl', events[1] ?? {});
  await put('RetriesDeadLettersUrl', { pk: 'h_gone#0', sk: '2026-01-01T00:00:00.000Z#x', generation: 1 });
});
afterAll(async () => {
  await system.close();
  await receiver.close();
  sqs.destroy();
});

const put = (queue: string, body: object) =>
  sqs.send(new SendMessageCommand({ QueueUrl: outputs[queue], MessageBody: JSON.stringify(body) }));

async function countOf(queue: string): Promise<number> {
  const AttributeNames = ['ApproximateNumberOfMessages' as const];
  const { Attributes = {} } = await sqs.send(
    new GetQueueAttributesCommand({ QueueUrl: outputs[queue], AttributeNames }),
  );
  return Number(Attributes['ApproximateNumberOfMessages']);
}

const eventOf = (detailType: string) => ({
  version: '0',
  id: randomUUID(),
  'detail-type': detailType,
  source: 'e2e',
  account: stack.account,
  time: `${new Date().toISOString().slice(0, 19)}Z`,
  region: stack.region,
  resources: [],
  detail: { objectId: 1, data: {} },
});

it(
  'empties the dead-letter queues, and what was in them is delivered when a person asks',
  { timeout: testTimeoutMs },
  async () => {
    const letters = await vi.waitUntil(async () => {
      const { items } = await system.api.get<{ items: { id: string; body: string }[] }>(
        '/v1/dead-letters?limit=100',
      );
      const found = items.filter(({ body }) => body.includes(type));
      return found.length === 2 ? found : null;
    }, patience);
    await vi.waitUntil(async () => (await countOf('RetriesDeadLettersUrl')) === 0, patience);
    await system.api.post('/v1/dead-letters/redrive', { ids: letters.map(({ id }) => id) });

    const executions = await system.waitForExecutions(handlerId, 2);
    expect(executions.map(({ eventId }) => eventId).toSorted()).toEqual(
      events.map(({ id }) => id).toSorted(),
    );
  },
);

it('sends the wake-up call of what no queue can wait for', { timeout: testTimeoutMs }, async () => {
  const hasSent = (call: RecordedCall) =>
    roleOfCall(call) === 'RetriesSweepRole' && call.action === 'sqs:SendMessage';
  await vi.waitUntil(async () => (await readCalls(stack.callsFile)).some(hasSent), patience);
});
