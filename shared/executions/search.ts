import { GetCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { NotFoundError } from '../errors.ts';
import type { ExecutionRecord, ListedExecution } from './execution.ts';
import { hourPartition, hoursPartition } from './hours.ts';
import { fromItem } from './item.ts';
import { decodeExecutionId, hourOf, partitionsOf, readKey, type ExecutionKey } from './key.ts';
import type { ExecutionStatus } from './life-cycle.ts';
import { mergePartitions, type MergeRange, type Step } from './merge-partitions.ts';
import {
  afterEverything,
  beforeEverything,
  createPartitionReader,
  type PartitionReader,
} from './read-partition.ts';

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

// The hours that are read at once: a day.
const hoursAtOnce = 24;

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
    const start = cursor === undefined ? null : decodeCursor(cursor, Position);
    const reader = createPartitionReader({ dynamo, tableName, now });
    const records: ListedExecution[] = [];
    for await (const step of walk({ filter, start, limit, reader })) {
      if (step.kind === 'stopped') {
        return {
          records,
          nextCursor: cursorAt(step.position),
          searchedBackTo: timeOf(step.position.sk) ?? now().toISOString(),
        };
      }
      if (filter.eventId !== undefined && readKey(step.record.key).eventId !== filter.eventId) continue;
      const last = records.at(-1);
      // One more than asked for: now it is known that there is a next page.
      if (records.length === limit && last !== undefined) {
        return { records, nextCursor: cursorAt(last.key), searchedBackTo: null };
      }
      records.push(step.record);
    }
    return { records, nextCursor: null, searchedBackTo: null };
  }

  async function* walk({ filter, start, limit, reader }: Walk): AsyncGenerator<Step> {
    const low = filter.from ?? beforeEverything;
    const high = `${filter.to ?? ''}${afterEverything}`;
    if (low > high || (start !== null && start.sk < low)) return;
    const merge = (partitions: readonly string[], range: MergeRange) =>
      mergePartitions({
        reader,
        partitions,
        range,
        where: { status: filter.status, event: filter.event },
        expiresAfter: nowSeconds(),
        isFiltered: filter.event !== undefined || filter.status !== undefined || filter.eventId !== undefined,
        limit,
      });
    if (filter.handlerId !== undefined) {
      yield* merge(partitionsOf(filter.handlerId, shards), { low, high, start });
      return;
    }
    const newest = start === null || start.sk > high ? high : start.sk;
    let isFirst = true;
    for await (const hour of hoursBack(hourOf(low), hourOf(newest), reader)) {
      const inHour = {
        low: hour > low ? hour : low,
        high: `${hour}${afterEverything}` < high ? `${hour}${afterEverything}` : high,
        start: start !== null && hourOf(start.sk) === hour ? start : null,
      };
      // Never before the first: the cursor must have gone on.
      if (!isFirst && reader.isSpent()) {
        yield { kind: 'stopped', position: { pk: '', sk: inHour.high } };
        return;
      }
      isFirst = false;
      const handlerIds = await handlersIn(hour, reader);
      const partitions = handlerIds.flatMap((handlerId) => partitionsOf(handlerId, shards));
      for await (const step of merge(partitions, inHour)) {
        yield step;
        if (step.kind === 'stopped') return;
      }
    }
  }

  /** The hours in which anything ran, newest first. */
  async function* hoursBack(from: string, to: string, reader: PartitionReader): AsyncGenerator<string> {
    const hours = reader.readAll({
      pk: hoursPartition,
      range: { low: from, high: to },
      attributes: ['sk'],
      expiresAfter: nowSeconds(),
      pageSize: hoursAtOnce,
    });
    for await (const { sk } of hours) yield sk as string;
  }

  const nowSeconds = () => Math.floor(now().getTime() / 1000);
  // Neither DynamoDB (late) nor the embedded one (never) removes expired items in time.
  const isExpired = (item: Record<string, unknown>) =>
    item['expiresAt'] !== undefined && (item['expiresAt'] as number) <= nowSeconds();

  return { get, list };
}

type Walk = { filter: ExecutionFilter; start: ExecutionKey | null; limit: number; reader: PartitionReader };

// An expired row of an hour counts: executions that were changed later are kept longer than it.
async function handlersIn(hour: string, reader: PartitionReader): Promise<string[]> {
  const rows = reader.readAll({
    pk: hourPartition(hour),
    range: { low: beforeEverything, high: afterEverything },
    attributes: ['sk'],
  });
  const handlerIds: string[] = [];
  for await (const { sk } of rows) handlerIds.push(sk as string);
  return handlerIds;
}

// A position is a sort key, or the end of an hour or of the range that was asked for.
function timeOf(sk: string): string | null {
  const [time] = /^[\dT:.-]{23}Z/u.exec(sk) ?? [];
  const [hour] = /^[\dT-]{13}/u.exec(sk) ?? [];
  return time ?? (hour === undefined ? null : `${hour}:59:59.999Z`);
}

const cursorAt = ({ pk, sk }: ExecutionKey): string => encodeCursor([pk, sk]);

// The key of an execution, or the end of an hour or of the range. DynamoDB refuses other keys with an error.
const Position = z
  .tuple([
    z.string().regex(/^([^#]{1,64}#\d{1,2})?$/u),
    z.string().regex(/^\d{4}-[\d:.TZ-]*(#[\x21-\x7e]{1,128})?\uffff?$/u),
  ])
  .transform(([pk, sk]): ExecutionKey => ({ pk, sk }));
