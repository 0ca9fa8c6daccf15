import type { ListedExecution } from './execution.ts';
import { fromListedItem, listedAttributes } from './item.ts';
import type { ExecutionKey } from './key.ts';
import type { ExecutionStatus } from './life-cycle.ts';
import type { PartitionQuery, PartitionReader } from './read-partition.ts';

// How many partitions are read side by side before the budget is asked again.
const readsAtOnce = 25;
// Of a search with a filter, one round. Without one it is twice the page that was asked for.
const maxRoundItems = 500;

/** What a search comes upon as it goes back in time. */
export type Step =
  | { kind: 'found'; record: ListedExecution }
  /** The budget is spent. Everything newer than this position was looked at. */
  | { kind: 'stopped'; position: ExecutionKey };

/** Sort keys, both ends included, and where the page before ended; null for the first page. */
export type MergeRange = { low: string; high: string; start: ExecutionKey | null };

/**
 * The executions of several partitions in one order: by sort key, then by partition, both falling.
 * The next one is the newest of what the partitions have at hand, unless a partition whose items are used up
 * could still have a newer one: that one is read on first.
 *
 * @param isFiltered whether much of what is read may be left out, by `where` or by the caller
 * @param limit how many executions the caller wants; it may go on asking, or stop before
 */
export async function* mergePartitions({
  reader,
  partitions,
  range,
  where,
  expiresAfter,
  isFiltered,
  limit,
}: {
  reader: PartitionReader;
  partitions: readonly string[];
  range: MergeRange;
  where: { status: ExecutionStatus | undefined; event: string | undefined };
  expiresAfter: number;
  isFiltered: boolean;
  limit: number;
}): AsyncGenerator<Step> {
  // What is asked of a partition begins small, because there may be hundreds of them with large events, and
  // grows with every read of it.
  const growth = isFiltered ? 4 : 2;
  const firstPage = Math.ceil((2 * limit) / partitions.length);
  const streams = partitions.map((pk) => openStream(pk, range, firstPage));
  for (;;) {
    const newest = newestOf(streams);
    if (newest === undefined) return;
    const record = newest.read.shift();
    if (record !== undefined) {
      yield { kind: 'found', record };
      continue;
    }
    if (newest.pages > 0 && reader.isSpent()) {
      yield { kind: 'stopped', position: newest.frontier };
      return;
    }
    // Whoever has nothing at hand will be asked soon: side by side, and the rest only while the budget lasts.
    // The first page of each is always read, or the cursor would not go on.
    const empty = streams.filter((stream) => !stream.done && stream.read.length === 0);
    const largestPage = isFiltered ? Math.ceil(maxRoundItems / empty.length) : 2 * limit;
    for (let index = 0; index < empty.length; index += readsAtOnce) {
      const next = empty.slice(index, index + readsAtOnce);
      if (reader.isSpent() && next.every(({ pages }) => pages > 0)) break;
      await Promise.all(
        next.map((stream) => {
          const pageSize = Math.min(stream.nextPage, largestPage);
          stream.nextPage *= growth;
          return readOn(stream, reader, { range, where, expiresAfter, pageSize });
        }),
      );
    }
  }
}

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

function openStream(pk: string, { high, start }: MergeRange, nextPage: number): Stream {
  const stream = { after: null, read: [], done: false, pages: 0, nextPage };
  if (start === null || start.sk > high) return { ...stream, frontier: { pk, sk: high } };
  // At the cursor's own sort key a partition that sorts before it is still to come, one behind it was shown.
  // The very next key, not one behind everything that begins like it: the id "e1" must not let "e12" in again.
  const sk = pk < start.pk ? `${start.sk}\u0000` : start.sk;
  // A query must not begin outside of its range.
  const after = { pk, sk: sk > high ? high : sk };
  return { ...stream, frontier: after, after };
}

async function readOn(
  stream: Stream,
  reader: PartitionReader,
  query: Omit<PartitionQuery, 'pk' | 'attributes'>,
): Promise<void> {
  const { items, next } = await reader.readPage(
    { ...query, pk: stream.frontier.pk, attributes: listedAttributes },
    stream.after,
  );
  stream.pages++;
  stream.read = items.map(fromListedItem);
  stream.done = next === null;
  if (next !== null) {
    stream.frontier = next;
    stream.after = next;
  }
}

/** The stream that has, or could have, the newest execution; undefined when all are at their end. */
const newestOf = (streams: readonly Stream[]): Stream | undefined =>
  streams
    .filter((stream) => !stream.done || stream.read.length > 0)
    .reduce<Stream | undefined>(
      (a, b) => (a === undefined || isNewer(headOf(b), headOf(a)) ? b : a),
      undefined,
    );

const headOf = (stream: Stream): ExecutionKey => stream.read[0]?.key ?? stream.frontier;

const isNewer = (a: ExecutionKey, b: ExecutionKey): boolean => a.sk > b.sk || (a.sk === b.sk && a.pk > b.pk);
