import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, paginateQuery, PutCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { expiresAfter } from '../aws/tables.ts';
import { ConflictError } from '../errors.ts';
import type { JsonSchema } from './json-schema.ts';

/**
 * What follows when an event is not what the schema of its type says. `warn`: it is delivered, and its executions say what is wrong. `strict`: it
 * becomes a dead letter.
 */
export type Validation = 'warn' | 'strict';

/** What a deployer says about an event type of their own. */
export type CustomEventType = {
  label: string;
  group: string;
  description: string;
  /** Of a whole `Detail`. */
  schema: JsonSchema;
  /** A whole `Detail`. */
  sample: Readonly<Record<string, unknown>>;
};

/** An event type as it is stored: one of a deployer's, or what was set for a built-in one. */
export type StoredEventType = {
  name: string;
  version: number;
  /** ISO 8601. */
  updatedAt: string;
  validation: Validation;
  /** Null for a built-in type, whose schema is not stored. */
  custom: CustomEventType | null;
};

export type EventTypeStore = ReturnType<typeof createEventTypeStore>;

const partition = 'EVENT_TYPE';
// Long after the last request that was made with the version of what is deleted.
const tombstoneDays = 1;

/**
 * The event types in the handlers table, in a partition of their own.
 *
 * @param raiseRevision of the handlers and event types, before and after every write: what every environment looks at once a second
 */
export function createEventTypeStore({
  dynamo,
  tableName,
  raiseRevision,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  raiseRevision: () => Promise<unknown>;
  now: () => Date;
}) {
  const keyOf = (name: string) => ({ pk: partition, sk: name });

  /** All of them, by name. Strongly consistent. */
  async function readAll(): Promise<StoredEventType[]> {
    const types: StoredEventType[] = [];
    const pages = paginateQuery(
      { client: dynamo },
      {
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': partition },
        ConsistentRead: true,
      },
    );
    for await (const { Items = [] } of pages) {
      types.push(...Items.filter((item) => item['deletedAt'] === undefined).map(fromItem));
    }
    return types;
  }

  /** One of them; null when there is none. Strongly consistent. */
  async function find(name: string): Promise<StoredEventType | null> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: keyOf(name), ConsistentRead: true }),
    );
    return Item === undefined || Item['deletedAt'] !== undefined ? null : fromItem(Item);
  }

  /**
   * Stores one. Throws ConflictError (`version`) when what is stored is not at `before` any more.
   *
   * @param before the version that it replaces; 0 when there was none
   */
  const put = ({ name, custom, ...rest }: StoredEventType, before: number): Promise<void> =>
    write({ ...keyOf(name), ...rest, ...(custom !== null && { custom: JSON.stringify(custom) }) }, before);

  /** Takes one away. Throws ConflictError (`version`) when it is not at `version` any more. */
  const remove = ({ name, version }: Pick<StoredEventType, 'name' | 'version'>): Promise<void> =>
    write(
      {
        ...keyOf(name),
        version,
        deletedAt: now().toISOString(),
        expiresAt: expiresAfter(now(), tombstoneDays),
      },
      version,
    );

  // As with handlers: before the write, so that its crash leaves nobody behind, and after it.
  async function write(Item: Record<string, unknown>, before: number): Promise<void> {
    await raiseRevision();
    try {
      await dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item,
          ...(before === 0
            ? { ConditionExpression: 'attribute_not_exists(pk) OR attribute_exists(deletedAt)' }
            : {
                ConditionExpression: '#version = :before AND attribute_not_exists(deletedAt)',
                ExpressionAttributeNames: { '#version': 'version' },
                ExpressionAttributeValues: { ':before': before },
              }),
        }),
      );
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
      throw new ConflictError('version', 'The event type has changed since it was read.', { cause: error });
    } finally {
      await raiseRevision();
    }
  }

  return { readAll, find, put, remove };
}

// The schema and the sample are one text: DynamoDB's client refuses numbers that lose digits.
function fromItem(item: Record<string, unknown>): StoredEventType {
  const { sk, version, updatedAt, validation, custom } = item as Omit<StoredEventType, 'name' | 'custom'> & {
    sk: string;
    custom?: string;
  };
  return {
    name: sk,
    version,
    updatedAt,
    validation,
    custom: custom === undefined ? null : (JSON.parse(custom) as CustomEventType),
  };
}
