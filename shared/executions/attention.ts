import { paginateQuery, QueryCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { executionsTable } from '../aws/tables.ts';
import { partitionsOfKind, type AttentionKind } from './item.ts';
import { readKey, type ExecutionKey } from './key.ts';

/** The kinds that the index sorts by handler and time. */
export type KindByHandler = Exclude<AttentionKind, 'waiting'>;

const pageSize = 100;

export type Attention = ReturnType<typeof createAttention>;

/** The sparse index, as what works in the background reads it. It lags a little behind the log. */
export function createAttention({
  dynamo,
  tableName,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
}) {
  const { indexName, partitionKey, sortKey } = executionsTable.attention;

  /** The executions of a handler that are parked, failed or held, in pages, each partition from its oldest on. */
  async function* readOf(kind: KindByHandler, handlerId: string): AsyncGenerator<ExecutionKey[]> {
    for (const partition of partitionsOfKind(kind)) {
      const pages = paginateQuery(
        { client: dynamo, pageSize },
        {
          TableName: tableName,
          IndexName: indexName,
          KeyConditionExpression: `${partitionKey} = :partition AND begins_with(${sortKey}, :handler)`,
          ExpressionAttributeValues: { ':partition': partition, ':handler': `${handlerId}#` },
        },
      );
      for await (const { Items = [] } of pages) yield Items.map(keyOf);
    }
  }

  /** The oldest or the newest execution of a handler in each partition, the very end first: a query for each. */
  async function readEnds(
    kind: KindByHandler,
    handlerId: string,
    end: 'oldest' | 'newest',
  ): Promise<ExecutionKey[]> {
    const found = await Promise.all(
      partitionsOfKind(kind).map(async (partition) => {
        const { Items = [] } = await dynamo.send(
          new QueryCommand({
            TableName: tableName,
            IndexName: indexName,
            KeyConditionExpression: `${partitionKey} = :partition AND begins_with(${sortKey}, :handler)`,
            ExpressionAttributeValues: { ':partition': partition, ':handler': `${handlerId}#` },
            ScanIndexForward: end === 'oldest',
            Limit: 1,
          }),
        );
        return Items.map(keyOf);
      }),
    );
    const oldestFirst = found.flat().toSorted((a, b) => (a.sk < b.sk ? -1 : 1));
    return end === 'oldest' ? oldestFirst : oldestFirst.toReversed();
  }

  /** What waits for a time and belongs to one of these handlers, in pages. Reads the keys of all that waits. */
  async function* readWaitingOf(handlerIds: ReadonlySet<string>): AsyncGenerator<ExecutionKey[]> {
    for (const partition of partitionsOfKind('waiting')) {
      const pages = paginateQuery(
        { client: dynamo },
        {
          TableName: tableName,
          IndexName: indexName,
          KeyConditionExpression: `${partitionKey} = :partition`,
          ExpressionAttributeValues: { ':partition': partition },
        },
      );
      for await (const { Items = [] } of pages) {
        yield Items.map(keyOf).filter((key) => handlerIds.has(readKey(key).handlerId));
      }
    }
  }

  /** The handlers that have anything of a kind: a query for each of them and partition, however much they have. */
  async function findHandlers(kind: KindByHandler): Promise<Set<string>> {
    const found = new Set<string>();
    await Promise.all(
      partitionsOfKind(kind).map(async (partition) => {
        for (let after = '0'; ;) {
          const { Items = [] } = await dynamo.send(
            new QueryCommand({
              TableName: tableName,
              IndexName: indexName,
              KeyConditionExpression: `${partitionKey} = :partition AND ${sortKey} > :after`,
              ExpressionAttributeValues: { ':partition': partition, ':after': after },
              Limit: 1,
            }),
          );
          const [item] = Items;
          if (item === undefined) return;
          const { handlerId } = readKey(keyOf(item));
          found.add(handlerId);
          // The character behind #: after all that this handler has, and before all of the next one.
          after = `${handlerId}$`;
        }
      }),
    );
    return found;
  }

  return { readOf, readEnds, readWaitingOf, findHandlers };
}

const keyOf = (item: Record<string, unknown>): ExecutionKey => ({
  pk: item['pk'] as string,
  sk: item['sk'] as string,
});
