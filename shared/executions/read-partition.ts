import { QueryCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { ExecutionKey } from './key.ts';

// Sort before and after all that a sort key can hold.
export const beforeEverything = '0';
export const afterEverything = '\uffff';

// A request of the API reads this much and no more: a filter that matches nothing must not read the whole log.
const maxReadBytes = 4 * 1024 * 1024;
const maxReadMs = 2000;
// An eventually consistent read unit is 8 KB.
const bytesPerReadUnit = 8192;

/** What to read of one partition. */
export type PartitionQuery = {
  pk: string;
  /** Sort keys, both ends included. */
  range: { low: string; high: string };
  attributes: readonly string[];
  /** Attributes that must have these values. They are read, and paid for, all the same. */
  where?: Readonly<Record<string, string | undefined>>;
  /** Seconds since 1970: leaves out what has expired by then. */
  expiresAfter?: number;
  /** How many items are read at once; without it, as many as DynamoDB gives (1 MB). */
  pageSize?: number;
};

export type PartitionReader = ReturnType<typeof createPartitionReader>;

/**
 * Reads partitions of the log, newest first, within the budget of one search. Nothing here stops a read: who reads asks
 * `isSpent`, because it alone knows where the search can stop.
 */
export function createPartitionReader({
  dynamo,
  tableName,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  now: () => Date;
}) {
  let bytesLeft = maxReadBytes;
  const endsAt = now().getTime() + maxReadMs;

  /**
   * One page. `next` is where the page after it begins, null when there is none.
   *
   * @param after `next` of the page before; null for the first page
   */
  async function readPage(
    { pk, range, attributes, where = {}, expiresAfter, pageSize }: PartitionQuery,
    after: ExecutionKey | null,
  ): Promise<{ items: Record<string, unknown>[]; next: ExecutionKey | null }> {
    const wanted = Object.entries(where).filter(([, value]) => value !== undefined);
    const conditions = wanted.map(([name]) => `#${name} = :${name}`);
    if (expiresAfter !== undefined) {
      conditions.push('(attribute_not_exists(expiresAt) OR expiresAt > :expiresAfter)');
    }
    const { Items, LastEvaluatedKey, ConsumedCapacity } = await dynamo.send(
      new QueryCommand({
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk AND sk BETWEEN :low AND :high',
        ...(conditions.length > 0 && { FilterExpression: conditions.join(' AND ') }),
        ProjectionExpression: attributes.map((name) => `#${name}`).join(', '),
        // Some of the names (status) are words of DynamoDB's own.
        ExpressionAttributeNames: Object.fromEntries(
          [...attributes, ...wanted.map(([name]) => name)].map((name) => [`#${name}`, name]),
        ),
        ExpressionAttributeValues: {
          ':pk': pk,
          ':low': range.low,
          ':high': range.high,
          ':expiresAfter': expiresAfter,
          ...Object.fromEntries(wanted.map(([name, value]) => [`:${name}`, value])),
        },
        ScanIndexForward: false,
        Limit: pageSize,
        ...(after && { ExclusiveStartKey: after }),
        ReturnConsumedCapacity: 'TOTAL',
      }),
    );
    bytesLeft -= (ConsumedCapacity?.CapacityUnits ?? 0) * bytesPerReadUnit;
    return { items: Items ?? [], next: (LastEvaluatedKey as ExecutionKey | undefined) ?? null };
  }

  /** Every item, page by page as they are asked for. */
  async function* readAll(query: PartitionQuery): AsyncGenerator<Record<string, unknown>> {
    let after: ExecutionKey | null = null;
    do {
      const { items, next }: Awaited<ReturnType<typeof readPage>> = await readPage(query, after);
      yield* items;
      after = next;
    } while (after !== null);
  }

  /** Whether the search has read, or taken, as much as it may. */
  const isSpent = (): boolean => bytesLeft <= 0 || now().getTime() > endsAt;

  return { readPage, readAll, isSpent };
}
