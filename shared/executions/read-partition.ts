import { setTimeout as delay } from 'node:timers/promises';
import { BatchGetCommand, QueryCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { executionsTable } from '../aws/tables.ts';
import type { ExecutionKey } from './key.ts';

// Sort before and after all that a sort key can hold.
export const beforeEverything = '0';
export const afterEverything = '\uffff';

/** The limit of BatchGetItem. */
export const maxBatchGet = 100;
// An eventually consistent read unit is 8 KB.
const bytesPerReadUnit = 8192;
// DynamoDB hands back what it had no capacity for: 25, 50, 100, 200, 400 ms, not long, since somebody waits for it.
const maxUnprocessedTries = 6;
const firstBackoffMs = 25;

/** What to read of one partition. */
export type PartitionQuery = {
  pk: string;
  /** Whether it is a partition of the sparse index, which has keys only. */
  inIndex?: boolean;
  /** Sort keys, both ends included. */
  range: { low: string; high: string };
  attributes: readonly string[];
  /** Attributes that must have one of these values. They are read, and paid for, all the same. */
  where?: Readonly<Record<string, readonly (string | number)[]>>;
  /** Seconds since 1970: leaves out what has expired by then. */
  expiresAfter?: number;
  /** How many items are read at once; without it, as many as DynamoDB gives (1 MB). */
  pageSize?: number;
  /** The other way round. */
  oldestFirst?: boolean;
};

/** What one request of the API may read. */
export type ReadBudget = { maxBytes: number; maxMs: number };

export type PartitionReader = ReturnType<typeof createPartitionReader>;

/**
 * Reads the log, its partitions newest first unless told otherwise, within the budget of one search. Nothing here stops a read: who reads asks
 * `isSpent`, because it alone knows where the search can stop.
 */
export function createPartitionReader({
  dynamo,
  tableName,
  budget,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  budget: ReadBudget;
  now: () => Date;
}) {
  let bytesLeft = budget.maxBytes;
  const endsAt = now().getTime() + budget.maxMs;

  /**
   * One page. `next` is where the page after it begins, null when there is none.
   *
   * @param after `next` of the page before; null for the first page
   */
  async function readPage(
    {
      pk,
      inIndex = false,
      range,
      attributes,
      where = {},
      expiresAfter,
      pageSize,
      oldestFirst = false,
    }: PartitionQuery,
    after: ExecutionKey | null,
  ): Promise<{ items: Record<string, unknown>[]; next: ExecutionKey | null }> {
    const { partitionKey, sortKey } = inIndex ? executionsTable.attention : executionsTable;
    const wanted = Object.entries(where).map(([name, values]) => ({
      name,
      values: Object.fromEntries(values.map((value, index) => [`:${name}${index}`, value])),
    }));
    const conditions = wanted.map(({ name, values }) => `#${name} IN (${Object.keys(values).join(', ')})`);
    if (expiresAfter !== undefined) {
      conditions.push('(attribute_not_exists(expiresAt) OR expiresAt > :expiresAfter)');
    }
    const { Items, LastEvaluatedKey, ConsumedCapacity } = await dynamo.send(
      new QueryCommand({
        TableName: tableName,
        ...(inIndex && { IndexName: executionsTable.attention.indexName }),
        KeyConditionExpression: `${partitionKey} = :pk AND ${sortKey} BETWEEN :low AND :high`,
        ...(conditions.length > 0 && { FilterExpression: conditions.join(' AND ') }),
        ...projectionOf(attributes, Object.keys(where)),
        ExpressionAttributeValues: {
          ':pk': pk,
          ':low': range.low,
          ':high': range.high,
          ':expiresAfter': expiresAfter,
          ...Object.assign({}, ...wanted.map(({ values }) => values)),
        },
        ScanIndexForward: oldestFirst,
        Limit: pageSize,
        ...(after && { ExclusiveStartKey: after }),
        ReturnConsumedCapacity: 'TOTAL',
      }),
    );
    spend(ConsumedCapacity);
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

  /** Every item, at once. */
  async function readWhole(query: PartitionQuery): Promise<Record<string, unknown>[]> {
    const items: Record<string, unknown>[] = [];
    for await (const item of readAll(query)) items.push(item);
    return items;
  }

  /**
   * The items with these keys, in no particular order; those that are gone are left out.
   *
   * @param keys at most `maxBatchGet`, each once
   */
  async function readItems(
    keys: readonly ExecutionKey[],
    attributes: readonly string[],
  ): Promise<Record<string, unknown>[]> {
    const items: Record<string, unknown>[] = [];
    let missing: Record<string, unknown>[] = keys.map(({ pk, sk }) => ({ pk, sk }));
    for (let tries = 0; missing.length > 0; tries++) {
      if (tries >= maxUnprocessedTries) {
        throw new Error(`BatchGetItem left ${missing.length} keys unprocessed after ${tries} tries.`);
      }
      if (tries > 0) await delay(firstBackoffMs * 2 ** (tries - 1));
      const { Responses, UnprocessedKeys, ConsumedCapacity } = await dynamo.send(
        new BatchGetCommand({
          RequestItems: { [tableName]: { Keys: missing, ...projectionOf(attributes) } },
          ReturnConsumedCapacity: 'TOTAL',
        }),
      );
      for (const consumed of ConsumedCapacity ?? []) spend(consumed);
      items.push(...(Responses?.[tableName] ?? []));
      missing = UnprocessedKeys?.[tableName]?.Keys ?? [];
    }
    return items;
  }

  function spend(consumed: { CapacityUnits?: number | undefined } | undefined): void {
    bytesLeft -= (consumed?.CapacityUnits ?? 0) * bytesPerReadUnit;
  }

  /** Whether the search has read, or taken, as much as it may. */
  const isSpent = (): boolean => bytesLeft <= 0 || now().getTime() > endsAt;

  return { readPage, readAll, readWhole, readItems, isSpent, bytesLeft: () => bytesLeft };
}

// Some of the names (status) are words of DynamoDB's own.
const projectionOf = (attributes: readonly string[], alsoNamed: readonly string[] = []) => ({
  ProjectionExpression: attributes.map((name) => `#${name}`).join(', '),
  ExpressionAttributeNames: Object.fromEntries(
    [...attributes, ...alsoNamed].map((name) => [`#${name}`, name]),
  ),
});
