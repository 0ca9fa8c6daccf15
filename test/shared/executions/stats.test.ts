import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { InvalidInputError } from '../../../shared/errors.ts';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { createHourlyCounts } from '../../../shared/executions/hours.ts';
import { createExecutionStats, type Stats } from '../../../shared/executions/stats.ts';
import { anExecution } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { retention } from '../../support/write-executions.ts';
import { startLogs, waitingUntil } from './a-log.ts';

const logs = await startLogs();
afterAll(() => logs[Symbol.asyncDispose]());

const none = { succeeded: 0, failed: 0, waiting: 0, held: 0 };
const hourMs = 3_600_000;
const lasting = (durationMs: number): ExecutionRecord['attempts'] =>
  anExecution().attempts.map((attempt) => ({ ...attempt, durationMs }));

/** Counts of their own, and what reads them. */
async function theStats({ now = '2026-11-23T12:30:00.000Z' } = {}) {
  const { tableName, dynamo, names, takeReadBytes } = await logs.aLog({ now });
  const clock = createClock(now);
  const settings = { dynamo, tableName, now: clock.now };
  const hours = () => createHourlyCounts({ ...settings, retention });
  return {
    ...settings,
    names,
    takeReadBytes,
    clock,
    readStats: createExecutionStats(settings),
    /** Counted by an environment of its own, and added at once. */
    count: (...records: ExecutionRecord[]) => hours().count(records),
    move: (record: ExecutionRecord, from: ExecutionRecord['state']['status']) =>
      hours().countMove(record, from, { attempted: false }),
  };
}

const totalOf = ({ hours }: Stats): number =>
  hours.reduce((sum, { counts }) => sum + Object.values(counts).reduce((a, b) => a + b), 0);

describe('the stats', () => {
  it('count by status: in all, by handler and by hour', async () => {
    const { readStats, count } = await theStats();
    const a = { handlerId: 'h_a', time: '2026-11-23T12:00:00.000Z' };
    const b = { handlerId: 'h_b', time: '2026-11-23T10:59:59.999Z' };
    await count(
      anExecution(a),
      anExecution(a),
      anExecution(a),
      anExecution({ ...a, state: { status: 'failed' } }),
      anExecution({ ...b, state: { status: 'held', reason: 'disabled' }, attempts: [] }),
      anExecution({ ...b, state: waitingUntil(), attempts: [] }),
    );
    const durationMs = { p50: 47.9, p95: 47.9 };
    const ofA = { counts: { ...none, succeeded: 3, failed: 1 }, successRate: 0.75, durationMs };
    const stats = await readStats({});
    expect(stats).toMatchObject({
      from: '2026-11-22T13:00:00.000Z',
      to: '2026-11-23T13:00:00.000Z',
      counts: { succeeded: 3, failed: 1, waiting: 1, held: 1 },
      successRate: 0.75,
      durationMs,
      handlers: [
        { handlerId: 'h_a', ...ofA },
        {
          handlerId: 'h_b',
          counts: { ...none, waiting: 1, held: 1 },
          successRate: null,
          durationMs: { p50: null, p95: null },
        },
      ],
    });
    expect(stats).not.toHaveProperty('searchedBackTo');
    expect(stats.hours).toHaveLength(24);
    expect(stats.hours.slice(-3)).toEqual([
      { hour: '2026-11-23T10:00:00.000Z', counts: { ...none, waiting: 1, held: 1 } },
      { hour: '2026-11-23T11:00:00.000Z', counts: none },
      { hour: '2026-11-23T12:00:00.000Z', counts: { ...none, succeeded: 3, failed: 1 } },
    ]);
    expect(totalOf({ ...stats, hours: stats.hours.slice(0, -3) })).toBe(0);
  });

  it('are empty where nothing ran, with every hour', async () => {
    const { readStats, names } = await theStats();
    const stats = await readStats({});
    expect(stats).toMatchObject({
      counts: none,
      successRate: null,
      durationMs: { p50: null, p95: null },
      handlers: [],
    });
    expect(stats.hours).toHaveLength(24);
    expect(names()).toEqual(['Query']);
  });

  it('put what ran most first, and equals by their id', async () => {
    const { readStats, count } = await theStats();
    const time = '2026-11-23T12:00:00.000Z';
    const handlers = ['h_b', 'h_c', 'h_c', 'h_d', 'h_d', 'h_d', 'h_a'];
    await count(...handlers.map((handlerId) => anExecution({ handlerId, time })));
    expect((await readStats({})).handlers.map(({ handlerId }) => handlerId)).toEqual([
      'h_d',
      'h_c',
      'h_a',
      'h_b',
    ]);
  });

  it('show an execution where it stands now, in the hour of its event', async () => {
    const { readStats, count, move } = await theStats();
    const execution = anExecution({ time: '2026-11-23T09:00:00.000Z', state: waitingUntil() });
    await count(execution);
    await move({ ...execution, state: { status: 'failed' } }, 'waiting');
    const stats = await readStats({});
    expect(stats.counts).toEqual({ ...none, failed: 1 });
    expect(stats.hours.find(({ hour }) => hour === '2026-11-23T09:00:00.000Z')?.counts).toEqual(stats.counts);
  });

  it('never show less than nothing, whoever adds its counts first', async () => {
    const { readStats, move } = await theStats();
    await move(anExecution({ time: '2026-11-23T12:00:00.000Z' }), 'waiting');
    const stats = await readStats({});
    const counts = { ...none, succeeded: 1 };
    expect(stats).toMatchObject({ counts, handlers: [{ counts }] });
    expect(stats.hours.at(-1)?.counts).toEqual(counts);
  });

  it('of a time that is told take the whole hours that it touches', async () => {
    const { readStats, count } = await theStats();
    await count(
      ...['08:59', '09:00', '09:59', '10:00', '11:00'].map((time) =>
        anExecution({ time: `2026-11-23T${time}:00.000Z` }),
      ),
    );
    const of = async (from: string, to: string) => {
      const day = '2026-11-23T';
      const stats = await readStats({ from: day + from, to: day + to });
      return [stats.from.slice(11, 16), stats.to.slice(11, 16), stats.hours.length, totalOf(stats)];
    };
    expect(await of('09:00:00.000Z', '10:00:00.000Z')).toEqual(['09:00', '10:00', 1, 2]);
    expect(await of('09:30:00.000Z', '09:31:00.000Z')).toEqual(['09:00', '10:00', 1, 2]);
    expect(await of('09:59:59.999Z', '10:00:00.001Z')).toEqual(['09:00', '11:00', 2, 3]);
    expect(await of('07:00:00.000Z', '12:00:00.000Z')).toEqual(['07:00', '12:00', 5, 5]);
  });

  it('take what is left out from the other end, or from now', async () => {
    const { readStats } = await theStats();
    const of = async (asked: { from?: string; to?: string }) => {
      const { from, to } = await readStats(asked);
      return [from, to];
    };
    const now = '2026-11-23T13:00:00.000Z';
    expect(await of({})).toEqual(['2026-11-22T13:00:00.000Z', now]);
    expect(await of({ from: '2026-11-20T10:30:00.000Z' })).toEqual(['2026-11-20T10:00:00.000Z', now]);
    expect(await of({ to: '2026-11-20T10:30:00.000Z' })).toEqual([
      '2026-11-19T11:00:00.000Z',
      '2026-11-20T11:00:00.000Z',
    ]);
  });

  it('go back 31 days and no further', async () => {
    const { readStats, clock } = await theStats();
    const ago = (ms: number) => new Date(clock.now().getTime() - 31 * 24 * hourMs - ms).toISOString();
    // Both ends in the middle of an hour: the older part of one of the 745 is left out.
    expect((await readStats({ from: ago(0) })).hours).toHaveLength(744);
    for (const [asked, message] of [
      [{ from: ago(1) }, 'must be at most 31 days before "to"'],
      [{ from: ago(-hourMs), to: ago(0) }, 'must be earlier than "to", which is now when it is left out'],
      [{ from: ago(0), to: ago(0) }, 'must be earlier than "to", which is now when it is left out'],
      [{ from: '2026-11-23T12:31:00.000Z' }, 'must be earlier than "to", which is now when it is left out'],
    ] as const) {
      const error = await readStats(asked).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(InvalidInputError);
      expect((error as InvalidInputError).fields).toEqual([{ field: 'from', message }]);
    }
  });

  it('read the rows of the hours in which anything ran, and nothing else', async () => {
    const { readStats, count, names, takeReadBytes } = await theStats();
    await count(
      ...Array.from({ length: 100 }, (_, index) =>
        anExecution({ handlerId: `h_${index}`, time: `2026-11-23T0${index % 2}:00:00.000Z` }),
      ),
    );
    const before = names().length;
    takeReadBytes();
    expect((await readStats({ from: '2026-11-01T00:00:00.000Z' })).counts.succeeded).toBe(100);
    expect(names().slice(before)).toEqual(['Query', 'Query', 'Query']);
    expect(takeReadBytes()).toBeLessThan(3 * 8192 + 100 * 100);
  });

  it('stop after five seconds by the clock with the newest hours, and say how far they go back', async () => {
    const { count, dynamo, tableName, clock } = await theStats();
    const dayAgo = clock.now().getTime() - 24 * hourMs;
    await count(
      ...Array.from({ length: 24 }, (_, index) =>
        anExecution({ time: new Date(dayAgo + (index + 1) * hourMs).toISOString() }),
      ),
    );
    // Every look at the clock takes two seconds.
    const now = () => {
      clock.advance(2000);
      return clock.now();
    };
    const stats = await createExecutionStats({ dynamo, tableName, now })({});
    const { searchedBackTo = '' } = stats;
    expect(searchedBackTo > stats.from).toBe(true);
    expect(stats.hours[0]?.hour).toBe(searchedBackTo);
    expect(stats.hours.at(-1)?.hour).toBe('2026-11-23T12:00:00.000Z');
    expect(stats.hours.length).toBeLessThan(24);
    for (const { counts } of stats.hours) expect(counts).toEqual({ ...none, succeeded: 1 });
    expect(stats.counts.succeeded).toBe(stats.hours.length);
    expect(stats.handlers[0]?.counts).toEqual(stats.counts);
  });
});

describe('the durations of the stats', () => {
  it('are within 20 % of the true ones', async () => {
    const duration = fc.oneof(
      fc.double({ min: 1, max: 100, noNaN: true }),
      fc.double({ min: 1, max: 120_000, noNaN: true }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(duration, { minLength: 1, maxLength: 60 }), async (durations) => {
        const { readStats, count } = await theStats();
        const time = '2026-11-23T12:00:00.000Z';
        await count(...durations.map((ms) => anExecution({ time, attempts: lasting(ms) })));
        const { durationMs, handlers } = await readStats({});
        const sorted = durations.toSorted((a, b) => a - b);
        for (const [estimate, part] of [
          [durationMs.p50, 0.5],
          [durationMs.p95, 0.95],
        ] as const) {
          const exact = sorted[Math.ceil(part * sorted.length) - 1] ?? Number.NaN;
          expect(Math.abs((estimate ?? Number.NaN) - exact) / exact).toBeLessThanOrEqual(0.2);
        }
        expect(handlers[0]?.durationMs).toEqual(durationMs);
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  it('are of all hours and handlers together', async () => {
    const { readStats, count } = await theStats();
    await count(
      ...Array.from({ length: 90 }, () =>
        anExecution({ handlerId: 'h_quick', time: '2026-11-23T12:00:00.000Z', attempts: lasting(10) }),
      ),
      ...Array.from({ length: 10 }, () =>
        anExecution({ handlerId: 'h_slow', time: '2026-11-23T02:00:00.000Z', attempts: lasting(10_000) }),
      ),
    );
    const { durationMs, handlers } = await readStats({});
    const about = (ms: number) => expect.closeTo(ms, -Math.floor(Math.log10(ms))) as number;
    expect(durationMs).toEqual({ p50: about(10), p95: about(10_000) });
    expect(handlers.map(({ handlerId, durationMs: { p50, p95 } }) => [handlerId, p50, p95])).toEqual([
      ['h_quick', about(10), about(10)],
      ['h_slow', about(10_000), about(10_000)],
    ]);
  });
});
