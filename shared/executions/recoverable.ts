import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { expiresAfter } from '../aws/tables.ts';
import { partitionsOfKind, type Retention } from './item.ts';
import { partitionsOf, readKey, type ExecutionKey } from './key.ts';
import { afterEverything, createPartitionReader, type PartitionReader } from './read-partition.ts';
import type { RecoverableStatus, RecoveryRange } from './recovery.ts';

/** How far a recovery has come: in which of its partitions, and behind what there. */
export type RecoveryPosition = { partition: number; after: ExecutionKey | null };

export const fromTheBeginning: RecoveryPosition = { partition: 0, after: null };

/** Who needs more than this does not need the number. */
const maxCounted = 10_000;
// A thousand keys of the index are about 200 KB.
const countedAtOnce = 1000;
// A request of the API reads this much and no more.
const countBudget = { maxBytes: 4 * 1024 * 1024, maxMs: 2000 };
// All partitions of the index, and some of the log.
const maxReads = 20;
// A recovery reads a page at a time, and whoever runs it has a deadline.
const noBudget = { maxBytes: Number.POSITIVE_INFINITY, maxMs: Number.POSITIVE_INFINITY };

/**
 * The executions that recoveries are for. What is not well comes from the index, which lags a little behind the log; what has succeeded is in
 * the log alone.
 */
export function createRecoverables({
  dynamo,
  tableName,
  shards,
  retention,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  shards: number;
  retention: Retention;
  now: () => Date;
}) {
  const open = (budget: typeof noBudget) => createPartitionReader({ dynamo, tableName, budget, now });

  /**
   * A page, partition after partition, each from its oldest on. It reads a bounded amount, so it may be short, even empty, and yet have a
   * next one. `next` is null at the end.
   */
  async function readPage(
    range: RecoveryRange,
    position: RecoveryPosition,
    pageSize: number,
  ): Promise<{ keys: ExecutionKey[]; next: RecoveryPosition | null }> {
    const reader = open(noBudget);
    const keys: ExecutionKey[] = [];
    let next: RecoveryPosition | null = position;
    for (let reads = 0; next !== null && keys.length < pageSize && reads < maxReads; reads++) {
      const part: PartOfPage = await readFrom(reader, range, next, pageSize - keys.length);
      keys.push(...part.keys);
      next = part.next;
    }
    return { keys, next };
  }

  /**
   * How many there are, up to 10,000. Not exact when there are more, when that was too much to read, and when some are so old that they
   * may have expired, which the index does not know.
   */
  async function count(range: RecoveryRange): Promise<{ count: number; exact: boolean }> {
    const reader = open(countBudget);
    let counted = 0;
    let isCertain = true;
    for (let position = fromTheBeginning; ;) {
      const pageSize = Math.min(countedAtOnce, maxCounted + 1 - counted);
      const { keys, status, next } = await readFrom(reader, range, position, pageSize);
      counted += keys.length;
      if (status !== 'succeeded' && keys.some((key) => mayHaveExpired(key, status))) isCertain = false;
      if (counted > maxCounted) return { count: maxCounted, exact: false };
      if (next === null) return { count: counted, exact: isCertain };
      if (reader.isSpent()) return { count: counted, exact: false };
      position = next;
    }
  }

  async function readFrom(
    reader: PartitionReader,
    range: RecoveryRange,
    { partition, after }: RecoveryPosition,
    pageSize: number,
  ): Promise<PartOfPage> {
    const partitions = partitionsIn(range);
    const { pk, status } = partitions[partition] as (typeof partitions)[number];
    const prefix = status === 'succeeded' ? '' : `${range.handlerId}#`;
    const { items, next } = await reader.readPage(
      {
        pk,
        range: { low: `${prefix}${range.from}`, high: `${prefix}${range.to}${afterEverything}` },
        attributes: ['pk', 'sk'],
        ...(status === 'succeeded'
          ? { where: { status: [status] }, expiresAfter: Math.floor(now().getTime() / 1000) }
          : { inIndex: true }),
        oldestFirst: true,
        pageSize,
      },
      after,
    );
    const isLast = next === null && partition === partitions.length - 1;
    return {
      keys: items.map(({ pk: ofLog, sk }) => ({ pk: ofLog as string, sk: sk as string })),
      status,
      next: isLast ? null : { partition: next === null ? partition + 1 : partition, after: next },
    };
  }

  // The log's come last: more shards make more partitions, and those that a recovery has been through stay in their place.
  const partitionsIn = ({ handlerId, statuses }: RecoveryRange) =>
    statuses.flatMap((status) =>
      (status === 'succeeded' ? partitionsOf(handlerId, shards) : partitionsOfKind(status)).map((pk) => ({
        pk,
        status,
      })),
    );

  // It expires so long after its last change, which was not before its time.
  const mayHaveExpired = (key: ExecutionKey, status: Exclude<RecoverableStatus, 'succeeded'>): boolean =>
    expiresAfter(new Date(readKey(key).time), status === 'held' ? retention.heldDays : retention.endedDays) <=
    Math.floor(now().getTime() / 1000);

  return { readPage, count };
}

/** What one partition had for a page. */
type PartOfPage = { keys: ExecutionKey[]; status: RecoverableStatus; next: RecoveryPosition | null };
