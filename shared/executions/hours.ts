import { UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { expiresAfter } from '../aws/tables.ts';
import { hourOf, readKey } from './key.ts';
import type { ExecutionRecord } from './execution.ts';
import type { Retention } from './item.ts';

/** The partition that names the hours in which anything ran; its sort keys are hours such as `2026-11-23T10`. */
export const hoursPartition = 'HOURS';
/** The partition that names the handlers that ran in an hour, each with its counts. */
export const hourPartition = (hour: string): string => `HOUR#${hour}`;

const flushIntervalMs = 10_000;
// A bound for an environment that lives long. Forgetting costs one more update for each handler and hour.
const maxRemembered = 10_000;

type Counts = Map<string, number>;

export type HourlyCounts = ReturnType<typeof createHourlyCounts>;

/**
 * The hourly rows: *exactly* which handlers ran in an hour, and *about* how much. A row is made before the
 * first execution of its hour is logged, so a list that walks the rows misses nothing; later counts are added
 * by each environment at most every ten seconds, and what an environment had not yet added dies with it.
 * The log is the truth.
 */
export function createHourlyCounts({
  dynamo,
  tableName,
  retention,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  retention: Retention;
  now: () => Date;
}) {
  const opened = new Map<string, Promise<unknown>>();
  const pending = new Map<string, { hour: string; handlerId: string; counts: Counts }>();
  let flushedAt = now().getTime();

  /**
   * Counts executions that are about to be written, and makes sure that their rows exist: to be awaited before they
   * are. A row is made with the counts that it has by then, or a deployment where little happens would show none.
   */
  async function count(records: readonly ExecutionRecord[]): Promise<void> {
    const rows = new Map<string, { hour: string; handlerId: string }>();
    for (const record of records) {
      const hour = hourOf(record.key.sk);
      const { handlerId } = readKey(record.key);
      const row = `${hour}#${handlerId}`;
      rows.set(row, { hour, handlerId });
      const entry = pending.get(row) ?? { hour, handlerId, counts: new Map() };
      pending.set(row, entry);
      add(entry.counts, record.state.status, 1);
      const last = record.attempts.at(-1);
      if (last !== undefined) add(entry.counts, durationBucket(last.durationMs), 1);
    }
    await Promise.all(
      [...rows].flatMap(([row, { hour, handlerId }]) => [
        openOnce(`${hoursPartition}#${hour}`, () => update(hoursPartition, hour, new Map())),
        openOnce(row, () => {
          const counts = pending.get(row)?.counts ?? new Map();
          pending.delete(row);
          return update(hourPartition(hour), handlerId, counts);
        }),
      ]),
    );
  }

  function openOnce(row: string, open: () => Promise<unknown>): Promise<unknown> {
    let made = opened.get(row);
    if (made === undefined) {
      if (opened.size >= maxRemembered) opened.clear();
      made = open().catch((error: unknown) => {
        opened.delete(row);
        throw error;
      });
      opened.set(row, made);
    }
    return made;
  }

  /** Adds what was counted to the rows, unless that was done less than ten seconds ago. */
  async function flush(): Promise<void> {
    if (pending.size === 0 || now().getTime() - flushedAt < flushIntervalMs) return;
    flushedAt = now().getTime();
    const entries = [...pending.values()];
    pending.clear();
    await Promise.all(
      entries.map(({ hour, handlerId, counts }) => update(hourPartition(hour), handlerId, counts)),
    );
  }

  function update(pk: string, sk: string, counts: Counts): Promise<unknown> {
    const names = [...counts.keys()];
    const additions = names.map((_, index) => `#count${index} :count${index}`);
    return dynamo.send(
      new UpdateCommand({
        TableName: tableName,
        Key: { pk, sk },
        UpdateExpression: `SET expiresAt = :expiresAt${additions.length > 0 ? ` ADD ${additions.join(', ')}` : ''}`,
        ...(names.length > 0 && {
          ExpressionAttributeNames: Object.fromEntries(names.map((name, index) => [`#count${index}`, name])),
        }),
        ExpressionAttributeValues: {
          ':expiresAt': expiresAfter(now(), keptDays(retention)),
          ...Object.fromEntries([...counts.values()].map((value, index) => [`:count${index}`, value])),
        },
      }),
    );
  }

  return { count, flush };
}

// An execution is kept from its last change on, and one of this hour may be tried again for three days.
const keptDays = ({ endedDays, heldDays }: Retention): number => Math.max(endedDays, heldDays) + 7;

function add(counts: Counts, name: string, amount: number): void {
  counts.set(name, (counts.get(name) ?? 0) + amount);
}

/**
 * The attribute that counts attempts of about this duration: `ms0` to `ms39`. Bucket n holds durations from
 * 1.4^n up to 1.4^(n+1) milliseconds, so 40 buckets reach from 1 ms over eight minutes with an error of at most 20 %.
 */
export const durationBucket = (durationMs: number): string =>
  `ms${Math.min(39, Math.max(0, Math.floor(Math.log(Math.max(1, durationMs)) / Math.log(1.4))))}`;
