import { randomUUID } from 'node:crypto';
import type { Context, SQSRecord } from 'aws-lambda';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { startReceiver } from '../../support/http-server.ts';
import { captureLog } from '../log-lines.ts';
import { startLane } from './lane.ts';

// Behind the clock of this machine, by which the function goes: what it finds is due.
const lane = await startLane('2026-11-22T10:00:00.000Z');
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const context = { getRemainingTimeInMillis: () => 180_000 } as Context;

async function coldHandler() {
  for (const [name, value] of Object.entries(lane.variables)) vi.stubEnv(name, value);
  vi.resetModules();
  const { handler } = await import('../../../functions/retrier/lambda.ts');
  return handler;
}

const aRecord = (body: string): SQSRecord => ({
  messageId: randomUUID(),
  receiptHandle: 'handle',
  body,
  attributes: {
    ApproximateReceiveCount: '1',
    SentTimestamp: String(Date.parse('2026-11-22T10:00:00Z')),
    SenderId: 'AIDAEXAMPLE',
    ApproximateFirstReceiveTimestamp: String(Date.parse('2026-11-22T10:00:01Z')),
  },
  messageAttributes: {},
  md5OfBody: '',
  eventSource: 'aws:sqs',
  eventSourceARN: 'arn:aws:sqs:us-east-1:000000000000:retries',
  awsRegion: 'us-east-1',
});

describe('handler', () => {
  it('makes the attempts that it is called for, and logs one line about the batch', async () => {
    let up = false;
    await using receiver = await startReceiver(
      (_, response) => void response.writeHead(up ? 200 : 503).end(),
    );
    const { id } = await lane.register({ target: { url: receiver.url }, retry: { schedule: [1] } });
    await lane.dispatch();
    up = true;
    const [record] = await lane.logOf({ id });
    const wakeUp = aRecord(JSON.stringify({ ...record?.key, generation: 1 }));
    const handler = await coldHandler();
    const lines = captureLog();

    expect(await handler({ Records: [wakeUp, aRecord('{}')] }, context)).toEqual({ batchItemFailures: [] });

    expect((await lane.logOf({ id }))[0]).toMatchObject({ state: { status: 'succeeded' }, attemptCount: 2 });
    expect(lines).toMatchObject([
      {
        level: 'INFO',
        message: 'batch.retried',
        messages: 2,
        deadLetters: 1,
        stale: 0,
        putOff: 0,
        executions: { succeeded: 1, failed: 0, waiting: 0, held: 0 },
        problems: [],
      },
    ]);
  });

  it('answers which messages must come back', async () => {
    const handler = await coldHandler();
    const lines = captureLog();
    lane.wire.refuse(({ operation }) => operation === 'GetItem');
    const record = aRecord(
      JSON.stringify({ pk: 'h_1#0', sk: '2026-11-22T10:00:00.000Z#e-1', generation: 1 }),
    );
    expect(await handler({ Records: [record] }, context)).toEqual({
      batchItemFailures: [{ itemIdentifier: record.messageId }],
    });
    expect(lines).toMatchObject([{ level: 'ERROR', problems: [expect.stringContaining('AccessDenied')] }]);
  });
});
