import { SQSClient } from '@aws-sdk/client-sqs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createDeadLetters, type DeadLetters } from '../../../shared/dead-letters/dead-letters.ts';
import { drainDeadLetters, drainWakeUps, maxDrained } from '../../../shared/dead-letters/drain.ts';
import type { WakeUp } from '../../../shared/executions/wake-ups.ts';
import { startEnvironment, type Environment } from '../../functions/environment.ts';
import { aKeeping } from '../../support/keeping.ts';
import { anEvent } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

const clock = createClock('2026-11-23T10:00:00.123Z');
const reason = 'The dispatcher received it 10 times.';

let environment: Environment;
let sqs: SQSClient;
let deadLetters: DeadLetters;
beforeAll(async () => {
  environment = await startEnvironment({ now: clock.now });
  sqs = new SQSClient({ maxAttempts: 1 });
});
beforeEach(() => {
  deadLetters = openDeadLetters();
});
afterEach(() => environment.clear());
afterAll(async () => {
  sqs.destroy();
  await environment[Symbol.asyncDispose]();
});

function openDeadLetters(answer?: Answer): DeadLetters {
  const { dynamo } = createRecordingDynamo(answer);
  return createDeadLetters({
    dynamo,
    tableName: environment.executionsTable,
    keeping: aKeeping(),
    keptDays: 90,
    now: clock.now,
  });
}
const drain = (into = deadLetters) =>
  drainDeadLetters({
    sqs,
    queueUrl: environment.variables.EVENTS_DEAD_LETTERS_QUEUE,
    deadLetters: into,
    reason,
  });
const put = (...bodies: string[]) =>
  environment.queues.eventsDeadLetters.send(bodies.map((body) => ({ body })));
const listed = async () => (await deadLetters.list(100)).letters;
const empty = { visible: 0, inFlight: 0, delayed: 0 };

describe('drainDeadLetters', () => {
  it('makes a row of what was buried, with its id, its time and the reason, and deletes it', async () => {
    const { events, eventsDeadLetters } = environment.queues;
    const body = anEvent();
    const [id] = await events.send([{ body }]);
    for (let count = 1; count <= 10; count += 1) {
      expect(events.receive(1)).toHaveLength(1);
      clock.advance(1_080_000);
    }
    expect(events.receive(1)).toEqual([]);
    expect(eventsDeadLetters.counts().visible).toBe(1);

    expect(await drain()).toEqual({ count: 1, problems: [] });

    expect(await listed()).toEqual([
      { id, receivedAt: '2026-11-23T10:00:00.123Z', reason, body, bodyBytes: Buffer.byteLength(body) },
    ]);
    expect(eventsDeadLetters.counts()).toEqual(empty);
  });

  it('has nothing to do on an empty queue', async () => {
    expect(await drain()).toEqual({ count: 0, problems: [] });
  });

  it('keeps the time when the queue first took an event that was sent again', async () => {
    await environment.queues.eventsDeadLetters.send([
      { body: 'again', attributes: { sentAt: '2026-11-20T08:00:00.000Z' } },
      { body: 'nonsense', attributes: { sentAt: 'yesterday' } },
    ]);
    await drain();
    expect((await listed()).map(({ body, receivedAt }) => [body, receivedAt])).toEqual([
      ['nonsense', clock.now().toISOString()],
      ['again', '2026-11-20T08:00:00.000Z'],
    ]);
  });

  it.each<[string, Record<string, string>, string]>([
    [
      'code and message',
      { ERROR_CODE: 'NO_PERMISSIONS', ERROR_MESSAGE: 'Access to the queue is denied.', RULE_ARN: 'arn:x' },
      ' The bus said: NO_PERMISSIONS: Access to the queue is denied.',
    ],
    ['a code alone', { ERROR_CODE: 'SDK_CLIENT_ERROR' }, ' The bus said: SDK_CLIENT_ERROR'],
    ['a message alone', { ERROR_MESSAGE: 'no' }, ' The bus said: no'],
    ['a long message', { ERROR_MESSAGE: 'x'.repeat(5000) }, ` The bus said: ${'x'.repeat(1000)}`],
  ])('adds to the reason what the bus said: %s', async (_, attributes, said) => {
    await environment.queues.eventsDeadLetters.send([{ body: 'undelivered', attributes }]);
    await drain();
    expect((await listed()).map((letter) => letter.reason)).toEqual([`${reason}${said}`]);
  });

  it('leaves in the queue what could not be stored, and finds the same row the next time', async () => {
    const [, id] = await put('first', 'second');
    const failing = openDeadLetters(({ input }, send) =>
      JSON.stringify(input).includes(`${id}`) ? Promise.reject(new Error('table full')) : send(),
    );
    const { count, problems } = await drain(failing);
    expect(count).toBe(1);
    expect(problems.map(({ message }) => message)).toEqual([expect.stringMatching(`${id}.*table full`)]);
    expect((await listed()).map(({ body }) => body)).toEqual(['first']);
    expect(environment.queues.eventsDeadLetters.counts()).toEqual({ ...empty, inFlight: 1 });

    clock.advance(1_080_000);
    expect(await drain()).toEqual({ count: 1, problems: [] });
    expect((await listed()).map(({ body }) => body).toSorted()).toEqual(['first', 'second']);
  });

  it('stops at the first round that has a problem', async () => {
    await put(...Array.from({ length: 30 }, (_, index) => `message ${index}`));
    const failing = openDeadLetters(() => Promise.reject(new Error('down')));
    expect((await drain(failing)).problems).toHaveLength(10);
    expect(environment.queues.eventsDeadLetters.counts()).toEqual({ ...empty, visible: 20, inFlight: 10 });
  });

  it('stores a message once that could not be deleted', async () => {
    await put('twice');
    sqs.middlewareStack.add(
      (next, context) => async (args) => {
        if (context['commandName'] === 'DeleteMessageBatchCommand') throw new Error('not today');
        return next(args);
      },
      { step: 'initialize', name: 'refuseDeletion' },
    );
    const { count, problems } = await drain();
    sqs.middlewareStack.remove('refuseDeletion');
    expect(count).toBe(0);
    expect(problems.map(String)).toEqual([expect.stringContaining('not today')]);
    clock.advance(1_080_000);
    expect(await drain()).toEqual({ count: 1, problems: [] });
    expect(await listed()).toHaveLength(1);
  });

  it('tells of a queue that is not there, instead of failing its caller', async () => {
    const queueUrl = environment.variables.EVENTS_DEAD_LETTERS_QUEUE.replace(/[^/]+$/u, 'nobody');
    const { count, problems } = await drainDeadLetters({ sqs, queueUrl, deadLetters, reason });
    expect(count).toBe(0);
    expect(problems.map(String)).toEqual([expect.stringContaining('nobody')]);
  });
});

describe('drainWakeUps', () => {
  const drainInto = (send: (wakeUp: WakeUp) => Promise<void>) =>
    drainWakeUps({
      sqs,
      queueUrl: environment.variables.RETRIES_DEAD_LETTERS_QUEUE,
      // Of these three keys, the log has two.
      log: {
        statusOf: async ({ pk }) => (pk === 'h_1#0' ? 'succeeded' : pk === 'h_2#0' ? 'waiting' : null),
      },
      wakeUps: { send },
      now: clock.now,
    });
  const aCall = (pk: string) => ({ pk, sk: 'e', generation: 1 });

  it('throws dead wake-up calls away and counts them, but sends those again whose execution has succeeded', async () => {
    const { retriesDeadLetters } = environment.queues;
    const calls = ['h_1#0', 'h_2#0', 'h_3#0'].map((pk) => ({ body: JSON.stringify(aCall(pk)) }));
    // For these DynamoDB would have an error each time, and nothing behind them would ever be drained.
    const impossible = ['', '\u20ac'.repeat(400)].map((sk) => ({
      body: JSON.stringify({ ...aCall('h_1#0'), sk }),
    }));
    const nonsense = [{ body: '{"pk":"h_1#0"}' }, { body: 'nonsense' }];
    await retriesDeadLetters.send([...calls, ...impossible, ...nonsense]);
    const sent: WakeUp[] = [];
    const send = async (wakeUp: WakeUp) => void sent.push(wakeUp);
    expect(await drainInto(send)).toEqual({ count: 7, problems: [] });
    expect(sent).toEqual([aCall('h_1#0')]);
    expect(retriesDeadLetters.counts()).toEqual(empty);
    expect(await drainInto(send)).toEqual({ count: 0, problems: [] });
    expect(await listed()).toEqual([]);
  });

  it('keeps what it could not send, for the next run', async () => {
    const { retriesDeadLetters } = environment.queues;
    await retriesDeadLetters.send([{ body: JSON.stringify(aCall('h_1#0')) }]);
    const { count, problems } = await drainInto(() => Promise.reject(new Error('no sends today')));
    expect(count).toBe(0);
    expect(problems.map(({ message }) => message)).toEqual([expect.stringContaining('no sends today')]);
    clock.advance(1_080_000);
    expect(await drainInto(async () => undefined)).toEqual({ count: 1, problems: [] });
  });

  it('takes a bounded number in one run, and the rest in the next', async () => {
    const { retriesDeadLetters } = environment.queues;
    await retriesDeadLetters.send(Array.from({ length: maxDrained + 15 }, () => ({ body: '{}' })));
    const send = async () => undefined;
    expect(await drainInto(send)).toEqual({ count: maxDrained, problems: [] });
    expect(retriesDeadLetters.counts()).toEqual({ ...empty, visible: 15 });
    expect(await drainInto(send)).toEqual({ count: 15, problems: [] });
  });
});
