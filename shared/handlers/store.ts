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
import { parseExact } from '../filters/exact-json.ts';
import type { Filter } from '../filters/filter.ts';
import type { Handler, HandlerStatus } from './handler.ts';
import type { Health } from './health.ts';
import { rateLimitKey } from './rate-limit.ts';

/** A handler and what only the stores see. */
export type StoredHandler = {
  handler: Handler;
  /** Its signing secrets, each sealed (`secret-envelope.ts`). */
  sealedSecrets: readonly string[];
  /** Those that a rotation has replaced, which sign beside them until then. */
  retiredSecrets?: readonly RetiredSecret[];
  /** The secret of `target.auth`, sealed; the handler has a mask in its place. */
  sealedAuth?: string;
  /** Why Handoff itself has disabled it. */
  disabledBecause?: DisabledBecause;
  /** The version that brought its target, or enabled it; the first one if absent. Its health counts from there. */
  targetVersion?: number;
};

/** `until` in ISO 8601. */
export type RetiredSecret = { sealed: string; until: string };

export const targetVersionOf = ({ targetVersion = 1 }: Pick<StoredHandler, 'targetVersion'>): number =>
  targetVersion;

/** All that is in the handlers' partition. */
export type StoredHandlers = {
  revision: number;
  /** The same for the event types alone: another one whenever one of those may have changed. */
  eventTypesRevision: number;
  handlers: StoredHandler[];
  settling: Settling[];
  /** Of those with which something is wrong, by handler id. */
  health: ReadonlyMap<string, Health>;
  /** When circuits closed that are closed now, by handler id, ISO 8601. */
  closedAt: ReadonlyMap<string, string>;
};

/** `gone`: its endpoint has asked for it. `failing`: nothing but failures for days. */
export type DisabledBecause = 'gone' | 'failing';

/**
 * A handler that does not run any more, and whose waiting executions the sweeper has to see to. Every change that stops a handler marks
 * it, in the same write.
 */
export type Settling = {
  id: string;
  version: number;
  status: Exclude<HandlerStatus, 'enabled'> | 'deleted';
  /** Or last changed since; ISO 8601. */
  stoppedAt: string;
};

const handlersPartition = 'HANDLER';
// In the handlers' own partition, so that one Query loads both, and before the ids (`h_`), so that it is read first.
const revisionKey = { pk: handlersPartition, sk: '#REVISION' };
const healthSuffix = '#HEALTH';

/** Right behind its handler. */
export const healthKeyOf = (handlerId: string) => ({
  pk: handlersPartition,
  sk: handlerId + healthSuffix,
});

export type HandlerStore = ReturnType<typeof createHandlerStore>;

/** The handlers table. All handlers share one partition: tens to thousands, read by one consistent Query. */
export function createHandlerStore({
  dynamo,
  tableName,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  now: () => Date;
}) {
  const keyOf = (id: string) => ({ pk: handlersPartition, sk: id });

  /**
   * All handlers, in no particular order, and the revision as it was before the first of them was read. `settling` are those that
   * have been stopped, also deleted ones. Strongly consistent.
   */
  async function readAll(): Promise<StoredHandlers> {
    const handlers: StoredHandler[] = [];
    const settling: Settling[] = [];
    const health = new Map<string, Health>();
    const closedAt = new Map<string, string>();
    let [current, eventTypesRevision] = [0, 0];
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
        if (item['sk'] === revisionKey.sk) {
          current = item['revision'] as number;
          eventTypesRevision = (item['eventTypes'] as number | undefined) ?? 0;
          continue;
        }
        const sk = item['sk'] as string;
        if (sk.endsWith(healthSuffix)) {
          const handlerId = sk.slice(0, -healthSuffix.length);
          const found = healthFromItem(item);
          if (found !== null) health.set(handlerId, found);
          if (item['closedAt'] !== undefined) closedAt.set(handlerId, item['closedAt'] as string);
          continue;
        }
        if (item['settling'] === true) settling.push(settlingOf(item));
        if (!isDeleted(item)) handlers.push(fromItem(item));
      }
    }
    return { revision: current, eventTypesRevision, handlers, settling, health, closedAt };
  }

  /** How many handlers there are, and how many of them are archived. Strongly consistent. */
  async function count(): Promise<{ all: number; archived: number }> {
    let [all, archived] = [0, 0];
    const pages = paginateQuery(
      { client: dynamo },
      {
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk AND begins_with(sk, :ids)',
        // The health of a handler has no status, and one that was deleted neither.
        FilterExpression: 'attribute_exists(#status)',
        ProjectionExpression: '#status',
        ExpressionAttributeNames: { '#status': 'status' },
        ExpressionAttributeValues: { ':pk': handlersPartition, ':ids': 'h_' },
        ConsistentRead: true,
      },
    );
    for await (const { Items = [] } of pages) {
      all += Items.length;
      archived += Items.filter(({ status }) => status === 'archived').length;
    }
    return { all, archived };
  }

  /** One handler. Throws NotFoundError. */
  async function get(id: string): Promise<StoredHandler> {
    // The partition holds the revision and the health too.
    if (!id.startsWith('h_') || id.includes('#')) throw new NotFoundError('handler', id);
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: keyOf(id), ConsistentRead: true }),
    );
    if (Item === undefined || isDeleted(Item)) throw new NotFoundError('handler', id);
    return fromItem(Item);
  }

  /** What a handler is now, also one that is gone. */
  const statusOf = (id: string): Promise<HandlerStatus | 'deleted'> =>
    get(id).then(
      ({ handler }) => handler.status,
      (error: unknown) => {
        if (error instanceof NotFoundError) return 'deleted';
        throw error;
      },
    );

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

  /**
   * Removes a handler; what is left says that its waiting executions have to be ended. Throws ConflictError (`version`) when the stored
   * one is not at `version` any more.
   */
  const remove = (id: string, version: number): Promise<void> =>
    write(() =>
      dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: { ...keyOf(id), version: version + 1, settling: true, deletedAt: now().toISOString() },
          ...atVersion(version),
        }),
      ),
    );

  /**
   * Disables a handler on behalf of its endpoint, or because nothing arrives there any more.
   *
   * @returns `already` when another call has had the same reason; `changed` when it is not at its version any more: then what was
   *   found out about it may not hold any more
   */
  async function disable(
    { id, version }: Pick<Handler, 'id' | 'version'>,
    because: DisabledBecause,
  ): Promise<'disabled' | 'already' | 'changed'> {
    try {
      await write(() =>
        dynamo.send(
          new UpdateCommand({
            TableName: tableName,
            Key: keyOf(id),
            UpdateExpression:
              'SET #status = :disabled, #version = :next, updatedAt = :now, disabledBecause = :because, settling = :true',
            ConditionExpression: '#version = :version AND #status = :enabled',
            ExpressionAttributeNames: { '#version': 'version', '#status': 'status' },
            ExpressionAttributeValues: {
              ':version': version,
              ':next': version + 1,
              ':enabled': 'enabled',
              ':disabled': 'disabled',
              ':now': now().toISOString(),
              ':because': because,
              ':true': true,
            },
          }),
        ),
      );
      return 'disabled';
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
    }
    // Several calls at once may have had the same answer, and each of them wants what one of them has done.
    const stored = await get(id).catch((error: unknown) => {
      if (error instanceof NotFoundError) return null;
      throw error;
    });
    const isDone = stored?.disabledBecause !== undefined && stored.handler.version === version + 1;
    return isDone ? 'already' : 'changed';
  }

  /**
   * Takes the mark off a handler whose waiting executions are seen to. It stays when the handler has changed meanwhile. Of a deleted one
   * nothing is left.
   */
  async function settled({ id, version, status }: Settling): Promise<void> {
    const which = { TableName: tableName, Key: keyOf(id), ...atVersion(version) };
    try {
      // First, so that a crash in between does all of it again.
      if (status === 'deleted') {
        await dynamo.send(new DeleteCommand({ TableName: tableName, Key: rateLimitKey(id) }));
        await dynamo.send(new DeleteCommand({ TableName: tableName, Key: healthKeyOf(id) }));
      }
      // Nobody's view of the handlers depends on it, so the revision stays.
      await dynamo.send(
        status === 'deleted'
          ? new DeleteCommand(which)
          : new UpdateCommand({ ...which, UpdateExpression: 'REMOVE settling' }),
      );
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
    }
  }

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

  const raise = (numbers: string): Promise<unknown> =>
    dynamo.send(
      new UpdateCommand({
        TableName: tableName,
        Key: revisionKey,
        UpdateExpression: `ADD ${numbers}`,
        ExpressionAttributeValues: { ':one': 1 },
      }),
    );
  const raiseRevision = () => raise('revision :one');
  /** For a change of an event type: they are read again by whoever keeps them, as the handlers are. */
  const raiseEventTypesRevision = () => raise('revision :one, eventTypes :one');

  return {
    readAll,
    count,
    get,
    statusOf,
    create,
    replace,
    remove,
    disable,
    settled,
    revision,
    raiseRevision,
    raiseEventTypesRevision,
  };
}

// Somebody else's edit in between makes the write fail instead of being lost.
const atVersion = (version: number) => ({
  ConditionExpression: '#version = :version',
  ExpressionAttributeNames: { '#version': 'version' },
  ExpressionAttributeValues: { ':version': version },
});

const toItem = ({
  handler,
  sealedSecrets,
  retiredSecrets = [],
  sealedAuth,
  disabledBecause,
  targetVersion,
}: StoredHandler) => {
  const { id, ...rest } = handler;
  return {
    pk: handlersPartition,
    sk: id,
    ...rest,
    // As text: a number keeps its spelling, and no name or depth is too much for the database.
    filter: handler.filter === null ? null : JSON.stringify(handler.filter),
    sealedSecrets,
    ...(retiredSecrets.length > 0 && { retiredSecrets }),
    ...(sealedAuth !== undefined && { sealedAuth }),
    ...(disabledBecause !== undefined && { disabledBecause }),
    ...(targetVersion !== undefined && { targetVersion }),
    ...(handler.status !== 'enabled' && { settling: true }),
  };
};

function fromItem(item: Record<string, unknown>): StoredHandler {
  const {
    pk: _pk,
    sk,
    sealedSecrets,
    retiredSecrets,
    sealedAuth,
    disabledBecause,
    targetVersion,
    settling: _settling,
    filter,
    ...rest
  } = item;
  return {
    handler: {
      id: sk,
      ...rest,
      filter: typeof filter === 'string' ? (parseExact(filter) as Filter) : null,
    } as Handler,
    sealedSecrets: sealedSecrets as string[],
    ...(sealedAuth !== undefined && { sealedAuth: sealedAuth as string }),
    ...(retiredSecrets !== undefined && { retiredSecrets: retiredSecrets as RetiredSecret[] }),
    ...(disabledBecause !== undefined && { disabledBecause: disabledBecause as DisabledBecause }),
    ...(targetVersion !== undefined && { targetVersion: targetVersion as number }),
  };
}

/** Null when nothing is wrong: then the item only says when its circuit closed, if it does. */
export function healthFromItem(item: Record<string, unknown>): Health | null {
  if (item['streak'] === undefined) return null;
  const stored = item as {
    targetVersion: number;
    streak: number;
    streakSince: string;
    lastFailureAt: string;
    failingSince: string;
    circuit?: 'open';
    openedAt: string;
    probeAt: string;
    failedProbes: number;
    probeToken?: string;
    probeUntil: string;
  };
  const { targetVersion, streak, streakSince, lastFailureAt, failingSince } = stored;
  const { openedAt, probeAt, failedProbes, probeToken, probeUntil } = stored;
  const probe = probeToken === undefined ? null : { token: probeToken, until: probeUntil };
  return {
    targetVersion,
    streak,
    streakSince,
    lastFailureAt,
    failingSince,
    circuit: stored.circuit === 'open' ? { openedAt, probeAt, failedProbes, probe } : null,
  };
}

const isDeleted = (item: Record<string, unknown>): boolean => item['deletedAt'] !== undefined;

const settlingOf = (item: Record<string, unknown>): Settling => ({
  id: item['sk'] as string,
  version: item['version'] as number,
  status: isDeleted(item) ? 'deleted' : (item['status'] as Settling['status']),
  stoppedAt: (item['deletedAt'] ?? item['updatedAt']) as string,
});
