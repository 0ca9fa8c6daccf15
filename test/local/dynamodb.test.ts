import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BatchWriteItemCommand,
  DescribeTableCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
} from '@aws-sdk/client-dynamodb';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type EmbeddedDynamoDb, startDynamoDb, tableNames } from '../../local/dynamodb.ts';

const clientOf = ({ endpoint, credentials }: EmbeddedDynamoDb): DynamoDBClient =>
  new DynamoDBClient({
    endpoint,
    region: 'us-east-1',
    credentials,
    maxAttempts: 1,
  });

describe('startDynamoDb in memory', () => {
  let dynamo: EmbeddedDynamoDb;
  let client: DynamoDBClient;
  beforeAll(async () => {
    dynamo = await startDynamoDb(null);
    client = clientOf(dynamo);
  });
  afterAll(async () => {
    client.destroy();
    await dynamo.stop(1000);
  });

  it.each([
    ['a client with any other key', { credentials: { accessKeyId: 'any', secretAccessKey: 'any' } }, {}],
    ['a page in a browser, whatever it knows', {}, { origin: 'https://evil.example' }],
  ])('answers nothing to %s', async (_, other, headers) => {
    const stranger = new DynamoDBClient({
      endpoint: dynamo.endpoint,
      region: 'us-east-1',
      credentials: dynamo.credentials,
      maxAttempts: 1,
      ...other,
    });
    stranger.middlewareStack.add(
      (next) => (args) => {
        Object.assign((args.request as { headers: object }).headers, headers);
        return next(args);
      },
      { step: 'build' },
    );
    await expect(
      stranger.send(new DescribeTableCommand({ TableName: tableNames.handlers })),
    ).rejects.toMatchObject({
      $metadata: { httpStatusCode: 403 },
    });
    stranger.destroy();
  });

  it('lets no page in', async () => {
    const answer = await fetch(dynamo.endpoint, {
      method: 'OPTIONS',
      headers: { origin: 'https://evil.example' },
    });
    expect(answer.status).toBe(403);
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('has both tables with their keys', async () => {
    const { Table: handlers } = await client.send(
      new DescribeTableCommand({ TableName: tableNames.handlers }),
    );
    expect(handlers?.KeySchema).toEqual([
      { AttributeName: 'pk', KeyType: 'HASH' },
      { AttributeName: 'sk', KeyType: 'RANGE' },
    ]);
    const { Table: executions } = await client.send(
      new DescribeTableCommand({ TableName: tableNames.executions }),
    );
    expect(executions?.TableStatus).toBe('ACTIVE');
    expect(executions?.BillingModeSummary?.BillingMode).toBe('PAY_PER_REQUEST');
    expect(executions?.GlobalSecondaryIndexes).toMatchObject([
      {
        IndexName: 'attention',
        KeySchema: [
          { AttributeName: 'attention', KeyType: 'HASH' },
          { AttributeName: 'attentionKey', KeyType: 'RANGE' },
        ],
        Projection: { ProjectionType: 'KEYS_ONLY' },
      },
    ]);
  });

  it('has room for two batches at once of 25 items of 260 KB', async () => {
    const event = { B: Buffer.alloc(260 * 1024) };
    const writes = Array.from({ length: 2 }, (_, batch) =>
      client.send(
        new BatchWriteItemCommand({
          RequestItems: {
            [tableNames.executions]: Array.from({ length: 25 }, (__, index) => ({
              PutRequest: { Item: { pk: { S: `p${batch}` }, sk: { S: String(index) }, event } },
            })),
          },
        }),
      ),
    );
    for (const { UnprocessedItems } of await Promise.all(writes)) expect(UnprocessedItems).toEqual({});
  });

  it('outlives a client that breaks off in the middle of a request', async () => {
    const socket = connect(Number(new URL(dynamo.endpoint).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 9\r\n\r\n{',
    );
    socket.resetAndDestroy();
    await once(socket, 'close');
    await client.send(new DescribeTableCommand({ TableName: tableNames.handlers }));
  });
});

describe('startDynamoDb in a folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'handoff-dynamodb-'));
  const running: EmbeddedDynamoDb[] = [];
  const start = async (): Promise<EmbeddedDynamoDb> => {
    const dynamo = await startDynamoDb(folder);
    running.push(dynamo);
    return dynamo;
  };
  afterEach(async () => {
    for (const dynamo of running.splice(0)) await dynamo.stop(1000);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('has its items again after a restart', async () => {
    const first = await start();
    const item = { pk: { S: 'HANDLER' }, sk: { S: 'h_1' }, name: { S: 'CRM sync' } };
    await clientOf(first).send(new PutItemCommand({ TableName: tableNames.handlers, Item: item }));
    await first.stop(1000);

    const second = clientOf(await start());

    const { Item } = await second.send(
      new GetItemCommand({ TableName: tableNames.handlers, Key: { pk: item.pk, sk: item.sk } }),
    );
    expect(Item).toEqual(item);
  });

  it('tells a second opener so', async () => {
    await start();
    await expect(startDynamoDb(folder)).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining('another engine is using the folder') as string,
    });
  });

  it('ends its thread and its port when stopped, and does not call that a failure', async () => {
    const dynamo = await start();
    let isFailed = false;
    void dynamo.failed.then(() => (isFailed = true));
    await dynamo.stop(1000);
    await expect(fetch(dynamo.endpoint)).rejects.toThrow();
    expect(isFailed).toBe(false);
  });
});
