import { CreateTableCommand, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import { PutCommand, QueryCommand, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { ClassicLevel } from 'classic-level';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import '../../local/closed-iterators.ts';
import { startDynalite } from './start-dynalite.ts';

const level = ClassicLevel.prototype as unknown as Record<
  '_values',
  (this: unknown, ...args: never[]) => { _close: () => Promise<void> }
>;
const { _values: values } = level;
let opened = 0;
let closed = 0;

const dynamo = await startDynalite();
const { client } = dynamo;

beforeAll(async () => {
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
  await waitUntilTableExists({ client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 }, { TableName: 'log' });
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
  await dynamo[Symbol.asyncDispose]();
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
