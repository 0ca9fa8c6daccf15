import { randomUUID } from 'node:crypto';
import type { Context, SQSRecord } from 'aws-lambda';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { anEvent } from '../../support/builders.ts';
import { startReceiver } from '../../support/http-server.ts';
import { captureLog } from '../log-lines.ts';
import { startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
});
afterEach(() => dispatcher.clear());
afterAll(() => dispatcher[Symbol.asyncDispose]());

const aRecord = (body: string, receives = 1): SQSRecord => ({
  messageId: randomUUID(),
  receiptHandle: 'handle',
  body,
  attributes: {
    ApproximateReceiveCount: String(receives),
    SentTimestamp: String(Date.parse('2026-11-23T10:00:01Z')),
    SenderId: 'AIDAEXAMPLE',
    ApproximateFirstReceiveTimestamp: String(Date.parse('2026-11-23T10:00:02Z')),
  },
  messageAttributes: {},
  md5OfBody: '',
  eventSource: 'aws:sqs',
  eventSourceARN: 'arn:aws:sqs:us-east-1:000000000000:events',
  awsRegion: 'us-east-1',
});

const context = (remainingMs: number) => ({ getRemainingTimeInMillis: () => remainingMs }) as Context;

/** A new copy of the function, as a cold environment has it, with its variables set. */
async function coldHandler(variables: Record<string, string> = dispatcher.variables) {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  vi.resetModules();
  const { handler } = await import('../../../functions/dispatcher/lambda.ts');
  return handler;
}

describe('handler', () => {
  it('answers which messages must come back, and logs one line about the batch', async () => {
    await using receiver = await startReceiver(({ path }, response) => {
      response.writeHead(path === '/broken' ? 500 : 200).end();
    });
    await dispatcher.register({ target: { url: receiver.url } });
    const broken = await dispatcher.register({
      events: ['client.update'],
      target: { url: `${receiver.url}/broken` },
    });
    dispatcher.wire.refuse(({ operation }) => operation === 'PutItem');
    const handler = await coldHandler();
    const lines = captureLog();

    const records = [aRecord(anEvent()), aRecord(anEvent({ type: 'client.update' }), 3)];
    const answer = await handler({ Records: records }, context(180_000));
    expect(answer).toEqual({ batchItemFailures: [{ itemIdentifier: records[1]?.messageId }] });
    expect(receiver.requests).toHaveLength(2);
    expect(await dispatcher.logOf(broken)).toEqual([]);

    expect(lines).toMatchObject([
      {
        level: 'ERROR',
        message: 'batch.dispatched',
        messages: 2,
        failedMessageIds: [records[1]?.messageId],
        deadLetters: 0,
        putOff: 0,
        repeated: 0,
        executions: { succeeded: 1, failed: 0, waiting: 0, held: 0 },
        problems: [expect.stringContaining('AccessDenied')],
      },
    ]);
  });

  it('records what is no event, and takes it as done', async () => {
    const handler = await coldHandler();
    const lines = captureLog();
    const record = aRecord('no JSON');
    expect(await handler({ Records: [record] }, context(180_000))).toEqual({ batchItemFailures: [] });
    expect(await dispatcher.deadLetters()).toMatchObject([{ id: record.messageId, body: 'no JSON' }]);
    expect(lines).toMatchObject([{ message: 'batch.dispatched', deadLetters: 1 }]);
  });

  it('takes the time at which an event was sent first from the message, when it was sent again', async () => {
    await using receiver = await startReceiver();
    const { id } = await dispatcher.register({ target: { url: receiver.url } });
    const handler = await coldHandler();
    captureLog();
    // Its own time is far off, so the hour in which it was first sent is its place in the log.
    const record = {
      ...aRecord(anEvent({ id: 'e-1', time: '2001-01-01T00:00:00Z' })),
      messageAttributes: {
        sentAt: { dataType: 'String' as const, stringValue: '2026-11-22T07:30:00.000Z' },
      },
    };
    await handler({ Records: [record] }, context(180_000));
    expect((await dispatcher.logOf({ id }))[0]?.key.sk).toBe('2026-11-22T07:00:00.000Z#e-1');
  });

  it('answers with no failures at all when everything went well', async () => {
    const handler = await coldHandler();
    captureLog();
    expect(
      await handler({ Records: [aRecord(anEvent({ type: 'account.create' }))] }, context(180_000)),
    ).toEqual({
      batchItemFailures: [],
    });
  });

  it('names every variable that is missing', async () => {
    const handler = await coldHandler({
      HANDLERS_TABLE: '',
      EXECUTIONS_TABLE: 'executions',
      DATA_KEY: 'secret',
    });
    await expect(handler({ Records: [] }, context(180_000))).rejects.toThrow(
      /HANDLERS_TABLE: .*; DATA_KEY: must be file:<path> or the ARN of a KMS key/u,
    );
  });
});
