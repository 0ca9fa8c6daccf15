import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import {
  DeleteCommand,
  GetCommand,
  PutCommand,
  UpdateCommand,
  paginateQuery,
  type DynamoDBDocumentClient,
} from '@aws-sdk/lib-dynamodb';
import { ConflictError, NotFoundError } from '../errors.ts';
import type { Handler } from './handler.ts';

/** A handler and what only the stores see: its signing secrets, each sealed (`secret-envelope.ts`). */
export type StoredHandler = { handler: Handler; sealedSecrets: readonly string[] };

const handlersPartition = 'HANDLER';
// In the handlers' own partition, so that one Query loads both, and before the ids (`h_`), so that it is read first.
const revisionKey = { pk: handlersPartition, sk: '#REVISION' };

export type HandlerStore = ReturnType<typeof createHandlerStore>;

/** The handlers table. All handlers share one partition: tens to thousands, read by one consistent Query. */
export function createHandlerStore({
  dynamo,
  tableName,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
}) {
  const keyOf = (id: string) => ({ pk: handlersPartition, sk: id });

  /**
   * All handlers, in no particular order, and the revision as it was before the first of them was read.
   * Strongly consistent.
   */
  async function readAll(): Promise<{ revision: number; handlers: StoredHandler[] }> {
    const handlers: StoredHandler[] = [];
    let current = 0;
    const pages = paginateQuery(
      { client: dynamo },
      {
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': handlersPartition },
        ConsistentRead: true,
      },
    );
    for await (const { Items = [] } of pages) {
      for (const item of Items) {
        if (item['sk'] === revisionKey.sk) current = item['revision'] as number;
        else handlers.push(fromItem(item));
      }
    }
    return { revision: current, handlers };
  }

  /** One handler. Throws NotFoundError. */
  async function get(id: string): Promise<StoredHandler> {
    // The partition holds the revision too.
    if (!id.startsWith('h_')) throw new NotFoundError('handler', id);
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: keyOf(id), ConsistentRead: true }),
    );
    if (Item === undefined) throw new NotFoundError('handler', id);
    return fromItem(Item);
  }

  /** Stores a new handler. Its id is random, so a repeat by the SDK finds its own item and changes nothing. */
  const create = (stored: StoredHandler): Promise<void> =>
    write(() => dynamo.send(new PutCommand({ TableName: tableName, Item: toItem(stored) })));

  /** Replaces a handler. Throws ConflictError (`version`) when the stored one is not at `version` any more. */
  const replace = (stored: StoredHandler, version: number): Promise<void> =>
    write(() =>
      dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: toItem(stored),
          ...atVersion(version),
        }),
      ),
    );

  /** Removes a handler. Throws ConflictError (`version`) when the stored one is not at `version` any more. */
  const remove = (id: string, version: number): Promise<void> =>
    write(() =>
      dynamo.send(
        new DeleteCommand({
          TableName: tableName,
          Key: keyOf(id),
          ...atVersion(version),
        }),
      ),
    );

  /** A number that is another one whenever a handler may have changed. */
  async function revision(): Promise<number> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: revisionKey, ConsistentRead: true }),
    );
    return (Item?.['revision'] as number | undefined) ?? 0;
  }

  // The revision is raised before and after the write. Before: should this process die right after the
  // write, every reader has a reason to look again. After: a reader that looked in between looks once more.
  // A write that failed may have been done all the same: its answer was lost, and the SDK's own second try
  // then found the version changed.
  async function write(change: () => Promise<unknown>): Promise<void> {
    await raiseRevision();
    try {
      await change();
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) {
        throw new ConflictError('version', 'The handler has changed since it was read.', { cause: error });
      }
      throw error;
    } finally {
      await raiseRevision();
    }
  }

  const raiseRevision = () =>
    dynamo.send(
      new UpdateCommand({
        TableName: tableName,
        Key: revisionKey,
        UpdateExpression: 'ADD revision :one',
        ExpressionAttributeValues: { ':one': 1 },
      }),
    );

  return { readAll, get, create, replace, remove, revision };
}

// Somebody else's edit in between makes the write fail instead of being lost.
const atVersion = (version: number) => ({
  ConditionExpression: '#version = :version',
  ExpressionAttributeNames: { '#version': 'version' },
  ExpressionAttributeValues: { ':version': version },
});

const toItem = ({ handler, sealedSecrets }: StoredHandler) => {
  const { id, ...rest } = handler;
  return { pk: handlersPartition, sk: id, ...rest, sealedSecrets };
};

function fromItem(item: Record<string, unknown>): StoredHandler {
  const { pk: _pk, sk, sealedSecrets, ...rest } = item;
  return { handler: { id: sk, ...rest } as Handler, sealedSecrets: sealedSecrets as string[] };
}
