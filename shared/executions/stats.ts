import type { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { InvalidInputError } from '../errors.ts';
import { durationBuckets, hourPartition, hoursPartition } from './hours.ts';
import { hourOf } from './key.ts';
import { ExecutionStatus } from './life-cycle.ts';
import {
  afterEverything,
  beforeEverything,
  createPartitionReader,
  type PartitionReader,
} from './read-partition.ts';

const hourMs = 3_600_000;
const defaultHours = 24;
const maxDays = 31;
const maxMs = maxDays * 24 * hourMs;
// There is a row for each handler and hour: a thousand handlers that run all the time make 5 MB of them a day.
const budget = { maxBytes: 16 * 1024 * 1024, maxMs: 5000 };
// How many hours are read side by side before the budget is asked again.
const hoursAtOnce = 8;

/** How many executions stand where. */
export const StatusCounts = z.strictObject({
  succeeded: z.int(),
  failed: z.int(),
  waiting: z.int(),
  held: z.int(),
});
export type StatusCounts = z.output<typeof StatusCounts>;

const Duration = z.number().nullable();

const Summary = z.strictObject({
  counts: StatusCounts,
  successRate: z
    .number()
    .nullable()
    .describe('succeeded / (succeeded + failed), from 0 to 1; null when nothing has ended'),
  durationMs: z
    .strictObject({ p50: Duration, p95: Duration })
    .describe('Of all attempts that were made, within 20 % from 1 ms on; null when there were none'),
});
type Summary = z.output<typeof Summary>;

/** What ran in some whole hours. By the hourly rows, so about how much; the log is the truth. */
export const Stats = Summary.extend({
  from: z.iso.datetime().describe('The beginning of the first hour'),
  to: z.iso.datetime().describe('The end of the last hour'),
  handlers: z.array(Summary.extend({ handlerId: z.string() })).describe('What ran most comes first'),
  hours: z
    .array(z.strictObject({ hour: z.iso.datetime().describe('Its beginning'), counts: StatusCounts }))
    .describe('Oldest first, one for every hour, but none for what is before searchedBackTo'),
  searchedBackTo: z.iso
    .datetime()
    .optional()
    .describe('Set when reading stopped because it was enough: hours before this are left out everywhere'),
});
export type Stats = z.output<typeof Stats>;

export function createExecutionStats({
  dynamo,
  tableName,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  now: () => Date;
}) {
  /**
   * What ran in a time, cut to whole hours: the last 24 of them unless it is told otherwise, the current one included.
   * Reads the newest hour first, up to 16 MB or five seconds. Throws InvalidInputError for a time that ends before it
   * begins, or of more than 31 days.
   *
   * @param asked ISO 8601
   */
  return async function readStats(asked: {
    from?: string | undefined;
    to?: string | undefined;
  }): Promise<Stats> {
    const { from, to } = wholeHours(asked, now());
    const reader = createPartitionReader({ dynamo, tableName, budget, now });
    const all = newTally();
    const byHandler = new Map<string, Tally>();
    const byHour = new Map<string, Tally>();
    let readBackTo: string | null = null;
    const hours = await hoursWithRows(from, to, reader, now());
    for (let index = 0; index < hours.length && readBackTo === null; index += hoursAtOnce) {
      const group = hours.slice(index, index + hoursAtOnce);
      const rows = await Promise.all(group.map((hour) => readRows(hour, reader)));
      for (const { hour, handlerId, row } of rows.flat()) {
        for (const tally of [all, tallyOf(byHandler, handlerId), tallyOf(byHour, hour)]) addRow(tally, row);
      }
      if (reader.isSpent() && index + hoursAtOnce < hours.length) readBackTo = group.at(-1) ?? null;
    }
    return {
      from: from.toISOString(),
      to: to.toISOString(),
      ...summaryOf(all),
      handlers: [...byHandler]
        .map(([handlerId, tally]) => ({ handlerId, ...summaryOf(tally) }))
        .toSorted((a, b) => ranIn(b) - ranIn(a) || (a.handlerId < b.handlerId ? -1 : 1)),
      hours: hoursBetween(from, to)
        .filter((hour) => readBackTo === null || hour >= readBackTo)
        .map((hour) => ({ hour: beginOf(hour), counts: countsOf(byHour.get(hour) ?? newTally()) })),
      ...(readBackTo !== null && { searchedBackTo: beginOf(readBackTo) }),
    };
  };
}

function wholeHours(
  asked: { from?: string | undefined; to?: string | undefined },
  now: Date,
): { from: Date; to: Date } {
  const end = asked.to === undefined ? now.getTime() : Date.parse(asked.to);
  const to = Math.ceil(end / hourMs) * hourMs;
  if (asked.from === undefined) return { from: new Date(to - defaultHours * hourMs), to: new Date(to) };
  const begin = Date.parse(asked.from);
  if (begin >= end) throw badFrom('must be earlier than "to", which is now when it is left out');
  if (end - begin > maxMs) throw badFrom(`must be at most ${maxDays} days before "to"`);
  // Both ends of 31 days may be in the middle of an hour.
  return { from: new Date(Math.max(Math.floor(begin / hourMs) * hourMs, to - maxMs)), to: new Date(to) };
}

const badFrom = (message: string) => new InvalidInputError([{ field: 'from', message }]);

const beginOf = (hour: string): string => `${hour}:00:00.000Z`;

const hoursBetween = (from: Date, to: Date): string[] =>
  Array.from({ length: (to.getTime() - from.getTime()) / hourMs }, (_, index) =>
    hourOf(new Date(from.getTime() + index * hourMs).toISOString()),
  );

/** The hours in which anything ran, newest first. */
async function hoursWithRows(from: Date, to: Date, reader: PartitionReader, now: Date): Promise<string[]> {
  const hours = hoursBetween(from, to);
  const rows = await reader.readWhole({
    pk: hoursPartition,
    range: { low: hours[0] ?? '', high: hours.at(-1) ?? '' },
    attributes: ['sk'],
    expiresAfter: Math.floor(now.getTime() / 1000),
  });
  return rows.map(({ sk }) => sk as string);
}

type Row = Readonly<Record<string, unknown>>;

const countedAttributes = [...ExecutionStatus.options, ...durationBuckets.map(({ name }) => name)];

async function readRows(
  hour: string,
  reader: PartitionReader,
): Promise<{ hour: string; handlerId: string; row: Row }[]> {
  const rows = await reader.readWhole({
    pk: hourPartition(hour),
    range: { low: beforeEverything, high: afterEverything },
    attributes: ['sk', ...countedAttributes],
  });
  return rows.map((row) => ({ hour, handlerId: row['sk'] as string, row }));
}

/** Sums by attribute of the rows. */
type Tally = Map<string, number>;

const newTally = (): Tally => new Map();

function tallyOf(tallies: Map<string, Tally>, key: string): Tally {
  const tally = tallies.get(key) ?? newTally();
  tallies.set(key, tally);
  return tally;
}

function addRow(tally: Tally, row: Row): void {
  for (const name of countedAttributes) {
    const count = row[name] as number | undefined;
    if (count !== undefined) tally.set(name, (tally.get(name) ?? 0) + count);
  }
}

function summaryOf(tally: Tally): Summary {
  const counts = countsOf(tally);
  const ended = counts.succeeded + counts.failed;
  return {
    counts,
    successRate: ended === 0 ? null : counts.succeeded / ended,
    durationMs: { p50: percentileOf(tally, 0.5), p95: percentileOf(tally, 0.95) },
  };
}

// What moved on is counted down by one environment and was counted up by another one, whose count may still be to come.
const countsOf = (tally: Tally): StatusCounts => {
  const atLeast0 = (status: ExecutionStatus) => Math.max(0, tally.get(status) ?? 0);
  return {
    succeeded: atLeast0('succeeded'),
    failed: atLeast0('failed'),
    waiting: atLeast0('waiting'),
    held: atLeast0('held'),
  };
};

const ranIn = ({ counts }: Summary): number => Object.values(counts).reduce((sum, count) => sum + count, 0);

/**
 * The duration that this part of the attempts did not exceed: the middle of the bucket which that attempt is in, so at
 * most 19 % more or less than its own.
 */
function percentileOf(tally: Tally, part: number): number | null {
  const buckets = durationBuckets.map(({ name, middleMs }) => ({ middleMs, count: tally.get(name) ?? 0 }));
  const attempts = buckets.reduce((sum, { count }) => sum + count, 0);
  let reached = 0;
  for (const { middleMs, count } of buckets) {
    reached += count;
    if (reached > 0 && reached >= attempts * part) return Number(middleMs.toPrecision(3));
  }
  return null;
}
