import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest';
import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { type EventSource, type EventSourceOptions, startEventSource } from '../../local/event-source.ts';
import { openQueues, type Queue, type Queues } from '../../local/queue.ts';
import { log } from '../../shared/log.ts';

const allGood: SQSBatchResponse = { batchItemFailures: [] };

let now: number;
let queues: Queues;
let queue: Queue;
let source: EventSource | undefined;
let logged: MockInstance;

beforeEach(() => {
  now = 1_700_000_000_000;
  queues = openQueues({ file: ':memory:', now: () => now });
  queue = queues.open('events', { visibilityTimeoutMs: 1_080_000 });
  logged = vi.spyOn(log, 'error').mockReturnValue();
});
afterEach(async () => {
  vi.useRealTimers();
  await source?.stop(0);
  source = undefined;
  queues.close();
  vi.restoreAllMocks();
});

type Call = {
  event: SQSEvent;
  context: Context;
  answer: (answer: SQSBatchResponse) => void;
  fail: (error: Error) => void;
};

/** A handler whose calls end when the test says so. */
function start(options: Partial<EventSourceOptions> = {}): Call[] {
  const calls: Call[] = [];
  source = startEventSource({
    queue,
    functionName: 'dispatcher',
    handler: (event, context) => {
      const { promise, resolve, reject } = Promise.withResolvers<SQSBatchResponse>();
      calls.push({ event, context, answer: resolve, fail: reject });
      return promise;
    },
    ...options,
  });
  return calls;
}

const callAt = (calls: readonly Call[], index: number): Call => {
  const call = calls[index];
  if (call === undefined) throw new Error(`There was no call ${index}.`);
  return call;
};
const send = (count: number): Promise<string[]> =>
  queue.send(Array.from({ length: count }, (_, index) => ({ body: `message ${index}` })));

describe('startEventSource', () => {
  it('hands an event to an idle function at once, as SQS shapes it', async () => {
    const calls = start();
    const [messageId] = await send(1);

    const { event, context } = callAt(calls, 0);
    expect(event.Records).toEqual([
      {
        messageId,
        receiptHandle: expect.any(String) as string,
        body: 'message 0',
        attributes: {
          ApproximateReceiveCount: '1',
          SentTimestamp: '1700000000000',
          SenderId: expect.any(String) as string,
          ApproximateFirstReceiveTimestamp: '1700000000000',
        },
        messageAttributes: {},
        md5OfBody: '4fce64326221d1a246dcc5557e824cf3',
        eventSource: 'aws:sqs',
        eventSourceARN: 'arn:aws:sqs:us-east-1:000000000000:events',
        awsRegion: 'us-east-1',
      },
    ]);
    expect(context.functionName).toBe('dispatcher');
    expect(context.getRemainingTimeInMillis()).toBeGreaterThan(179_000);
    expect(context.getRemainingTimeInMillis()).toBeLessThanOrEqual(180_000);
  });

  it('hands message attributes on, as SQS shapes them', async () => {
    const calls = start();
    await queue.send([{ body: 'again', attributes: { sentAt: '2026-11-23T10:00:00.000Z' } }]);
    expect(callAt(calls, 0).event.Records[0]?.messageAttributes).toEqual({
      sentAt: {
        dataType: 'String',
        stringValue: '2026-11-23T10:00:00.000Z',
        stringListValues: [],
        binaryListValues: [],
      },
    });
  });

  it('takes what was there before it started', async () => {
    await send(1);
    expect(start()).toHaveLength(1);
  });

  it('deletes what succeeded and hands back what failed, later each time', async () => {
    const calls = start();
    const ids = await send(3);
    callAt(calls, 0).answer({ batchItemFailures: [{ itemIdentifier: ids[1] ?? '' }] });
    await vi.waitFor(() => expect(queue.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 1 }));

    now += 4999;
    expect(queue.counts().visible).toBe(0);
    now += 1;
    const [again] = queue.receive(1);
    expect(again).toMatchObject({ messageId: ids[1], receiveCount: 2 });
  });

  it('waits 5 s after the first failure, twice as long after each more, and 15 min at most', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const setVisibility = vi.spyOn(queue, 'changeVisibility');
    const calls = start();
    await send(1);
    const waits: number[] = [];
    for (let index = 0; index < 10; index += 1) {
      callAt(calls, index).fail(new Error('broken'));
      await vi.waitFor(() => expect(setVisibility).toHaveBeenCalledTimes(index + 1));
      const [, seconds = 0] = setVisibility.mock.lastCall ?? [];
      waits.push(seconds);
      now += seconds * 1000;
      vi.advanceTimersByTime(seconds * 1000);
    }
    expect(waits).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
  });

  it.each<[string, unknown]>([
    ['an unknown id', { batchItemFailures: [{ itemIdentifier: 'nobody' }] }],
    ['an empty id', { batchItemFailures: [{ itemIdentifier: '' }] }],
    ['no id', { batchItemFailures: [{ identifier: 'x' }] }],
    ['a list that is none', { batchItemFailures: 'all' }],
    ['a text', 'fine'],
  ])('fails the whole batch for %s', async (_, answer) => {
    const calls = start();
    await send(2);
    callAt(calls, 0).answer(answer as SQSBatchResponse);
    await vi.waitFor(() => expect(queue.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 2 }));
  });

  it.each<[string, unknown]>([
    ['no answer', undefined],
    ['null', null],
    ['an empty object', {}],
    ['a null list', { batchItemFailures: null }],
    ['an empty list', allGood],
  ])('takes %s as success, as Lambda does', async (_, answer) => {
    const calls = start();
    await send(2);
    callAt(calls, 0).answer(answer as SQSBatchResponse);
    await vi.waitFor(() => expect(queue.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 }));
  });

  it('fails the whole batch when the function throws, also before its first await', async () => {
    source = startEventSource({
      queue,
      functionName: 'dispatcher',
      handler: () => {
        throw new Error('broken');
      },
    });
    await send(2);
    await vi.waitFor(() => expect(queue.counts().delayed).toBe(2));
    expect(logged).toHaveBeenCalledWith('batch.failed', expect.objectContaining({ messageCount: 2 }));
  });

  it('fails the batch of a function that runs for too long, and ignores what it answers then', async () => {
    const calls = start({ timeoutMs: 20 });
    await send(1);
    await vi.waitFor(() => expect(queue.counts().delayed).toBe(1));
    callAt(calls, 0).answer(allGood);
    await Promise.resolve();
    expect(queue.counts().delayed).toBe(1);
  });

  it('runs two batches of 50 side by side and the rest after them', async () => {
    const calls = start();
    await send(130);
    expect(calls.map(({ event }) => event.Records.length)).toEqual([50, 50]);
    callAt(calls, 0).answer(allGood);
    await vi.waitFor(() => expect(calls).toHaveLength(3));
    expect(callAt(calls, 2).event.Records).toHaveLength(30);
  });

  it('does not count a batch that waits for a slow target, up to 32 in all', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const calls = start({ batchSize: 1 });
    await send(40);
    expect(calls).toHaveLength(2);
    vi.advanceTimersByTime(149);
    expect(calls).toHaveLength(2);
    vi.advanceTimersByTime(1);
    expect(calls).toHaveLength(4);
    for (let step = 0; step < 20; step += 1) vi.advanceTimersByTime(150);
    expect(calls).toHaveLength(32);
    callAt(calls, 5).answer(allGood);
    await vi.waitFor(() => expect(calls).toHaveLength(33));
  });

  it('takes a batch for slow only when it takes three times as long as is usual', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const calls = start({ batchSize: 1, batches: 1 });
    await send(40);
    for (let batch = 0; batch < 30; batch += 1) {
      vi.advanceTimersByTime(100);
      callAt(calls, batch).answer(allGood);
      await vi.advanceTimersByTimeAsync(0);
      expect(calls).toHaveLength(batch + 2);
    }
    vi.advanceTimersByTime(200);
    expect(calls).toHaveLength(31);
    vi.advanceTimersByTime(200);
    expect(calls).toHaveLength(32);
  });

  it('survives a queue that cannot be read for a while', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const receive = vi.spyOn(queue, 'receive').mockImplementationOnce(() => {
      throw new Error('database or disk is full');
    });
    const calls = start();
    expect(receive).toHaveBeenCalledTimes(1);
    await send(1);
    expect(calls).toHaveLength(0);
    vi.advanceTimersByTime(1000);
    expect(calls).toHaveLength(1);
  });
});

describe('stop', () => {
  it('waits for what is under way and takes nothing more', async () => {
    const calls = start();
    await send(1);
    const stopped = source?.stop(5000);
    await send(1);
    callAt(calls, 0).answer(allGood);
    expect(await stopped).toBe(0);
    expect(calls).toHaveLength(1);
    expect(queue.counts()).toEqual({ visible: 1, inFlight: 0, delayed: 0 });
  });

  it('gives up on a batch after the grace and leaves it in flight', async () => {
    start();
    await send(2);
    expect(await source?.stop(10)).toBe(1);
    expect(queue.counts().inFlight).toBe(2);
  });
});
