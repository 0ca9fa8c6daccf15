import { BatchWriteItemCommand, CreateTableCommand, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import { DeleteCommand, PutCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { ClassicLevel } from 'classic-level';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import '../../local/atomic-index.ts';
import { startDynalite } from './start-dynalite.ts';

// What reaches the disk: each of these is there whole after a crash, or not at all.
let writes: string[][] = [];
const level = ClassicLevel.prototype as unknown as Record<
  '_put' | '_del' | '_batch',
  (this: unknown, ...args: never[]) => unknown
>;
const { _put: put, _del: del, _batch: batch } = level;

const dynamo = await startDynalite();
const { client } = dynamo;

beforeAll(async () => {
  level._put = function (...args) {
    writes.push([nameOf('put', args[0])]);
    return put.apply(this, args);
  };
  level._del = function (...args) {
    writes.push([nameOf('del', args[0])]);
    return del.apply(this, args);
  };
  level._batch = function (...args) {
    const operations = args[0] as unknown as { type: string; key: unknown }[];
    writes.push(operations.map(({ type, key }) => nameOf(type, key)));
    return batch.apply(this, args);
  };
  const text = (AttributeName: string) => ({ AttributeName, AttributeType: 'S' as const });
  const keys = (hash: string, range: string) => [
    { AttributeName: hash, KeyType: 'HASH' as const },
    { AttributeName: range, KeyType: 'RANGE' as const },
  ];
  await client.send(
    new CreateTableCommand({
      TableName: 'log',
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: ['pk', 'sk', 'kind', 'at'].map(text),
      KeySchema: keys('pk', 'sk'),
      GlobalSecondaryIndexes: [
        {
          IndexName: 'attention',
          KeySchema: keys('kind', 'at'),
          Projection: { ProjectionType: 'KEYS_ONLY' },
        },
      ],
    }),
  );
  // Its state is written once more.
  await waitUntilTableExists(
    { client, minDelay: 0.05, maxDelay: 0.05, maxWaitTime: 20 },
    { TableName: 'log' },
  );
});
beforeEach(() => void (writes = []));
afterAll(async () => {
  Object.assign(level, { _put: put, _del: del, _batch: batch });
  await dynamo[Symbol.asyncDispose]();
});

/** `put index`, `del item`: what is written, without its key. */
const nameOf = (type: string, key: unknown): string =>
  `${type} ${/^(?<where>item|index)/u.exec(String(key))?.groups?.['where'] ?? String(key)}`;

const Key = { pk: 'h_1#0', sk: '1' };
const store = (attributes: object = {}, sk = '1') =>
  client.send(new PutCommand({ TableName: 'log', Item: { ...Key, sk, ...attributes } }));
const update = (at: string) =>
  client.send(
    new UpdateCommand({
      TableName: 'log',
      Key,
      UpdateExpression: 'SET #at = :at, more = :at',
      ExpressionAttributeNames: { '#at': 'at' },
      ExpressionAttributeValues: { ':at': at },
    }),
  );

it('an item and its entry in the index are one write to the disk, whatever is done with them', async () => {
  await store({ kind: 'waiting', at: '1' });
  await store({ kind: 'failed', at: '1' });
  await update('2');
  await update('2');
  await store();
  await store({ kind: 'held', at: '3' });
  await client.send(new DeleteCommand({ TableName: 'log', Key }));
  expect(writes).toEqual([
    ['put index', 'put item'],
    ['del index', 'put index', 'put item'],
    ['del index', 'put index', 'put item'],
    ['put index', 'put item'],
    ['del index', 'put item'],
    ['put index', 'put item'],
    ['del index', 'del item'],
  ]);
});

it('an item that is in no index is a write of its own', async () => {
  await store({}, '2');
  expect(writes).toEqual([['put item']]);
});

it('each of many items at once goes with its own entry', async () => {
  await client.send(
    new BatchWriteItemCommand({
      RequestItems: {
        log: Array.from({ length: 25 }, (_, index) => ({
          PutRequest: {
            Item: {
              pk: { S: 'h_2#0' },
              sk: { S: String(index) },
              kind: { S: 'held' },
              at: { S: String(index) },
            },
          },
        })),
      },
    }),
  );
  expect(writes).toEqual(Array.from({ length: 25 }, () => ['put index', 'put item']));
});
