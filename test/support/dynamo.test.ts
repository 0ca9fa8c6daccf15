import {
  BatchGetCommand,
  BatchWriteCommand,
  GetCommand,
  PutCommand,
  QueryCommand,
  type PutCommandInput,
} from '@aws-sdk/lib-dynamodb';
import { afterAll, describe, expect, it } from 'vitest';
import { isDynamoDbLocal, startTestDynamo } from './dynamo.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const tableName = db.executionsTable;
const put = (Item: Record<string, unknown>, more: Partial<PutCommandInput> = {}) =>
  db.dynamo.send(new PutCommand({ TableName: tableName, Item, ...more }));

/** What the engine at hand gives. */
const by = <Value>({ embedded, local }: { embedded: Value; local: Value }): Value =>
  isDynamoDbLocal ? local : embedded;

// The same store tests run on the embedded DynamoDB and on DynamoDB Local. Where the two differ, one of them is wrong: each
// name says first what DynamoDB does, and then which of them does otherwise.
describe('the engines under the tests', () => {
  // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.FilterExpression.html: the limit of 1 MB
  // applies before the filter.
  it('end a page at 1 MB of what was read; DynamoDB Local at 1 MB of what the filter left', async () => {
    const items = Array.from({ length: 12 }, (_, index) => ({
      pk: 'page',
      sk: String(index),
      body: new Uint8Array(100_000),
    }));
    await db.dynamo.send(
      new BatchWriteCommand({
        RequestItems: { [tableName]: items.map((Item) => ({ PutRequest: { Item } })) },
      }),
    );
    const page = await db.dynamo.send(
      new QueryCommand({
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk',
        FilterExpression: 'attribute_exists(nothing)',
        ExpressionAttributeValues: { ':pk': 'page' },
      }),
    );
    expect(page).toMatchObject({ Items: [], ScannedCount: by({ embedded: 11, local: 12 }) });
    expect(page.LastEvaluatedKey === undefined).toBe(isDynamoDbLocal);
  });

  // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html: a read of an item that
  // does not exist consumes read capacity. The dispatcher looks for an execution before the first call of each handler.
  it('charge half a read unit for an item that is not there; DynamoDB Local nothing in a batch', async () => {
    const { ConsumedCapacity } = await db.dynamo.send(
      new BatchGetCommand({
        RequestItems: { [tableName]: { Keys: [{ pk: 'none', sk: 'none' }] } },
        ReturnConsumedCapacity: 'TOTAL',
      }),
    );
    expect(ConsumedCapacity).toMatchObject([{ CapacityUnits: by({ embedded: 0.5, local: 0 }) }]);
  });

  // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html: a write costs what it costs in the table and
  // in its indexes together.
  it('charge for the entry in an index; the embedded one for the item alone', async () => {
    const item = { pk: 'indexed', sk: '1', attention: 'failed#0', attentionKey: 'h_1' };
    const { ConsumedCapacity } = await put(item, { ReturnConsumedCapacity: 'TOTAL' });
    expect(ConsumedCapacity?.CapacityUnits).toBe(by({ embedded: 1, local: 2 }));
  });

  // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
  describe('count text in bytes of UTF-8; the embedded one in characters', () => {
    it('up to 400 KB in an item', async () => {
      const writing = put({ pk: 'text', sk: '1', text: '漢'.repeat(140_000) });
      if (isDynamoDbLocal)
        await expect(writing).rejects.toThrow('Item size has exceeded the maximum allowed size');
      else await writing;
    });

    it('up to 1 KB in a sort key', async () => {
      const reading = db.dynamo.send(
        new GetCommand({ TableName: tableName, Key: { pk: 'text', sk: '漢'.repeat(400) } }),
      );
      if (isDynamoDbLocal) await expect(reading).rejects.toThrow('must be under 1024 bytes');
      else await reading;
    });
  });

  // https://github.com/aws/aws-sdk-ruby/issues/2456 is about DynamoDB itself.
  it('refuse to go on from the far end of a range; the embedded one finds nothing', async () => {
    const reading = db.dynamo.send(
      new QueryCommand({
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk AND sk BETWEEN :low AND :high',
        ExpressionAttributeValues: { ':pk': 'range', ':low': 'b', ':high': 'd' },
        ExclusiveStartKey: { pk: 'range', sk: 'b' },
        ScanIndexForward: false,
      }),
    );
    if (isDynamoDbLocal) await expect(reading).rejects.toThrow('starting key does not match');
    else await expect(reading).resolves.toMatchObject({ Items: [] });
  });

  // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html and Constraints.html
  it('refuse what cannot be the key of an index entry; the embedded one takes it', async () => {
    for (const attention of ['', 'x'.repeat(2049)]) {
      const writing = put({ pk: 'index', sk: '1', attention, attentionKey: 'x' });
      if (isDynamoDbLocal) await expect(writing).rejects.toThrow('One or more parameter values');
      else await writing;
    }
  });
});
