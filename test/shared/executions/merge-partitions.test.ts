import { PutCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, describe, expect, it } from 'vitest';
import type { ListedExecution } from '../../../shared/executions/execution.ts';
import { createMatcher } from '../../../shared/executions/filter.ts';
import { toItem } from '../../../shared/executions/item.ts';
import { keyToString, type ExecutionKey } from '../../../shared/executions/key.ts';
import { mergePartitions, type Step } from '../../../shared/executions/merge-partitions.ts';
import {
  afterEverything,
  beforeEverything,
  createPartitionReader,
} from '../../../shared/executions/read-partition.ts';
import { logPartition } from '../../../shared/executions/walk-log.ts';
import { anExecution } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const at = (minute: number) => `2026-11-23T10:${String(minute).padStart(2, '0')}:00.000Z`;
let logs = 0;

/** Partitions of their own, one of each list of minutes, with an execution at each of them. */
async function aLog(minutes: readonly (readonly number[])[]) {
  const log = ++logs;
  const partitions = minutes.map((_, index) => `h_${log}_${index}#0`);
  const keys = partitions.flatMap((pk, index) =>
    (minutes[index] ?? []).map((minute) => ({ pk, sk: `${at(minute)}#e` })),
  );
  for (const key of keys) {
    const record = { ...anExecution({ time: key.sk.slice(0, 24) }), key };
    const Item = toItem(record, { endedDays: 30, heldDays: 90 }, new Date());
    await db.dynamo.send(new PutCommand({ TableName: db.executionsTable, Item }));
  }
  return { partitions, keys };
}

/** What a merge gives, as strings of keys: of what was found, and of where it stopped. */
async function merge({
  partitions,
  start = null,
  limit = 20,
  now = () => new Date(),
}: {
  partitions: readonly string[];
  start?: ExecutionKey | null;
  limit?: number;
  now?: () => Date;
}) {
  const reader = createPartitionReader({
    dynamo: db.dynamo,
    tableName: db.executionsTable,
    budget: { maxBytes: 4 * 1024 * 1024, maxMs: 2000 },
    now,
  });
  const range = { low: beforeEverything, high: afterEverything, start };
  const search = { reader, matcher: createMatcher({}), expiresAfter: 0 };
  const steps: AsyncGenerator<Step<ListedExecution>> = mergePartitions({
    partitions: partitions.map((pk) => logPartition(pk, range, search)),
    pageSizes: { first: Math.ceil((2 * limit) / partitions.length), growth: 2, largest: () => 2 * limit },
    isSpent: reader.isSpent,
  });
  const found: string[] = [];
  for await (const step of steps) {
    if (step.kind === 'stopped') return { found, stoppedAt: keyToString(step.position) };
    found.push(keyToString(step.found.key));
  }
  return { found, stoppedAt: null };
}

const newestFirst = (keys: readonly ExecutionKey[]): string[] =>
  keys
    .toSorted((a, b) => (a.sk === b.sk ? Number(a.pk < b.pk) - Number(a.pk > b.pk) : a.sk < b.sk ? 1 : -1))
    .map(keyToString);

describe('mergePartitions', () => {
  it('gives nothing of no partitions, and of empty ones', async () => {
    const { partitions } = await aLog([[], []]);
    expect(await merge({ partitions: [] })).toEqual({ found: [], stoppedAt: null });
    expect(await merge({ partitions })).toEqual({ found: [], stoppedAt: null });
  });

  it.each([1, 2, 20])(
    'orders by sort key, then by partition, with pages for a limit of %i',
    async (limit) => {
      const { partitions, keys } = await aLog([[1, 2, 3, 9, 30], [4, 9, 31, 32, 33, 34], [], [9]]);
      expect(await merge({ partitions, limit })).toEqual({ found: newestFirst(keys), stoppedAt: null });
    },
  );

  it('goes on behind any of its executions, others at the same time included', async () => {
    const { partitions, keys } = await aLog([
      [1, 5, 9],
      [5, 9],
      [5, 8],
    ]);
    const all = newestFirst(keys);
    for (const start of keys) {
      const { found } = await merge({ partitions, start });
      expect(found).toEqual(all.slice(all.indexOf(keyToString(start)) + 1));
    }
  });

  it('stops when the budget is spent, but reads a page of each partition before', async () => {
    const clock = createClock('2026-11-23T12:00:00.000Z');
    const now = () => {
      clock.advance(3000);
      return clock.now();
    };
    const { partitions, keys } = await aLog([
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ]);
    const { found, stoppedAt } = await merge({ partitions, limit: 2, now });
    const all = newestFirst(keys);
    expect(found).toEqual(all.slice(0, 2));
    expect(stoppedAt).toBe(all[1]);
  });
});
