import { GetCommand, QueryCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { InvalidInputError, NotFoundError } from '../errors.ts';
import type { ExecutionRecord, ListedExecution } from './execution.ts';
import { hourPartition, hoursPartition } from './hours.ts';
import { fromItem, fromListedItem, listedAttributes } from './item.ts';
import { decodeExecutionId, hourOf, partitionsOf, readKey, type ExecutionKey } from './key.ts';
import type { ExecutionStatus } from './life-cycle.ts';

/** Which executions to list. Times are ISO 8601 UTC with milliseconds, both ends included. */
export type ExecutionFilter = {
  handlerId?: string | undefined;
  event?: string | undefined;
  status?: ExecutionStatus | undefined;
  eventId?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
};

export type ExecutionPage = {
  records: ListedExecution[];
  nextCursor: string | null;
  /** Set when the search stopped because it had read enough: what is older was not looked at yet. */
  searchedBackTo: string | null;
};

// A request of the API reads this much and no more: a filter that matches nothing must not read the whole log.
const maxReadBytes = 4 * 1024 * 1024;
const maxReadMs = 2000;
// How many partitions are read side by side before the budget is asked again.
const readsAtOnce = 25;
// Of a search with a filter, one round. Without one it is twice the page that was asked for.
const maxRoundItems = 500;
// An eventually consistent read unit is 8 KB.
const bytesPerReadUnit = 8192;

// Sort before and after all that a sort key can hold.
const beforeEverything = '0';
const afterEverything = '\uffff';

// Some of the names (status) are words of DynamoDB's own.
const listedNames = new Map(listedAttributes.map((name) => [`#${name}`, name]));

/** The execution log, as people read it. The write path is cheap; this path pays. */
export function createExecutionSearch({
  dynamo,
  tableName,
  shards,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  shards: number;
  now: () => Date;
}) {
  /** One execution by its public id. Strongly consistent. Throws NotFoundError. */
  async function get(id: string): Promise<ExecutionRecord> {
    const key = decodeExecutionId(id);
    if (key === null) throw new NotFoundError('execution', id);
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: key, ConsistentRead: true }),
    );
    // Whatever else has such a key is no execution.
    if (Item?.['status'] === undefined || isExpired(Item)) throw new NotFoundError('execution', id);
    return fromItem(Item);
  }

  /**
   * A page of executions, newest first. The log has one partition for each handler and shard, so a list is a
   * merge: of one handler's partitions, or, hour by hour back in time, of the handlers that ran in that hour.
   *
   * @param cursor `nextCursor` of the page before. Throws InvalidInputError when it is none
   */
  async function list(filter: ExecutionFilter, limit: number, cursor?: string): Promise<ExecutionPage> {
    const budget = { bytesLeft: maxReadBytes, endsAt: now().getTime() + maxReadMs };
    const start = cursor === undefined ? null : decodeCursor(cursor);
    const records: ListedExecution[] = [];
    for await (const step of walk(filter, start, limit, budget)) {
      if (step.kind === 'stopped') {
        return {
          records,
          nextCursor: encodeCursor(step.position),
          searchedBackTo: timeOf(step.position.sk) ?? now().toISOString(),
        };
      }
      if (filter.eventId !== undefined && readKey(step.record.key).eventId !== filter.eventId) continue;
      const last = records.at(-1);
      // One more than asked for: now it is known that there is a next page.
      if (records.length === limit && last !== undefined) {
        return { records, nextCursor: encodeCursor(last.key), searchedBackTo: null };
      }
      records.push(step.record);
    }
    return { records, nextCursor: null, searchedBackTo: null };
  }

  async function* walk(
    filter: ExecutionFilter,
    start: ExecutionKey | null,
    limit: number,
    budget: Budget,
  ): AsyncGenerator<Step> {
    const low = filter.from ?? beforeEverything;
    const high = `${filter.to ?? ''}${afterEverything}`;
    if (low > high || (start !== null && start.sk < low)) return;
    if (filter.handlerId !== undefined) {
      yield* merge(partitionsOf(filter.handlerId, shards), { low, high, start }, filter, limit, budget);
      return;
    }
    const newest = start === null || start.sk > high ? high : start.sk;
    let isFirst = true;
    for await (const hour of hoursBack(hourOf(low), hourOf(newest), budget)) {
      const inHour = {
        low: hour > low ? hour : low,
        high: `${hour}${afterEverything}` < high ? `${hour}${afterEverything}` : high,
        start: start !== null && hourOf(start.sk) === hour ? start : null,
      };
      // Never before the first: the cursor must have gone on.
      if (!isFirst && isSpent(budget)) {
        yield { kind: 'stopped', position: { pk: '', sk: inHour.high } };
        return;
      }
      isFirst = false;
      const handlerIds = await keysOf(hourPartition(hour), budget);
      const partitions = handlerIds.flatMap((handlerId) => partitionsOf(handlerId, shards));
      for await (const step of merge(partitions, inHour, filter, limit, budget)) {
        yield step;
        if (step.kind === 'stopped') return;
      }
    }
  }

  /**
   * The executions of several partitions in one order: by sort key, then by partition, both falling.
   * The next one is the newest of what the partitions have at hand, unless a partition whose items are used up
   * could still have a newer one: that one is read on first.
   */
  async function* merge(
    partitions: readonly string[],
    range: { low: string; high: string; start: ExecutionKey | null },
    filter: ExecutionFilter,
    limit: number,
    budget: Budget,
  ): AsyncGenerator<Step> {
    const isFiltered =
      filter.event !== undefined || filter.status !== undefined || filter.eventId !== undefined;
    // What is asked of a partition begins small, because there may be hundreds of them with large events, and
    // grows with every read of it.
    const growth = isFiltered ? 4 : 2;
    const firstPage = Math.ceil((2 * limit) / partitions.length);
    const streams = partitions.map((pk) => openStream(pk, range, firstPage));
    for (;;) {
      const newest = streams
        .filter((stream) => !stream.done || stream.read.length > 0)
        .reduce<Stream | undefined>(
          (a, b) => (a === undefined || isNewer(headOf(b), headOf(a)) ? b : a),
          undefined,
        );
      if (newest === undefined) return;
      const record = newest.read.shift();
      if (record !== undefined) {
        yield { kind: 'found', record };
        continue;
      }
      if (newest.pages > 0 && isSpent(budget)) {
        yield { kind: 'stopped', position: newest.frontier };
        return;
      }
      // Whoever has nothing at hand will be asked soon: side by side, and the rest only while the budget lasts.
      // The first page of each is always read, or the cursor would not go on.
      const empty = streams.filter((stream) => !stream.done && stream.read.length === 0);
      const largestPage = isFiltered ? Math.ceil(maxRoundItems / empty.length) : 2 * limit;
      for (let index = 0; index < empty.length; index += readsAtOnce) {
        const next = empty.slice(index, index + readsAtOnce);
        if (isSpent(budget) && next.every(({ pages }) => pages > 0)) break;
        await Promise.all(
          next.map((stream) => {
            const pageSize = Math.min(stream.nextPage, largestPage);
            stream.nextPage *= growth;
            return readOn(stream, range, filter, pageSize, budget);
          }),
        );
      }
    }
  }

  async function readOn(
    stream: Stream,
    { low, high }: { low: string; high: string },
    filter: ExecutionFilter,
    pageSize: number,
    budget: Budget,
  ): Promise<void> {
    const conditions = ['(attribute_not_exists(expiresAt) OR expiresAt > :now)'];
    if (filter.status !== undefined) conditions.push('#status = :status');
    if (filter.event !== undefined) conditions.push('#event = :event');
    const { Items, LastEvaluatedKey, ConsumedCapacity } = await dynamo.send(
      new QueryCommand({
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk AND sk BETWEEN :low AND :high',
        FilterExpression: conditions.join(' AND '),
        ProjectionExpression: [...listedNames.keys()].join(', '),
        ExpressionAttributeNames: Object.fromEntries(listedNames),
        ExpressionAttributeValues: {
          ':pk': stream.frontier.pk,
          ':low': low,
          ':high': high,
          ':now': nowSeconds(),
          ':status': filter.status,
          ':event': filter.event,
        },
        ScanIndexForward: false,
        Limit: pageSize,
        ...(stream.after && { ExclusiveStartKey: stream.after }),
        ReturnConsumedCapacity: 'TOTAL',
      }),
    );
    budget.bytesLeft -= (ConsumedCapacity?.CapacityUnits ?? 0) * bytesPerReadUnit;
    stream.pages++;
    stream.read = (Items ?? []).map(fromListedItem);
    stream.done = LastEvaluatedKey === undefined;
    if (LastEvaluatedKey !== undefined) {
      stream.frontier = LastEvaluatedKey as ExecutionKey;
      stream.after = stream.frontier;
    }
  }

  /** The hours in which anything ran, newest first. */
  async function* hoursBack(from: string, to: string, budget: Budget): AsyncGenerator<string> {
    let after: Record<string, unknown> | undefined;
    do {
      const { Items, LastEvaluatedKey, ConsumedCapacity } = await dynamo.send(
        new QueryCommand({
          TableName: tableName,
          KeyConditionExpression: 'pk = :pk AND sk BETWEEN :from AND :to',
          ExpressionAttributeValues: { ':pk': hoursPartition, ':from': from, ':to': to },
          ScanIndexForward: false,
          Limit: 24,
          ...(after && { ExclusiveStartKey: after }),
          ReturnConsumedCapacity: 'TOTAL',
        }),
      );
      budget.bytesLeft -= (ConsumedCapacity?.CapacityUnits ?? 0) * bytesPerReadUnit;
      for (const item of Items ?? []) if (!isExpired(item)) yield item['sk'] as string;
      after = LastEvaluatedKey;
    } while (after !== undefined);
  }

  async function keysOf(pk: string, budget: Budget): Promise<string[]> {
    const keys: string[] = [];
    let after: Record<string, unknown> | undefined;
    do {
      const { Items, LastEvaluatedKey, ConsumedCapacity } = await dynamo.send(
        new QueryCommand({
          TableName: tableName,
          KeyConditionExpression: 'pk = :pk',
          ExpressionAttributeValues: { ':pk': pk },
          ProjectionExpression: 'sk',
          ...(after && { ExclusiveStartKey: after }),
          ReturnConsumedCapacity: 'TOTAL',
        }),
      );
      budget.bytesLeft -= (ConsumedCapacity?.CapacityUnits ?? 0) * bytesPerReadUnit;
      keys.push(...(Items ?? []).map((item) => item['sk'] as string));
      after = LastEvaluatedKey;
    } while (after !== undefined);
    return keys;
  }

  const nowSeconds = () => Math.floor(now().getTime() / 1000);
  // Neither DynamoDB (late) nor the embedded one (never) removes expired items in time.
  const isExpired = (item: Record<string, unknown>) =>
    item['expiresAt'] !== undefined && (item['expiresAt'] as number) <= nowSeconds();
  const isSpent = (budget: Budget) => budget.bytesLeft <= 0 || now().getTime() > budget.endsAt;

  return { get, list };
}

type Budget = { bytesLeft: number; endsAt: number };

type Step =
  | { kind: 'found'; record: ListedExecution }
  /** The budget is spent. Everything newer than this position was looked at. */
  | { kind: 'stopped'; position: ExecutionKey };

/** One partition, read page by page from its newest item on. */
type Stream = {
  /** Nothing newer than this is left unread. */
  frontier: ExecutionKey;
  after: ExecutionKey | null;
  read: ListedExecution[];
  done: boolean;
  /** Pages that were read, and how many items the next one has. */
  pages: number;
  nextPage: number;
};

function openStream(
  pk: string,
  { high, start }: { high: string; start: ExecutionKey | null },
  nextPage: number,
): Stream {
  const stream = { after: null, read: [], done: false, pages: 0, nextPage };
  if (start === null || start.sk > high) return { ...stream, frontier: { pk, sk: high } };
  // At the cursor's own sort key a partition that sorts before it is still to come, one behind it was shown.
  const sk = pk < start.pk ? `${start.sk}${afterEverything}` : start.sk;
  // A query must not begin outside of its range.
  const after = { pk, sk: sk > high ? high : sk };
  return { ...stream, frontier: after, after };
}

const headOf = (stream: Stream): ExecutionKey => stream.read[0]?.key ?? stream.frontier;

const isNewer = (a: ExecutionKey, b: ExecutionKey): boolean => a.sk > b.sk || (a.sk === b.sk && a.pk > b.pk);

// A position is a sort key, or the end of an hour or of the range that was asked for.
function timeOf(sk: string): string | null {
  const [time] = /^[\dT:.-]{23}Z/u.exec(sk) ?? [];
  const [hour] = /^[\dT-]{13}/u.exec(sk) ?? [];
  return time ?? (hour === undefined ? null : `${hour}:59:59.999Z`);
}

// The key of an execution, or the end of an hour or of the range. DynamoDB refuses other keys with an error.
const isPosition = (pk: string, sk: string): boolean =>
  /^([^#]{1,64}#\d{1,2})?$/u.test(pk) && /^\d{4}-[\d:.TZ-]*(#[\x21-\x7e]{1,128})?\uffff?$/u.test(sk);

const encodeCursor = ({ pk, sk }: ExecutionKey): string =>
  Buffer.from(JSON.stringify([pk, sk])).toString('base64url');

function decodeCursor(cursor: string): ExecutionKey {
  try {
    const [pk, sk] = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')) as unknown[];
    if (typeof pk === 'string' && typeof sk === 'string' && isPosition(pk, sk)) return { pk, sk };
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  throw new InvalidInputError([{ field: 'cursor', message: 'is not a cursor of this list' }]);
}
