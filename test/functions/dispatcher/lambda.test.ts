import { randomUUID } from 'node:crypto';
import type { Context, SQSRecord } from 'aws-lambda';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { anEvent } from '../../support/builders.ts';
import { startReceiver } from '../../support/http-server.ts';
import { captureLog } from '../log-lines.ts';
import { startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
});
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
    await using receiver = await startReceiver();
    await dispatcher.register({ target: { url: receiver.url, timeoutMs: 1000 } });
    const slow = await dispatcher.register({
      events: ['client.update'],
      target: { url: receiver.url, timeoutMs: 30_000 },
    });
    const handler = await coldHandler();
    const lines = captureLog();

    const records = [aRecord(anEvent()), aRecord('no JSON'), aRecord(anEvent({ type: 'client.update' }), 3)];
    const answer = await handler({ Records: records }, context(20_000));
    expect(answer).toEqual({ batchItemFailures: [{ itemIdentifier: records[2]?.messageId }] });
    expect(receiver.requests).toHaveLength(1);
    expect(await dispatcher.logOf(slow)).toEqual([]);
    expect(await dispatcher.deadLetters()).toMatchObject([{ id: records[1]?.messageId, body: 'no JSON' }]);

    expect(lines).toMatchObject([
      {
        level: 'ERROR',
        message: 'batch.dispatched',
        messages: 3,
        failedMessageIds: [records[2]?.messageId],
        deadLetters: 1,
        repeated: 0,
        executions: { succeeded: 1, failed: 0, waiting: 0, held: 0 },
        problems: ['Error: The deadline of the batch was too near for the rest of the event.'],
      },
    ]);
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
