import type { ExecutionKey } from './key.ts';

// How many partitions are read side by side before the budget is asked again.
const readsAtOnce = 25;

/** What a search comes upon as it goes back in time. */
export type Step<Found> =
  | { kind: 'found'; found: Found }
  /** The budget is spent. Everything newer than this position was looked at. */
  | { kind: 'stopped'; position: ExecutionKey };

/** A partition of the log or of its index, newest first. */
export type Partition<Found> = {
  /** Nothing in it is newer than this. */
  newest: ExecutionKey;
  /**
   * One page; `next` is where the page after it begins, null when there is none.
   *
   * @param after `next` of the page before; null for the first page
   */
  readPage: (
    after: ExecutionKey | null,
    pageSize: number,
  ) => Promise<{ found: Found[]; next: ExecutionKey | null }>;
};

/** How much is asked of a partition: at first, by what factor more with every read of it, and at most. */
export type PageSizes = {
  first: number;
  growth: number;
  /** @param partitions how many are read side by side */
  largest: (partitions: number) => number;
};

/**
 * What several partitions hold, in one order: by sort key, then by partition, both falling.
 * The next one is the newest of what the partitions have at hand, unless a partition whose items are used up
 * could still have a newer one: that one is read on first.
 */
export async function* mergePartitions<Found extends { key: ExecutionKey }>({
  partitions,
  pageSizes,
  isSpent,
}: {
  partitions: readonly Partition<Found>[];
  pageSizes: PageSizes;
  isSpent: () => boolean;
}): AsyncGenerator<Step<Found>> {
  const streams = partitions.map((partition) => openStream(partition, pageSizes.first));
  for (;;) {
    const newest = newestOf(streams);
    if (newest === undefined) return;
    const found = newest.read.shift();
    if (found !== undefined) {
      yield { kind: 'found', found };
      continue;
    }
    if (newest.pages > 0 && isSpent()) {
      yield { kind: 'stopped', position: newest.frontier };
      return;
    }
    // Whoever has nothing at hand will be asked soon: side by side, and the rest only while the budget lasts.
    // The first page of each is always read, or the cursor would not go on.
    const empty = streams.filter((stream) => !stream.done && stream.read.length === 0);
    const largestPage = pageSizes.largest(empty.length);
    for (let index = 0; index < empty.length; index += readsAtOnce) {
      const next = empty.slice(index, index + readsAtOnce);
      if (isSpent() && next.every(({ pages }) => pages > 0)) break;
      await Promise.all(
        next.map((stream) => {
          const pageSize = Math.min(stream.nextPage, largestPage);
          stream.nextPage *= pageSizes.growth;
          return readOn(stream, pageSize);
        }),
      );
    }
  }
}

/** One partition, read page by page from its newest item on. */
type Stream<Found> = {
  readPage: Partition<Found>['readPage'];
  /** Nothing newer than this is left unread. */
  frontier: ExecutionKey;
  after: ExecutionKey | null;
  read: Found[];
  done: boolean;
  /** Pages that were read, and how many items the next one has. */
  pages: number;
  nextPage: number;
};

const openStream = <Found>({ newest, readPage }: Partition<Found>, nextPage: number): Stream<Found> => ({
  readPage,
  frontier: newest,
  after: null,
  read: [],
  done: false,
  pages: 0,
  nextPage,
});

async function readOn<Found>(stream: Stream<Found>, pageSize: number): Promise<void> {
  const { found, next } = await stream.readPage(stream.after, pageSize);
  stream.pages++;
  stream.read = found;
  stream.done = next === null;
  if (next !== null) {
    stream.frontier = next;
    stream.after = next;
  }
}

type Head = { key: ExecutionKey };

/** The stream that has, or could have, the newest item; undefined when all are at their end. */
const newestOf = <Found extends Head>(streams: readonly Stream<Found>[]): Stream<Found> | undefined =>
  streams
    .filter((stream) => !stream.done || stream.read.length > 0)
    .reduce<Stream<Found> | undefined>(
      (a, b) => (a === undefined || isNewer(headOf(b), headOf(a)) ? b : a),
      undefined,
    );

const headOf = <Found extends Head>(stream: Stream<Found>): ExecutionKey =>
  stream.read[0]?.key ?? stream.frontier;

/** The order of lists. */
export const isNewer = (a: ExecutionKey, b: ExecutionKey): boolean =>
  a.sk > b.sk || (a.sk === b.sk && a.pk > b.pk);
