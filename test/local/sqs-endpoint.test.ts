import { hash } from 'node:crypto';
import {
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  type ReceiveMessageCommandInput,
  SendMessageBatchCommand,
  type SendMessageBatchRequestEntry,
  SendMessageCommand,
  type SendMessageCommandInput,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { maxMessageBytes, openQueues, type Queue, type Queues } from '../../local/queue.ts';
import { type ListeningServer, listen } from '../../local/server.ts';
import { createSqsEndpoint, queueUrl } from '../../local/sqs-endpoint.ts';
import { log } from '../../shared/log.ts';

const accessKeyId = 'key-of-this-start';
const sentAt = { DataType: 'String', StringValue: '2026-11-23T10:00:00.000Z' };

let now: number;
let queues: Queues;
let queue: Queue;
let dead: Queue;
let server: ListeningServer;
let QueueUrl: string;
let client: SQSClient;

const openClient = (key: string): SQSClient =>
  new SQSClient({
    endpoint: `http://127.0.0.1:${server.port}`,
    region: 'us-east-1',
    credentials: { accessKeyId: key, secretAccessKey: 'any' },
    maxAttempts: 1,
  });

beforeEach(async () => {
  now = 1_700_000_000_000;
  queues = openQueues({ file: ':memory:', now: () => now });
  dead = queues.open('events-dead-letters', { visibilityTimeoutMs: 60_000 });
  queue = queues.open('events', {
    visibilityTimeoutMs: 60_000,
    deadLetters: { queue: 'events-dead-letters', maxReceiveCount: 1 },
  });
  const byName = new Map([queue, dead].map((each) => [each.name, each]));
  server = await listen('127.0.0.1', 0, createSqsEndpoint({ queues: byName, accessKeyId }));
  QueueUrl = queueUrl(server.port, 'events');
  client = openClient(accessKeyId);
});
afterEach(async () => {
  client.destroy();
  await server.close(0);
  queues.close();
});

const send = (input: Partial<SendMessageCommandInput> = {}) =>
  client.send(new SendMessageCommand({ QueueUrl, MessageBody: 'a', ...input }));
const sendBatch = (...Entries: SendMessageBatchRequestEntry[]) =>
  client.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
const receive = (input: Partial<ReceiveMessageCommandInput> = {}) =>
  client.send(new ReceiveMessageCommand({ QueueUrl, ...input }));
const entries = (count: number): SendMessageBatchRequestEntry[] =>
  Array.from({ length: count }, (_, index) => ({ Id: String(index), MessageBody: `message ${index}` }));
const bodies = (): string[] => queue.receive(100).map(({ body }) => body);
const nameOf = (operation: Promise<unknown>): Promise<unknown> =>
  operation.then(
    () => null,
    (error: Error) => error.name,
  );

/** A call of the wire protocol, for what the SDK does not let through. */
const post = (body: string, headers: Record<string, string> = {}, path = '/'): Promise<Response> =>
  fetch(`http://127.0.0.1:${server.port}${path}`, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': 'AmazonSQS.SendMessage',
      authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20261123/us-east-1/sqs/aws4_request, Signature=0`,
      ...headers,
    },
  });

describe('SendMessage', () => {
  it('has the message in the queue when it answers, with the checksum that the SDK verifies', async () => {
    const MessageBody = '{"text":"\u0000 é \u{1f600} \u2028"}';
    const { MessageId, MD5OfMessageBody } = await send({ MessageBody, MessageAttributes: { sentAt } });
    expect(MD5OfMessageBody).toBe(hash('md5', MessageBody));
    expect(queue.receive(10)).toMatchObject([
      { messageId: MessageId, body: MessageBody, attributes: { sentAt: sentAt.StringValue } },
    ]);
  });

  it('delays', async () => {
    await send({ DelaySeconds: 900 });
    expect(queue.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 1 });
    now += 900_000;
    expect(bodies()).toEqual(['a']);
  });

  it('takes 1 MB with its attributes, and no more', async () => {
    const most = 'x'.repeat(maxMessageBytes - 'sentAtString2026-11-23T10:00:00.000Z'.length);
    await send({ MessageBody: most, MessageAttributes: { sentAt } });
    expect(bodies()).toEqual([most]);
    await expect(send({ MessageBody: `${most}x`, MessageAttributes: { sentAt } })).rejects.toMatchObject({
      name: 'InvalidParameterValue',
      message: expect.stringContaining(`at most ${maxMessageBytes}`) as string,
    });
  });

  it.each<[string, Partial<SendMessageCommandInput>, string]>([
    ['no body', { MessageBody: undefined }, 'MissingParameter'],
    ['an empty body', { MessageBody: '' }, 'MissingParameter'],
    ['half a surrogate pair', { MessageBody: '\ud800' }, 'InvalidMessageContents'],
    ['a delay of more than 15 minutes', { DelaySeconds: 901 }, 'InvalidParameterValue'],
    ['a delay before now', { DelaySeconds: -1 }, 'InvalidParameterValue'],
    ['half a second', { DelaySeconds: 0.5 }, 'InvalidParameterValue'],
    ['an empty attribute', { MessageAttributes: { a: { DataType: 'String' } } }, 'InvalidParameterValue'],
    [
      'an attribute of another type',
      { MessageAttributes: { a: { DataType: 'Number', StringValue: '1' } } },
      'InvalidParameterValue',
    ],
    ['a name that none can have', { MessageAttributes: { 'sent at': sentAt } }, 'InvalidParameterValue'],
    ['no queue', { QueueUrl: '' }, 'MissingParameter'],
  ])('refuses %s', async (_, input, name) => {
    await expect(send(input)).rejects.toMatchObject({
      name,
      message: expect.stringMatching(/./u) as string,
      $metadata: { httpStatusCode: 400 },
    });
    expect(queue.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
  });

  it.each([
    'http://127.0.0.1/000000000000/nobody',
    'http://127.0.0.1/999999999999/events',
    'http://127.0.0.1/000000000000/events-dead-letters-not',
    'http://127.0.0.1/',
    'events',
  ])('says of %s that there is no such queue', async (url) => {
    const answer = await post(JSON.stringify({ QueueUrl: url, MessageBody: 'a' }));
    expect(answer.status).toBe(400);
    expect(answer.headers.get('x-amzn-query-error')).toBe('AWS.SimpleQueueService.NonExistentQueue;Sender');
    expect(await answer.json()).toMatchObject({ __type: 'com.amazonaws.sqs#QueueDoesNotExist' });
    await expect(send({ QueueUrl: queueUrl(server.port, 'nobody') })).rejects.toMatchObject({
      name: 'QueueDoesNotExist',
      Error: { Code: 'AWS.SimpleQueueService.NonExistentQueue' },
    });
  });

  it('answers 500, which SDKs try again, when the message cannot be stored', async () => {
    const logged = vi.spyOn(log, 'error').mockReturnValue();
    queues.close();
    await expect(send()).rejects.toMatchObject({
      name: 'InternalFailure',
      $metadata: { httpStatusCode: 500 },
    });
    expect(logged).toHaveBeenCalledTimes(1);
  });
});

describe('SendMessageBatch', () => {
  it('stores ten messages in their order, in one commit', async () => {
    const sends = vi.spyOn(queue, 'send');
    const { Successful = [], Failed } = await sendBatch(...entries(10));
    expect(Failed ?? []).toEqual([]);
    expect(sends).toHaveBeenCalledTimes(1);
    const messages = queue.receive(10);
    expect(messages.map(({ body }) => body)).toEqual(entries(10).map(({ MessageBody }) => MessageBody));
    expect(Successful.map(({ Id, MessageId }) => [Id, MessageId])).toEqual(
      messages.map(({ messageId }, index) => [String(index), messageId]),
    );
  });

  it('tells which entries failed, and why, and stores the others', async () => {
    const { Successful, Failed } = await sendBatch(
      { Id: 'good', MessageBody: 'good', MessageAttributes: { sentAt } },
      { Id: 'late', MessageBody: 'x', DelaySeconds: 901 },
      { Id: 'fraction', MessageBody: 'x', DelaySeconds: 1.5 },
      { Id: 'empty', MessageBody: '' },
      { Id: 'cut', MessageBody: '\udc00' },
      { Id: 'number', MessageBody: 'x', MessageAttributes: { a: { DataType: 'Number', StringValue: '1' } } },
      { Id: 'delayed', MessageBody: 'delayed', DelaySeconds: 1 },
    );
    expect(Successful?.map(({ Id }) => Id)).toEqual(['good', 'delayed']);
    expect(Failed).toEqual(
      [
        ['late', 'InvalidParameterValue'],
        ['fraction', 'InvalidParameterValue'],
        ['empty', 'MissingParameter'],
        ['cut', 'InvalidMessageContents'],
        ['number', 'InvalidParameterValue'],
      ].map(([Id, Code]) => ({
        Id,
        Code,
        Message: expect.stringMatching(/./u) as string,
        SenderFault: true,
      })),
    );
    expect(queue.counts()).toEqual({ visible: 1, inFlight: 0, delayed: 1 });
  });

  it('answers with failures alone when nothing was good', async () => {
    const { Successful = [], Failed } = await sendBatch({ Id: 'a', MessageBody: 'x', DelaySeconds: -1 });
    expect([Successful, Failed?.map(({ Id }) => Id)]).toEqual([[], ['a']]);
  });

  it('has the limit of one message for all of them together, attributes included', async () => {
    const half = 'x'.repeat(maxMessageBytes / 2);
    await sendBatch({ Id: 'a', MessageBody: half }, { Id: 'b', MessageBody: half });
    expect(bodies()).toHaveLength(2);
    for (const batch of [
      [
        { Id: 'a', MessageBody: half },
        { Id: 'b', MessageBody: half, MessageAttributes: { sentAt } },
      ],
      [
        { Id: 'a', MessageBody: `${half}${half}x` },
        { Id: 'b', MessageBody: 'small' },
      ],
    ]) {
      expect(await nameOf(sendBatch(...batch))).toBe('BatchRequestTooLong');
    }
    expect(bodies()).toEqual([]);
  });

  it.each<[string, SendMessageBatchRequestEntry[], string]>([
    ['no entries', [], 'EmptyBatchRequest'],
    ['eleven', entries(11), 'TooManyEntriesInBatchRequest'],
    ['an id twice', [...entries(2), ...entries(1)], 'BatchEntryIdsNotDistinct'],
    ['an empty id', [{ Id: '', MessageBody: 'a' }], 'InvalidBatchEntryId'],
    ['an id with a dot', [{ Id: 'a.b', MessageBody: 'a' }], 'InvalidBatchEntryId'],
  ])('refuses %s as a whole, as SQS does', async (_, batch, name) => {
    expect(await nameOf(sendBatch(...batch))).toBe(name);
    expect(bodies()).toEqual([]);
  });
});

describe('ReceiveMessage', () => {
  it('gives one message unless more are asked for, and none when there are none', async () => {
    await sendBatch(...entries(3));
    expect((await receive()).Messages?.map(({ Body }) => Body)).toEqual(['message 0']);
    expect((await receive({ MaxNumberOfMessages: 10 })).Messages?.map(({ Body }) => Body)).toEqual([
      'message 1',
      'message 2',
    ]);
    expect((await receive({ WaitTimeSeconds: 20 })).Messages).toBeUndefined();
  });

  it('shows the attributes that were asked for', async () => {
    const messageIds = await queue.send([
      { body: 'a', attributes: { sentAt: sentAt.StringValue, 'error.code': '1', 'error.text': '2' } },
    ]);
    queue.receive(1);
    now += 60_000;
    expect(queue.receive(1)).toEqual([]);
    const inDead = { QueueUrl: queueUrl(server.port, 'events-dead-letters') };
    const system = {
      SentTimestamp: '1700000000000',
      ApproximateFirstReceiveTimestamp: '1700000060000',
      SenderId: expect.any(String) as string,
      DeadLetterQueueSourceArn: 'arn:aws:sqs:us-east-1:000000000000:events',
    };
    const asked: [Partial<ReceiveMessageCommandInput>, object | undefined, string[]][] = [
      [{}, undefined, []],
      [{ MessageSystemAttributeNames: ['All'] }, { ...system, ApproximateReceiveCount: '2' }, []],
      [{ AttributeNames: ['All'] }, { ...system, ApproximateReceiveCount: '3' }, []],
      [
        { MessageSystemAttributeNames: ['SentTimestamp'], MessageAttributeNames: ['sentAt', 'none'] },
        { SentTimestamp: system.SentTimestamp },
        ['sentAt'],
      ],
      [{ MessageAttributeNames: ['error.*'] }, undefined, ['error.code', 'error.text']],
      [{ MessageAttributeNames: ['All'] }, undefined, ['sentAt', 'error.code', 'error.text']],
      [{ MessageAttributeNames: ['.*'] }, undefined, ['sentAt', 'error.code', 'error.text']],
    ];
    for (const [input, attributes, names] of asked) {
      const { Messages: [message] = [] } = await receive({ ...inDead, ...input });
      expect(message?.MessageId).toBe(messageIds[0]);
      expect(message?.Attributes).toEqual(attributes);
      expect(Object.keys(message?.MessageAttributes ?? {})).toEqual(names);
      if (names.includes('sentAt')) expect(message?.MessageAttributes?.['sentAt']).toEqual(sentAt);
      now += 60_000;
    }
  });

  it.each<[string, Partial<ReceiveMessageCommandInput>, string]>([
    ['none', { MaxNumberOfMessages: 0 }, 'InvalidParameterValue'],
    ['more than ten', { MaxNumberOfMessages: 11 }, 'InvalidParameterValue'],
    [
      'a visibility of its own, which the queue would not keep',
      { VisibilityTimeout: 1 },
      'UnsupportedOperation',
    ],
    ['no queue', { QueueUrl: '' }, 'MissingParameter'],
  ])('refuses %s', async (_, input, name) => {
    await queue.send([{ body: 'a' }]);
    expect(await nameOf(receive(input))).toBe(name);
    expect(queue.counts().visible).toBe(1);
  });
});

describe('DeleteMessage and DeleteMessageBatch', () => {
  it('forget a message, and do nothing for a stale receipt', async () => {
    await sendBatch(...entries(3));
    const { Messages = [] } = await receive({ MaxNumberOfMessages: 10 });
    const [first = '', second = '', third = ''] = Messages.map(({ ReceiptHandle }) => ReceiptHandle ?? '');
    await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: first }));
    await client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: first }));
    expect(queue.counts().inFlight).toBe(2);
    const { Successful, Failed } = await client.send(
      new DeleteMessageBatchCommand({
        QueueUrl,
        Entries: [
          { Id: 'a', ReceiptHandle: second },
          { Id: 'b', ReceiptHandle: 'nonsense' },
          { Id: 'c', ReceiptHandle: third },
          { Id: 'd', ReceiptHandle: '' },
        ],
      }),
    );
    expect(Successful?.map(({ Id }) => Id)).toEqual(['a', 'c']);
    expect(Failed?.map(({ Id, Code }) => [Id, Code])).toEqual([
      ['b', 'ReceiptHandleIsInvalid'],
      ['d', 'MissingParameter'],
    ]);
    expect(queue.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
  });

  it('refuse what no receipt can be', async () => {
    const deletion = (ReceiptHandle: string) =>
      client.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
    expect(await nameOf(deletion('nonsense'))).toBe('ReceiptHandleIsInvalid');
    expect(await nameOf(deletion(''))).toBe('MissingParameter');
  });
});

describe('the caller', () => {
  it('must have the key of this start', async () => {
    await expect(
      openClient('another').send(new SendMessageCommand({ QueueUrl, MessageBody: 'a' })),
    ).rejects.toMatchObject({ name: 'InvalidClientTokenId', $metadata: { httpStatusCode: 403 } });
    expect((await post('{}', { authorization: '' })).status).toBe(403);
    expect(bodies()).toEqual([]);
  });

  it('may not be a web page', async () => {
    const answer = await post(JSON.stringify({ QueueUrl, MessageBody: 'a' }), { origin: 'http://127.0.0.1' });
    expect(answer.status).toBe(403);
    expect(bodies()).toEqual([]);
  });

  it('may do nothing else', async () => {
    expect(await nameOf(client.send(new GetQueueUrlCommand({ QueueName: 'events' })))).toBe(
      'UnknownOperationException',
    );
    const body = JSON.stringify({ QueueUrl, MessageBody: 'a' });
    for (const answer of [
      await post(body, {}, '/000000000000/events'),
      await post(body, { 'x-amz-target': 'AWSEvents.PutEvents' }),
    ]) {
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ __type: 'com.amazonaws.sqs#UnknownOperationException' });
    }
    expect(bodies()).toEqual([]);
  });

  it.each([
    '',
    '{',
    '[]',
    '"x"',
    'null',
    '{"QueueUrl":1}',
    '{"MessageBody":["a"]}',
    '{"DelaySeconds":"5"}',
    '{"MessageAttributes":[]}',
    '{"MessageAttributes":{"a":"x"}}',
  ])('is told that %j is not a request', async (body) => {
    const answer = await post(body);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({
      __type: 'com.amazonaws.sqs#SerializationException',
      message: expect.stringMatching(/./u) as string,
    });
  });

  it('may say null for what it leaves out', async () => {
    const answer = await post(
      JSON.stringify({ QueueUrl, MessageBody: 'a', DelaySeconds: null, MessageAttributes: null }),
    );
    expect(answer.status).toBe(200);
    expect(bodies()).toEqual(['a']);
  });

  it('is not read on after 8 MB', async () => {
    const answer = await post(`{"MessageBody":"${'x'.repeat(9_000_000)}"}`);
    expect(answer.status).toBe(413);
  });
});
