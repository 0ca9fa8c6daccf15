import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateTableCommand, DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient, PutCommand, QueryCommand, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { ClassicLevel } from 'classic-level';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import '../../local/closed-iterators.ts';
import dynalite from 'dynalite';

const level = ClassicLevel.prototype as unknown as Record<
  '_values',
  (this: unknown, ...args: never[]) => { _close: () => Promise<void> }
>;
const { _values: values } = level;
let opened = 0;
let closed = 0;

const folder = await mkdtemp(join(tmpdir(), 'handoff-iterators-'));
const server = dynalite({ path: folder, createTableMs: 0 });
let client: DynamoDBDocumentClient;

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  client = DynamoDBDocumentClient.from(
    new DynamoDBClient({
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
      maxAttempts: 1,
    }),
  );
  await client.send(
    new CreateTableCommand({
      TableName: 'log',
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: ['pk', 'sk'].map((AttributeName) => ({ AttributeName, AttributeType: 'S' })),
      KeySchema: [
        { AttributeName: 'pk', KeyType: 'HASH' },
        { AttributeName: 'sk', KeyType: 'RANGE' },
      ],
    }),
  );
  for (let sk = 0; sk < 20; sk += 1) {
    await client.send(new PutCommand({ TableName: 'log', Item: { pk: 'one', sk: String(sk) } }));
  }
  level._values = function (...args) {
    opened += 1;
    const iterator = values.apply(this, args);
    const close = iterator._close.bind(iterator);
    iterator._close = async () => {
      closed += 1;
      return close();
    };
    return iterator;
  };
});
afterAll(async () => {
  level._values = values;
  client.destroy();
  const ended = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await ended;
  await rm(folder, { recursive: true });
});

const ofOne = { KeyConditionExpression: 'pk = :pk', ExpressionAttributeValues: { ':pk': 'one' } };

it.each([
  ['a query', new QueryCommand({ TableName: 'log', ...ofOne }), 20],
  ['a query that stops early', new QueryCommand({ TableName: 'log', ...ofOne, Limit: 3 }), 3],
  ['a scan', new ScanCommand({ TableName: 'log' }), 20],
])('closes what %s has opened', async (_, command, count) => {
  opened = closed = 0;
  const { Count } = await client.send(command as QueryCommand);
  expect(Count).toBe(count);
  expect(opened).toBeGreaterThan(0);
  await vi.waitFor(() => expect(closed).toBe(opened));
});
