import { GetCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { isExpired } from '../aws/tables.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { NotFoundError } from '../errors.ts';
import type { ExecutionRecord, ListedExecution } from './execution.ts';
import { createMatcher, isTextSearch, type ExecutionFilter } from './filter.ts';
import { statusOfReason } from './life-cycle.ts';
import { fromItem } from './item.ts';
import { decodeExecutionId, type ExecutionKey } from './key.ts';
import type { Step } from './merge-partitions.ts';
import { afterEverything, beforeEverything, createPartitionReader } from './read-partition.ts';
import { searchIndex } from './search-index.ts';
import { walkLog, type Search } from './walk-log.ts';

export type ExecutionPage = {
  records: ListedExecution[];
  nextCursor: string | null;
  /**
   * Set when the search stopped because it had read enough: what is older was not looked at yet. And at the end of a search
   * in texts that was not told where to end.
   */
  searchedBackTo: string | null;
};

// A request of the API reads this much and no more: a filter that matches nothing must not read the whole log.
const budget = { maxBytes: 4 * 1024 * 1024, maxMs: 2000 };
// How far a search in texts goes back that is not told.
const textSearchMs = 24 * 3_600_000;

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
    if (Item?.['status'] === undefined || isExpired(Item, now())) throw new NotFoundError('execution', id);
    return fromItem(Item);
  }

  /**
   * A page of executions, newest first. What is not well is found through the index, everything else by walking back
   * through the log. Both give the same order, so a cursor of the one is good for the other.
   *
   * @param cursor `nextCursor` of the page before. Throws InvalidInputError when it is none
   */
  async function list(filter: ExecutionFilter, limit: number, cursor?: string): Promise<ExecutionPage> {
    const start = cursor === undefined ? null : decodeCursor(cursor, Position);
    const endsAt = isTextSearch(filter) && filter.from === undefined ? aDayBefore(filter.to) : null;
    const low = endsAt ?? filter.from ?? beforeEverything;
    const high = `${filter.to ?? ''}${afterEverything}`;
    const steps = await search(filter, { range: { low, high, start }, limit });
    const records: ListedExecution[] = [];
    for await (const step of steps) {
      if (step.kind === 'stopped') {
        return {
          records,
          nextCursor: cursorAt(step.position),
          searchedBackTo: timeOf(step.position.sk) ?? now().toISOString(),
        };
      }
      const last = records.at(-1);
      // One more than asked for: now it is known that there is a next page.
      if (records.length === limit && last !== undefined) {
        return { records, nextCursor: cursorAt(last.key), searchedBackTo: null };
      }
      records.push(step.found);
    }
    return { records, nextCursor: null, searchedBackTo: endsAt };
  }

  async function search(
    filter: ExecutionFilter,
    { range, limit }: Pick<Search, 'range' | 'limit'>,
  ): Promise<AsyncIterable<Step<ListedExecution>> | []> {
    const { low, high, start } = range;
    if (low > high || (start !== null && start.sk < low)) return [];
    const asked = {
      handlerId: filter.handlerId,
      matcher: createMatcher(filter),
      range,
      limit,
      expiresAfter: nowSeconds(),
      reader: createPartitionReader({ dynamo, tableName, budget, now }),
    };
    const status = filter.status ?? (filter.reason && statusOfReason[filter.reason]);
    const indexed = status === undefined || status === 'succeeded' ? null : await searchIndex(asked, status);
    return indexed ?? walkLog(asked, shards);
  }

  function aDayBefore(to: string | undefined): string {
    const end = now().toISOString();
    return new Date(Date.parse(to !== undefined && to < end ? to : end) - textSearchMs).toISOString();
  }

  const nowSeconds = () => Math.floor(now().getTime() / 1000);

  return { get, list };
}

// A position is a sort key, or the end of an hour or of the range that was asked for.
function timeOf(sk: string): string | null {
  const [time] = /^[\dT:.-]{23}Z/u.exec(sk) ?? [];
  const [hour] = /^[\dT-]{13}/u.exec(sk) ?? [];
  return time ?? (hour === undefined ? null : `${hour}:59:59.999Z`);
}

const cursorAt = ({ pk, sk }: ExecutionKey): string => encodeCursor([pk, sk]);

// The key of an execution, or the end of an hour or of the range. DynamoDB refuses other keys with an error, also one that
// is where a range begins: such a query has nothing left to read. https://github.com/aws/aws-sdk-ruby/issues/2456
const Position = z
  .tuple([
    z.string().regex(/^([^#]{1,64}#\d{1,2})?$/u),
    z.string().regex(/^\d{4}-[\d:.TZ-]*(#[\x21-\x7e]{1,128}|\uffff)$/u),
  ])
  .transform(([pk, sk]): ExecutionKey => ({ pk, sk }));
