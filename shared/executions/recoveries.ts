import { randomBytes } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import {
  DeleteCommand,
  GetCommand,
  paginateQuery,
  PutCommand,
  QueryCommand,
  UpdateCommand,
  type DynamoDBDocumentClient,
} from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { expiresAfter, isExpired } from '../aws/tables.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { ConflictError, NotFoundError } from '../errors.ts';
import { fromTheBeginning, type RecoveryPosition } from './recoverable.ts';
import type { Recovery, RecoveryRange } from './recovery.ts';

/** The partition of all recoveries, in the handlers table. Their sort key is their id. */
export const recoveriesPartition = 'RECOVERY';
// In the same partition, before the ids: those that the sweeper has to look at.
const markPrefix = '#RUNNING#';

// A mark is written before its recovery. One that has none after this time belongs to a request that died in between.
const strayMarkMs = 5 * 60_000;
// A page of a list is made of so many reads at most.
const maxReads = 10;

/** A recovery as its sweeper has it in hand. */
export type RunningRecovery = {
  recovery: Recovery;
  position: RecoveryPosition;
  /** Raised with every page: who has read an older number does not write. */
  pages: number;
  /** When its last page was done, ISO 8601: whoever has waited longest comes first. */
  pagedAt: string;
};

type Counts = Pick<Recovery, 'found' | 'released'>;

/** The recoveries, in the handlers table. One that has ended is kept for as long as what it was about. */
export function createRecoveries({
  dynamo,
  tableName,
  keptDays,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  keptDays: number;
  now: () => Date;
}) {
  const keyOf = (sk: string) => ({ pk: recoveriesPartition, sk });

  /** Begins a recovery: the sweeper takes it up within a minute. */
  async function start(range: RecoveryRange): Promise<Recovery> {
    const id = newId(now());
    const createdAt = now().toISOString();
    await dynamo.send(
      new PutCommand({ TableName: tableName, Item: { ...keyOf(`${markPrefix}${id}`), createdAt } }),
    );
    const begun = { ...range, status: 'running', found: 0, released: 0, createdAt, pages: 0 };
    await dynamo.send(new PutCommand({ TableName: tableName, Item: { ...keyOf(id), ...begun } }));
    return fromItem({ sk: id, ...begun });
  }

  /** One recovery. Strongly consistent. Throws NotFoundError. */
  async function get(id: string): Promise<Recovery> {
    const item = await read(id);
    if (item === null) throw new NotFoundError('recovery', id);
    return fromItem(item);
  }

  async function read(id: string): Promise<Record<string, unknown> | null> {
    // The partition holds marks too.
    if (!Id.safeParse(id).success) return null;
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: keyOf(id), ConsistentRead: true }),
    );
    return Item === undefined || isExpired(Item, now()) ? null : Item;
  }

  /**
   * A page of recoveries, newest first. Where many have expired and are not deleted yet, it can be short, even empty, and yet have a
   * next one.
   *
   * @param cursor `nextCursor` of the page before. Throws InvalidInputError when it is none
   */
  async function list(
    limit: number,
    cursor?: string,
  ): Promise<{ recoveries: Recovery[]; nextCursor: string | null }> {
    const found: Recovery[] = [];
    let after: string | null = cursor === undefined ? null : decodeCursor(cursor, Id);
    let reads = 0;
    do {
      // One more than asked for tells whether there is a next page.
      const { items, next } = await readPage(limit + 1, after);
      found.push(...items.filter((item) => !isExpired(item, now())).map(fromItem));
      after = next;
      reads++;
    } while (found.length <= limit && after !== null && reads < maxReads);
    const lastId = (found.length > limit ? found[limit - 1]?.id : after) ?? null;
    return {
      recoveries: found.slice(0, limit),
      nextCursor: lastId === null ? null : encodeCursor(lastId),
    };
  }

  async function readPage(
    limit: number,
    after: string | null,
  ): Promise<{ items: Record<string, unknown>[]; next: string | null }> {
    const { Items = [], LastEvaluatedKey } = await dynamo.send(
      new QueryCommand({
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk AND begins_with(sk, :prefix)',
        ExpressionAttributeValues: { ':pk': recoveriesPartition, ':prefix': idPrefix },
        ScanIndexForward: false,
        Limit: limit,
        // Who has just begun one must find it in the list.
        ConsistentRead: true,
        ...(after !== null && { ExclusiveStartKey: keyOf(after) }),
      }),
    );
    return { items: Items, next: (LastEvaluatedKey?.['sk'] as string | undefined) ?? null };
  }

  /** Stops a recovery; a page of it that is under way is still done. Throws NotFoundError; ConflictError (`state`) when it has ended. */
  async function cancel(id: string): Promise<Recovery> {
    const { status } = await get(id);
    const ended = status === 'running' ? await endIfRunning(id, { status: 'cancelled' }) : null;
    if (ended === null) {
      const { status: is } = await get(id);
      throw new ConflictError('state', `The recovery ${id} has ended: it is ${is}.`);
    }
    return ended;
  }

  /** The ids of those that are not known to have ended. Half a read unit where there are none. */
  async function findRunning(): Promise<string[]> {
    const ids: string[] = [];
    const pages = paginateQuery(
      { client: dynamo },
      {
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk AND begins_with(sk, :prefix)',
        ExpressionAttributeValues: { ':pk': recoveriesPartition, ':prefix': markPrefix },
      },
    );
    for await (const { Items = [] } of pages) {
      ids.push(...Items.map(({ sk }) => (sk as string).slice(markPrefix.length)));
    }
    return ids;
  }

  /** Those of them that are running, whoever has waited longest first. What has ended is not found any more from now on. */
  async function readRunning(ids: readonly string[]): Promise<RunningRecovery[]> {
    const running: RunningRecovery[] = [];
    for (const id of ids) {
      const item = await read(id);
      if (item?.['status'] === 'running') running.push(runningOf(item));
      else if (item !== null || isStray(id)) await forget(id);
    }
    return running.toSorted((a, b) => (a.pagedAt < b.pagedAt ? -1 : 1));
  }

  const isStray = (id: string): boolean => now().getTime() - createdAtOf(id) > strayMarkMs;

  const forget = (id: string): Promise<unknown> =>
    dynamo.send(new DeleteCommand({ TableName: tableName, Key: keyOf(`${markPrefix}${id}`) }));

  /**
   * Notes a page, also of a recovery that was cancelled meanwhile: its counts are to be right. Null when it was, or when another sweeper
   * has gone on with it.
   */
  async function advance(
    { recovery: { id }, pages }: RunningRecovery,
    { position, ...counts }: Counts & { position?: RecoveryPosition },
  ): Promise<RunningRecovery | null> {
    const item = await change(
      id,
      { ...counts, ...(position && { position }), pages: pages + 1, pagedAt: now().toISOString() },
      { pages },
    );
    return item?.['status'] === 'running' ? runningOf(item) : null;
  }

  /** Ends a recovery, unless another sweeper has gone on with it. Its mark goes at the next run. */
  async function end(
    running: RunningRecovery,
    ending: Counts & ({ status: 'done' } | { status: 'cancelled'; reason: NonNullable<Recovery['reason']> }),
  ): Promise<void> {
    const { recovery, pages } = running;
    const { found, released } = ending;
    const ended = await endIfRunning(recovery.id, ending, { pages });
    if (ended === null) await advance(running, { found, released });
  }

  async function endIfRunning(
    id: string,
    ending: Record<string, string | number>,
    seen: { pages?: number } = {},
  ): Promise<Recovery | null> {
    const item = await change(
      id,
      { ...ending, endedAt: now().toISOString(), expiresAt: expiresAfter(now(), keptDays) },
      { ...seen, status: 'running' },
    );
    return item && fromItem(item);
  }

  /** Changes a recovery that is still what was `seen` of it; null when it is not. */
  async function change(
    id: string,
    to: Record<string, unknown>,
    seen: Record<string, string | number>,
  ): Promise<Record<string, unknown> | null> {
    const names = Object.keys({ ...to, ...seen });
    const values = (prefix: string, of: Record<string, unknown>) =>
      Object.fromEntries(Object.entries(of).map(([name, value]) => [`:${prefix}${name}`, value]));
    try {
      const { Attributes = {} } = await dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: keyOf(id),
          UpdateExpression: `SET ${Object.keys(to)
            .map((name) => `#${name} = :${name}`)
            .join(', ')}`,
          ConditionExpression: Object.keys(seen)
            .map((name) => `#${name} = :seen_${name}`)
            .join(' AND '),
          ExpressionAttributeNames: Object.fromEntries(names.map((name) => [`#${name}`, name])),
          ExpressionAttributeValues: { ...values('', to), ...values('seen_', seen) },
          ReturnValues: 'ALL_NEW',
        }),
      );
      return Attributes;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return null;
      throw error;
    }
  }

  return { start, get, list, cancel, findRunning, readRunning, advance, end };
}

const idPrefix = 'r_';
const Id = z.string().regex(/^r_[0-9a-z]{9}[0-9a-f]{12}$/u);
const timeDigits = 9;

// In base 36, 9 digits of milliseconds sort by time until the year 5188.
const newId = (now: Date): string =>
  `${idPrefix}${now.getTime().toString(36).padStart(timeDigits, '0')}${randomBytes(6).toString('hex')}`;

const createdAtOf = (id: string): number =>
  Number.parseInt(id.slice(idPrefix.length, idPrefix.length + timeDigits), 36);

function fromItem(item: Record<string, unknown>): Recovery {
  const stored = item as Omit<Recovery, 'id' | 'reason' | 'endedAt'> &
    Partial<Pick<Recovery, 'reason' | 'endedAt'>> & { sk: string };
  return {
    id: stored.sk,
    handlerId: stored.handlerId,
    status: stored.status,
    reason: stored.reason ?? null,
    found: stored.found,
    released: stored.released,
    from: stored.from,
    to: stored.to,
    statuses: stored.statuses,
    createdAt: stored.createdAt,
    endedAt: stored.endedAt ?? null,
  };
}

function runningOf(item: Record<string, unknown>): RunningRecovery {
  const recovery = fromItem(item);
  return {
    recovery,
    position: (item['position'] as RecoveryPosition | undefined) ?? fromTheBeginning,
    pages: item['pages'] as number,
    pagedAt: (item['pagedAt'] as string | undefined) ?? recovery.createdAt,
  };
}
