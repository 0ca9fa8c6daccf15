import type { Matcher } from './filter.ts';
import { hourPartition, hoursPartition } from './hours.ts';
import { fromListedItem } from './item.ts';
import type { ListedExecution } from './execution.ts';
import { hourOf, partitionsOf, type ExecutionKey } from './key.ts';
import { mergePartitions, type PageSizes, type Partition, type Step } from './merge-partitions.ts';
import { afterEverything, beforeEverything, type PartitionReader } from './read-partition.ts';

/** What every way to search is given. */
export type Search = {
  handlerId: string | undefined;
  matcher: Matcher;
  range: Range;
  /** How many executions the caller wants; it may go on asking, or stop before. */
  limit: number;
  /** Seconds since 1970: what has expired by then is left out. */
  expiresAfter: number;
  reader: PartitionReader;
};

/** Sort keys, both ends included, and where the page before ended; null for the first page. */
export type Range = { low: string; high: string; start: ExecutionKey | null };

// The hours that are read at once: a day.
const hoursAtOnce = 24;
// Of a selective search, one round. Of another it is twice the page that was asked for.
const maxRoundItems = 500;

/**
 * Walks back through the log. It has one partition for each handler and shard, so this is a merge: of one handler's
 * partitions, or, hour by hour, of the handlers that ran in that hour.
 */
export async function* walkLog(search: Search, shards: number): AsyncGenerator<Step<ListedExecution>> {
  const { handlerId, range, reader } = search;
  if (handlerId !== undefined) {
    yield* merge(search, partitionsOf(handlerId, shards), range);
    return;
  }
  const { low, high, start } = range;
  const newest = start === null || start.sk > high ? high : start.sk;
  let isFirst = true;
  for await (const hour of hoursBack(hourOf(low), hourOf(newest), search)) {
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
    const partitions = handlerIds.flatMap((id) => partitionsOf(id, shards));
    for await (const step of merge(search, partitions, inHour)) {
      yield step;
      if (step.kind === 'stopped') return;
    }
  }
}

/** The hours in which anything ran, newest first. */
async function* hoursBack(
  from: string,
  to: string,
  { reader, expiresAfter }: Search,
): AsyncGenerator<string> {
  const hours = reader.readAll({
    pk: hoursPartition,
    range: { low: from, high: to },
    attributes: ['sk'],
    expiresAfter,
    pageSize: hoursAtOnce,
  });
  for await (const { sk } of hours) yield sk as string;
}

// An expired row of an hour counts: executions that were changed later are kept longer than it.
async function handlersIn(hour: string, reader: PartitionReader): Promise<string[]> {
  const rows = await reader.readWhole({
    pk: hourPartition(hour),
    range: { low: beforeEverything, high: afterEverything },
    attributes: ['sk'],
  });
  return rows.map(({ sk }) => sk as string);
}

const merge = (search: Search, pks: readonly string[], range: Range): AsyncGenerator<Step<ListedExecution>> =>
  mergePartitions({
    partitions: pks.map((pk) => logPartition(pk, range, search)),
    pageSizes: pageSizesOf(search, pks.length),
    isSpent: search.reader.isSpent,
  });

// What is asked of a partition begins small, because there may be hundreds of them with large events, and grows
// with every read of it.
function pageSizesOf({ limit, matcher: { isSelective } }: Search, partitions: number): PageSizes {
  return {
    first: Math.ceil((2 * limit) / partitions),
    growth: isSelective ? 4 : 2,
    largest: (atOnce) => (isSelective ? Math.ceil(maxRoundItems / atOnce) : 2 * limit),
  };
}

/** A partition of the log, from the end of the range on, or from where the page before ended. */
export function logPartition(
  pk: string,
  range: Range,
  {
    matcher: { attributes, where, isWanted },
    expiresAfter,
    reader,
  }: Pick<Search, 'matcher' | 'expiresAfter' | 'reader'>,
): Partition<ListedExecution> {
  const begin = beginningOf(pk, range);
  return {
    newest: begin ?? { pk, sk: range.high },
    async readPage(after, pageSize) {
      const query = { pk, range, attributes, where, expiresAfter, pageSize };
      const { items, next } = await reader.readPage(query, after ?? begin);
      return { found: items.filter(isWanted).map(fromListedItem), next };
    },
  };
}

function beginningOf(pk: string, { high, start }: Range): ExecutionKey | null {
  if (start === null || start.sk > high) return null;
  // At the cursor's own sort key a partition that sorts before it is still to come, one behind it was shown.
  // The very next key, not one behind everything that begins like it: the id "e1" must not let "e12" in again.
  const sk = pk < start.pk ? `${start.sk}\u0000` : start.sk;
  // A query must not begin outside of its range.
  return { pk, sk: sk > high ? high : sk };
}
