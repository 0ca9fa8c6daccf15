import { SQSClient, type SendMessageBatchCommandInput } from '@aws-sdk/client-sqs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { maxEventBytes } from '../../../shared/events/envelope.ts';
import { createEventRequeue, type EventRequeue } from '../../../shared/executions/requeue.ts';
import { startEnvironment, type Environment } from '../../functions/environment.ts';
import { anEvent } from '../../support/builders.ts';

const sentAt = new Date('2026-11-23T10:00:00.123Z');

let environment: Environment;
let sqs: SQSClient;
let requeue: EventRequeue;
beforeAll(async () => {
  environment = await startEnvironment();
  sqs = new SQSClient({ maxAttempts: 1 });
  requeue = createEventRequeue({ sqs, queueUrl: environment.variables.EVENTS_QUEUE });
});
afterEach(() => environment.clear());
afterAll(async () => {
  sqs.destroy();
  await environment[Symbol.asyncDispose]();
});

/** The batches that were sent, each as the ids of its entries. */
function watchBatches(): () => string[][] {
  const send = vi.spyOn(sqs, 'send');
  return () =>
    send.mock.calls.map(([{ input }]) =>
      ((input as SendMessageBatchCommandInput).Entries ?? []).map(({ Id = '' }) => Id),
    );
}
const ofBytes = (bytes: number) => ({ body: 'x'.repeat(bytes), sentAt });
const received = () => environment.queues.events.receive(100);

describe('createEventRequeue', () => {
  it('puts an event on the queue as it came, with the time when the queue first took it', async () => {
    const body = `${anEvent({ detail: { data: 'é \u{1f600}' } })} `;
    expect(await requeue([{ body, sentAt }])).toEqual({ unsent: [] });
    expect(received()).toMatchObject([{ body, attributes: { sentAt: '2026-11-23T10:00:00.123Z' } }]);
  });

  it('sends nothing for nothing', async () => {
    const batches = watchBatches();
    expect(await requeue([])).toEqual({ unsent: [] });
    expect(batches()).toEqual([]);
  });

  it('sends ten at a time', async () => {
    const batches = watchBatches();
    const events = Array.from({ length: 25 }, (_, index) => ({ body: `event ${index}`, sentAt }));
    expect(await requeue(events)).toEqual({ unsent: [] });
    expect(batches().map((ids) => ids.length)).toEqual([10, 10, 5]);
    expect(new Set(received().map(({ body }) => body))).toEqual(new Set(events.map(({ body }) => body)));
  });

  it('fills a batch up to 1 MB with the attributes, and no more', async () => {
    const batches = watchBatches();
    const half = maxEventBytes / 2 - 'sentAtString2026-11-23T10:00:00.123Z'.length;
    const events = [ofBytes(half), ofBytes(half), ofBytes(half), ofBytes(half + 1), ofBytes(1)];
    expect(await requeue(events)).toEqual({ unsent: [] });
    expect(batches()).toEqual([['0', '1'], ['2'], ['3', '4']]);
    expect(received()).toHaveLength(5);
  });

  it('leaves the attribute out where the event would not fit beside it', async () => {
    const most = maxEventBytes - 'sentAtString2026-11-23T10:00:00.123Z'.length;
    expect(await requeue([ofBytes(most), ofBytes(most + 1), ofBytes(maxEventBytes)])).toEqual({ unsent: [] });
    const attributes = new Map(received().map((message) => [message.body.length, message.attributes]));
    expect(attributes).toEqual(
      new Map([
        [most, { sentAt: sentAt.toISOString() }],
        [most + 1, {}],
        [maxEventBytes, {}],
      ]),
    );
  });

  it('tells which events the queue cannot take, and sends the others', async () => {
    const good = { body: 'good', sentAt };
    const { unsent } = await requeue([
      good,
      { body: '', sentAt },
      { body: '\ud800', sentAt },
      good,
      ofBytes(maxEventBytes + 1),
    ]);
    expect(unsent.map(({ index, error }) => [index, error.message])).toEqual([
      [1, expect.stringContaining('0 bytes')],
      [2, expect.stringContaining('InvalidMessageContents')],
      [4, expect.stringContaining('1048577 bytes')],
    ]);
    expect(received().map(({ body }) => body)).toEqual(['good', 'good']);
  });

  it('tells of a batch that failed as a whole, and sends the others', async () => {
    let calls = 0;
    sqs.middlewareStack.add(
      (next) => async (args) => {
        calls += 1;
        if (calls === 2) throw new Error('not today');
        return next(args);
      },
      { step: 'initialize', name: 'failSecond' },
    );
    const events = Array.from({ length: 21 }, (_, index) => ({ body: `event ${index}`, sentAt }));
    const { unsent } = await requeue(events);
    sqs.middlewareStack.remove('failSecond');
    expect(unsent.map(({ index }) => index)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    expect(unsent[0]?.error).toMatchObject({
      message: expect.stringContaining('not today') as string,
      cause: expect.any(Error) as Error,
    });
    expect(received()).toHaveLength(11);
  });
});
