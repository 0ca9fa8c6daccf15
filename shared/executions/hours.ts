import { UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import pLimit from 'p-limit';
import { expiresAfter } from '../aws/tables.ts';
import { hourOf, readKey } from './key.ts';
import type { ExecutionRecord } from './execution.ts';
import type { Retention } from './item.ts';
import type { ExecutionStatus } from './life-cycle.ts';

/** The partition that names the hours in which anything ran; its sort keys are hours such as `2026-11-23T10`. */
export const hoursPartition = 'HOURS';
/** The partition that names the handlers that ran in an hour, each with its counts. */
export const hourPartition = (hour: string): string => `HOUR#${hour}`;

// All at once they would hold up the deliveries beside them, for a moment but every ten seconds.
const rowsAtOnce = 3;
const flushIntervalMs = 10_000;
// A bound for an environment that lives long. Forgetting costs one more update for each handler and hour.
const maxRemembered = 10_000;
// Of what went wrong with the timer's flushes since the last batch.
const maxLateErrors = 10;

type Counts = Map<string, number>;

/** What is to be added to the row of one handler in one hour. */
type Row = { hour: string; handlerId: string; counts: Counts };

const keyOf = ({ hour, handlerId }: Pick<Row, 'hour' | 'handlerId'>): string => `${hour}#${handlerId}`;

export type HourlyCounts = ReturnType<typeof createHourlyCounts>;

/**
 * The hourly rows: *exactly* which handlers ran in an hour, and *about* how much. A row is made before the
 * first execution of its hour is logged, so a list that walks the rows misses nothing; later counts are added
 * by each environment at most every ten seconds: at the end of a batch, or by a timer when no batch comes. What an
 * environment had not yet added dies with it. The log is the truth.
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
  const pending = new Map<string, Row>();
  let flushedAt = now().getTime();
  let timer: NodeJS.Timeout | undefined;
  let lateErrors: unknown[] = [];

  /**
   * Counts executions that are about to be written for the first time, and makes sure that their rows exist: to be
   * awaited before they are. A row is made with the counts that it has by then, or a deployment where little happens would
   * show none.
   */
  const count = (records: readonly ExecutionRecord[]): Promise<void> =>
    openRows(records.map((record) => countUp(record, { attempted: true })));

  /**
   * Counts an execution that moves on: up at its status, down at the one it had, in the hour of its key. To be awaited
   * before it is written, since its rows must live as long as it does from then on. Every environment adds its counts when
   * it comes to it, so a row may hold less than nothing until another one has.
   *
   * @param from the status it had; null when it had no item
   * @param attempted whether an attempt was made, whose duration counts; false for one that was released or held
   */
  function countMove(
    record: ExecutionRecord,
    from: ExecutionStatus | null,
    { attempted = true }: { attempted?: boolean } = {},
  ): Promise<void> {
    const row = countUp(record, { attempted });
    if (from !== null) add(row.counts, from, -1);
    return openRows([row]);
  }

  function countUp({ key, state, attempts }: ExecutionRecord, { attempted }: { attempted: boolean }): Row {
    const place = { hour: hourOf(key.sk), handlerId: readKey(key).handlerId };
    const row = pending.get(keyOf(place)) ?? { ...place, counts: new Map() };
    pending.set(keyOf(row), row);
    add(row.counts, state.status, 1);
    const last = attempts.at(-1);
    if (attempted && last !== undefined) add(row.counts, durationBucket(last.durationMs), 1);
    return row;
  }

  async function openRows(rows: readonly Row[]): Promise<void> {
    const opening = [...new Set(rows)].flatMap((row) => [
      openHour(row.hour),
      openOnce(keyOf(row), () => {
        pending.delete(keyOf(row));
        return addCounts(row);
      }),
    ]);
    addSoon();
    await Promise.all(opening);
  }

  // In Lambda the timer fires when the environment is thawed for the next batch, if ever. It never holds up the end of a
  // process.
  function addSoon(): void {
    if (pending.size === 0) return;
    timer ??= setTimeout(() => void addPending().catch(keepError), flushIntervalMs).unref();
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

  /**
   * Adds what was counted to the rows, unless that was done less than ten seconds ago. Throws what went wrong with it, and
   * what went wrong when the timer did it.
   */
  async function flush(): Promise<void> {
    // Or when the clock was set back: else nothing would be added here until it is where it was.
    if (Math.abs(now().getTime() - flushedAt) >= flushIntervalMs) await addPending().catch(keepError);
    const errors = lateErrors;
    lateErrors = [];
    if (errors.length > 1) throw new AggregateError(errors, errors.map(String).join('; '));
    if (errors.length > 0) throw errors[0];
  }

  const keepError = (error: unknown): void => {
    if (lateErrors.length < maxLateErrors) lateErrors.push(error);
  };

  async function addPending(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    if (pending.size === 0) return;
    flushedAt = now().getTime();
    const rows = [...pending.values()].filter(({ counts }) => counts.size > 0);
    pending.clear();
    await pLimit(rowsAtOnce).map(rows, addCounts);
  }

  // Anew on another day: what moves on is kept from then on, and its hour with it.
  const openHour = (hour: string): Promise<unknown> =>
    openOnce(`${now().toISOString().slice(0, 10)} ${hour}`, () => update(hoursPartition, hour, new Map()));

  const addCounts = ({ hour, handlerId, counts }: Row): Promise<unknown> =>
    update(hourPartition(hour), handlerId, counts);

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

  return { count, countMove, flush };
}

// An execution is kept from its last change on, and one of this hour may be tried again for three days.
const keptDays = ({ endedDays, heldDays }: Retention): number => Math.max(endedDays, heldDays) + 7;

function add(counts: Counts, name: string, amount: number): void {
  const sum = (counts.get(name) ?? 0) + amount;
  if (sum === 0) counts.delete(name);
  else counts.set(name, sum);
}

const bucketCount = 40;
const bucketGrowth = 1.4;

/**
 * The attribute that counts attempts of about this duration: `ms0` to `ms39`. Bucket n holds durations from
 * 1.4^n up to 1.4^(n+1) milliseconds, so 40 buckets reach from 1 ms over eight minutes with an error of at most 20 %.
 */
export const durationBucket = (durationMs: number): string =>
  `ms${Math.min(bucketCount - 1, Math.max(0, Math.floor(Math.log(Math.max(1, durationMs)) / Math.log(bucketGrowth))))}`;

/**
 * The buckets from the shortest to the longest, each with the duration in its geometric middle. None that it holds, from
 * 1 ms on, is further than a factor of 1.19 (the root of 1.4) from that.
 */
export const durationBuckets: readonly { name: string; middleMs: number }[] = Array.from(
  { length: bucketCount },
  (_, index) => ({ name: `ms${index}`, middleMs: bucketGrowth ** (index + 0.5) }),
);
