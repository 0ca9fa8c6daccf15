import type { ListedExecution } from './execution.ts';
import { attentionPartitionsOf, fromListedItem } from './item.ts';
import { keyToString, type ExecutionKey } from './key.ts';
import type { ExecutionStatus } from './life-cycle.ts';
import { isNewer, mergePartitions, type Partition, type Step } from './merge-partitions.ts';
import { afterEverything, beforeEverything, maxBatchGet } from './read-partition.ts';
import type { Search } from './walk-log.ts';

/** The statuses that the sparse index has. */
export type IndexedStatus = Exclude<ExecutionStatus, 'succeeded'>;

type Keyed = { key: ExecutionKey };

// The index is in the order of a handler's time for some, of due times for others; beyond this many it is not put into
// the order of lists by hand.
const maxSortedKeys = 2000;
// Of the first read of executions: their size is not known yet, and may be anything.
const firstItems = 25;
const maxRoundKeys = 4000;

/**
 * The executions of a status, newest first, through the sparse index: what it costs depends on them and not on the log.
 * It lags a little behind the log. Null when it has too many, and not in the order that is needed: then the log has to be
 * walked.
 */
export async function searchIndex(
  search: Search,
  status: IndexedStatus,
): Promise<AsyncGenerator<Step<ListedExecution>> | null> {
  // Of one handler they are sorted by time, all but those that wait.
  if (search.handlerId !== undefined && status !== 'waiting') {
    return readExecutions(search, mergeKeys(search, status, search.handlerId));
  }
  const keys = await readKeys(search, status);
  return keys && readExecutions(search, keys);
}

/** The keys of one handler's executions, as exact as the index is. */
const mergeKeys = (search: Search, status: IndexedStatus, handlerId: string): AsyncGenerator<Step<Keyed>> =>
  mergePartitions({
    partitions: attentionPartitionsOf(status).map((pk) => indexPartition(pk, handlerId, search)),
    pageSizes: {
      // Any of them may have the whole page, and keys are small.
      first: search.limit + 1,
      growth: 4,
      largest: (atOnce) => Math.ceil(maxRoundKeys / atOnce),
    },
    isSpent: search.reader.isSpent,
  });

function indexPartition(
  pk: string,
  handlerId: string,
  { reader, range: { low, high, start }, ...search }: Search,
): Partition<Keyed> {
  const newest = start !== null && start.sk < high ? start.sk : high;
  const range = { low: `${handlerId}#${low}`, high: `${handlerId}#${newest}` };
  return {
    newest: { pk: `${handlerId}#${afterEverything}`, sk: newest },
    async readPage(after, pageSize) {
      const query = { pk, inIndex: true, range, attributes: ['pk', 'sk'], pageSize };
      const { items, next } = await reader.readPage(query, after);
      return { found: wantedKeys(items as ExecutionKey[], { range: { low, high, start }, ...search }), next };
    },
  };
}

/** All keys of a status, of one handler or of all; null when there are too many. */
async function readKeys({ reader, ...search }: Search, status: IndexedStatus): Promise<Step<Keyed>[] | null> {
  const range = { low: beforeEverything, high: afterEverything };
  // An entry that moves while they are read may come twice, and BatchGetItem takes a key once.
  const keys = new Map<string, ExecutionKey>();
  let open = attentionPartitionsOf(status).map((pk) => ({ pk, after: null as ExecutionKey | null }));
  const pageSize = Math.ceil(maxSortedKeys / open.length) + 1;
  while (open.length > 0) {
    const pages = await Promise.all(
      open.map(async ({ pk, after }) => {
        const query = { pk, inIndex: true, range, attributes: ['pk', 'sk'], pageSize };
        return { pk, ...(await reader.readPage(query, after)) };
      }),
    );
    for (const key of pages.flatMap(({ items }) => items as ExecutionKey[])) keys.set(keyToString(key), key);
    if (keys.size > maxSortedKeys) return null;
    open = pages.flatMap(({ pk, next }) => (next === null ? [] : [{ pk, after: next }]));
  }
  return wantedKeys([...keys.values()], search).map((found) => ({ kind: 'found', found }));
}

function wantedKeys(
  keys: readonly ExecutionKey[],
  { matcher: { isWantedKey }, range: { low, high, start } }: Pick<Search, 'matcher' | 'range'>,
): Keyed[] {
  return keys
    .filter(({ pk, sk }) => sk >= low && sk <= high && (start === null || isNewer(start, { pk, sk })))
    .filter(isWantedKey)
    .toSorted((a, b) => (isNewer(a, b) ? -1 : 1))
    .map(({ pk, sk }) => ({ key: { pk, sk } }));
}

/** The executions behind keys, as many at once as the budget has room for. */
async function* readExecutions(
  search: Search,
  keys: AsyncIterable<Step<Keyed>> | Iterable<Step<Keyed>>,
): AsyncGenerator<Step<ListedExecution>> {
  const { reader, limit } = search;
  let chunk: ExecutionKey[] = [];
  let size = Math.min(limit + 1, firstItems);
  for await (const step of keys) {
    if (step.kind === 'stopped') {
      yield* await readChunk(search, chunk);
      yield step;
      return;
    }
    const { key } = step.found;
    chunk.push(key);
    if (chunk.length < size) continue;
    const bytesBefore = reader.bytesLeft();
    yield* await readChunk(search, chunk);
    if (reader.isSpent()) {
      yield { kind: 'stopped', position: key };
      return;
    }
    const itemBytes = (bytesBefore - reader.bytesLeft()) / chunk.length;
    size = Math.max(1, Math.min(maxBatchGet, Math.floor(reader.bytesLeft() / itemBytes)));
    chunk = [];
  }
  yield* await readChunk(search, chunk);
}

async function readChunk(
  { matcher: { attributes, isWanted }, expiresAfter, reader }: Search,
  keys: readonly ExecutionKey[],
): Promise<Step<ListedExecution>[]> {
  const items = await reader.readItems(keys, [...attributes, 'expiresAt']);
  const itemOf = new Map(items.map((item) => [keyToString(item as ExecutionKey), item] as const));
  return keys
    .map((key) => itemOf.get(keyToString(key)))
    .filter((item) => item !== undefined)
    .filter(({ expiresAt }) => expiresAt === undefined || (expiresAt as number) > expiresAfter)
    .filter(isWanted)
    .map((item) => ({ kind: 'found', found: fromListedItem(item) }));
}
