import { GetCommand } from '@aws-sdk/lib-dynamodb';
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createHourlyCounts,
  durationBucket,
  durationBuckets,
  hourPartition,
  hoursPartition,
} from '../../../shared/executions/hours.ts';
import { anExecution } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const retention = { endedDays: 30, heldDays: 90 };
const hour = '2026-11-23T10';
let handlers = 0;

const lasting = (durationMs: number) => anExecution().attempts.map((attempt) => ({ ...attempt, durationMs }));

/** One dispatcher environment, and a handler that no other test has. */
function anEnvironment(answer?: Answer) {
  const clock = createClock('2026-11-23T10:00:00.000Z');
  const recording = createRecordingDynamo(answer);
  const hours = createHourlyCounts({
    dynamo: recording.dynamo,
    tableName: db.executionsTable,
    retention,
    now: clock.now,
  });
  return { ...recording, hours, clock, handlerId: `h_${++handlers}` };
}

async function row(pk: string, sk: string): Promise<Record<string, unknown> | undefined> {
  const { Item } = await db.dynamo.send(
    new GetCommand({ TableName: db.executionsTable, Key: { pk, sk }, ConsistentRead: true }),
  );
  return Item;
}
const countsOf = async (handlerId: string) => {
  const {
    pk: _pk,
    sk: _sk,
    expiresAt: _expiresAt,
    ...counts
  } = (await row(hourPartition(hour), handlerId)) ?? {};
  return counts;
};

describe('the hourly rows', () => {
  it('are made once for an hour and a handler, however many executions ask at once', async () => {
    const { hours, calls, handlerId } = anEnvironment();
    await Promise.all(Array.from({ length: 20 }, () => hours.count([anExecution({ handlerId })])));
    await hours.count([anExecution({ handlerId })]);
    expect(calls.map(({ input }) => input['Key'])).toEqual([
      { pk: hoursPartition, sk: hour },
      { pk: hourPartition(hour), sk: handlerId },
    ]);
    expect(await row(hoursPartition, hour)).toBeDefined();
    // The first one came with the row, the rest is added later.
    expect(await countsOf(handlerId)).toEqual({ succeeded: 1, ms11: 1 });
  });

  it('are made for each hour of the key and each handler', async () => {
    const { hours, calls, handlerId } = anEnvironment();
    await hours.count([anExecution({ handlerId })]);
    await hours.count([anExecution({ handlerId: `${handlerId}_b` })]);
    await hours.count([anExecution({ handlerId, time: '2026-11-23T11:00:00.000Z' })]);
    expect(calls).toHaveLength(2 + 1 + 2);
  });

  it('are made again after they could not be made', async () => {
    let isDown = true;
    const { hours, handlerId } = anEnvironment((_, send) =>
      isDown ? Promise.reject(new Error('down')) : send(),
    );
    const record = anExecution({ handlerId });
    await expect(hours.count([record])).rejects.toThrow('down');
    isDown = false;
    await hours.count([record]);
    expect(await row(hourPartition(hour), handlerId)).toBeDefined();
  });

  it('outlive the executions that they lead to, later attempts included', async () => {
    const { hours, handlerId, clock } = anEnvironment();
    await hours.count([anExecution({ handlerId })]);
    const expiresAt = clock.now().getTime() / 1000 + 97 * 86_400;
    expect(await row(hourPartition(hour), handlerId)).toMatchObject({ expiresAt });
    expect(await row(hoursPartition, hour)).toMatchObject({ expiresAt });
  });

  it('live on with every count that is added', async () => {
    const { hours, handlerId, clock } = anEnvironment();
    await hours.count([anExecution({ handlerId })]);
    clock.advance(40 * 86_400_000);
    await hours.count([anExecution({ handlerId })]);
    await hours.flush();
    const expiresAt = clock.now().getTime() / 1000 + 97 * 86_400;
    expect(await row(hourPartition(hour), handlerId)).toMatchObject({ expiresAt });
  });

  it('keep their counts when another environment opens them', async () => {
    const one = anEnvironment();
    await one.hours.count([anExecution({ handlerId: one.handlerId })]);
    await anEnvironment().hours.count([anExecution({ handlerId: one.handlerId })]);
    expect(await countsOf(one.handlerId)).toMatchObject({ succeeded: 2 });
  });
});

describe('the counts', () => {
  it('are by status, and by the duration of the last attempt', async () => {
    const { hours, handlerId } = anEnvironment();
    await hours.count([
      anExecution({ handlerId, attempts: lasting(1) }),
      anExecution({ handlerId, attempts: lasting(1) }),
      anExecution({ handlerId, state: { status: 'failed' }, attempts: lasting(30_000) }),
      anExecution({ handlerId, state: { status: 'held', reason: 'disabled' }, attempts: [] }),
    ]);
    expect(await countsOf(handlerId)).toEqual({ succeeded: 2, failed: 1, held: 1, ms0: 2, ms30: 1 });
  });

  it('come with the row, and are added every ten seconds from then on and not before', async () => {
    const { hours, handlerId, clock, calls } = anEnvironment();
    await hours.count([anExecution({ handlerId })]);
    const opening = calls.length;
    expect(await countsOf(handlerId)).toMatchObject({ succeeded: 1 });
    await hours.count([anExecution({ handlerId })]);
    clock.advance(9999);
    await hours.flush();
    expect(calls).toHaveLength(opening);
    clock.advance(1);
    await hours.flush();
    expect(await countsOf(handlerId)).toMatchObject({ succeeded: 2 });
    await hours.count([anExecution({ handlerId })]);
    await hours.flush();
    expect(calls).toHaveLength(opening + 1);
    clock.advance(10_000);
    await hours.flush();
    expect(calls).toHaveLength(opening + 2);
    expect(await countsOf(handlerId)).toMatchObject({ succeeded: 3 });
  });

  it('are added after the clock was set back', async () => {
    const { hours, handlerId, clock } = anEnvironment();
    await hours.count([anExecution({ handlerId })]);
    await hours.count([anExecution({ handlerId })]);
    clock.advance(-3_600_000);
    await hours.flush();
    expect(await countsOf(handlerId)).toMatchObject({ succeeded: 2 });
  });

  it('cost one write for an hour and a handler, and none when there is nothing to add', async () => {
    const { hours, handlerId, clock, calls } = anEnvironment();
    clock.advance(10_000);
    await hours.flush();
    expect(calls).toEqual([]);
    await hours.count([anExecution({ handlerId })]);
    const opening = calls.length;
    for (let index = 0; index < 100; index++) await hours.count([anExecution({ handlerId })]);
    await hours.flush();
    expect(calls).toHaveLength(opening + 1);
    clock.advance(10_000);
    await hours.flush();
    expect(calls).toHaveLength(opening + 1);
  });

  it('of several environments add up', async () => {
    const { handlerId } = anEnvironment();
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        await anEnvironment().hours.count([anExecution({ handlerId })]);
      }),
    );
    expect(await countsOf(handlerId)).toMatchObject({ succeeded: 5 });
  });
});

describe('the counts of what moves on', () => {
  const failing = { state: { status: 'failed' as const } };

  it('go up at the new status and down at the old one, in the hour of the key', async () => {
    const { hours, handlerId, clock } = anEnvironment();
    await hours.count([anExecution({ handlerId, ...failing }), anExecution({ handlerId, ...failing })]);
    clock.advance(3 * 3_600_000);
    await hours.countMove(anExecution({ handlerId, attempts: lasting(1) }), 'failed');
    await hours.flush();
    expect(await countsOf(handlerId)).toEqual({ failed: 1, succeeded: 1, ms11: 2, ms0: 1 });
  });

  it('count the duration of an attempt that was made, and of none that was made before', async () => {
    const { hours, handlerId, clock } = anEnvironment();
    await hours.count([anExecution({ handlerId, ...failing, attempts: lasting(1) })]);
    const again = anExecution({ handlerId, ...failing, attempts: lasting(30_000) });
    await hours.countMove(again, 'failed');
    const held = { ...again, state: { status: 'held' as const, reason: 'disabled' as const } };
    await hours.countMove(held, 'failed', { attempted: false });
    clock.advance(10_000);
    await hours.flush();
    expect(await countsOf(handlerId)).toEqual({ failed: 0, held: 1, ms0: 1, ms30: 1 });
  });

  it('cost no write where nothing changed', async () => {
    const { hours, handlerId, clock, calls } = anEnvironment();
    await hours.count([anExecution({ handlerId, ...failing })]);
    const opening = calls.length;
    await hours.countMove(anExecution({ handlerId, ...failing }), 'failed', { attempted: false });
    clock.advance(10_000);
    await hours.flush();
    expect(calls).toHaveLength(opening);
  });

  it('of one environment may go below nothing until another one has added its own', async () => {
    const { handlerId } = anEnvironment();
    const { hours } = anEnvironment();
    await hours.countMove(anExecution({ handlerId }), 'failed');
    expect(await countsOf(handlerId)).toMatchObject({ succeeded: 1, failed: -1 });
    await anEnvironment().hours.count([anExecution({ handlerId, ...failing })]);
    expect(await countsOf(handlerId)).toMatchObject({ succeeded: 1, failed: 0 });
  });

  it('keep the rows of an hour alive for as long as the execution is kept', async () => {
    const { hours, handlerId, clock } = anEnvironment();
    await hours.count([anExecution({ handlerId, state: { status: 'held', reason: 'disabled' } })]);
    clock.advance(89 * 86_400_000);
    await hours.countMove(anExecution({ handlerId }), 'held');
    await hours.flush();
    const expiresAt = clock.now().getTime() / 1000 + 97 * 86_400;
    expect(await row(hourPartition(hour), handlerId)).toMatchObject({ expiresAt });
    expect(await row(hoursPartition, hour)).toMatchObject({ expiresAt });
  });
});

describe('the last counts of a burst', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => vi.useRealTimers());

  /** An environment whose row is there, with one execution counted since. */
  async function aBurst(answer?: Answer) {
    const environment = anEnvironment(answer);
    const { hours, handlerId, calls } = environment;
    await hours.count([anExecution({ handlerId })]);
    await hours.count([anExecution({ handlerId })]);
    return { ...environment, opening: calls.length };
  }

  it('are added ten seconds after they were counted, when no batch comes', async () => {
    const { handlerId, calls, opening } = await aBurst();
    vi.advanceTimersByTime(9999);
    expect(calls).toHaveLength(opening);
    vi.advanceTimersByTime(1);
    await vi.waitFor(() => expect(calls).toHaveLength(opening + 1));
    await vi.waitFor(async () => expect(await countsOf(handlerId)).toMatchObject({ succeeded: 2 }));
    vi.advanceTimersByTime(60_000);
    expect(calls).toHaveLength(opening + 1);
  });

  it('are left to the batch that comes before', async () => {
    const { hours, clock, calls, opening } = await aBurst();
    clock.advance(10_000);
    await hours.flush();
    expect(calls).toHaveLength(opening + 1);
    vi.advanceTimersByTime(60_000);
    expect(calls).toHaveLength(opening + 1);
  });

  it('are added after each burst, and once for all that came in ten seconds', async () => {
    const { hours, handlerId, calls, opening } = await aBurst();
    vi.advanceTimersByTime(10_000);
    await hours.count([anExecution({ handlerId })]);
    vi.advanceTimersByTime(5000);
    await hours.count([anExecution({ handlerId })]);
    vi.advanceTimersByTime(5000);
    await vi.waitFor(() => expect(calls).toHaveLength(opening + 2));
    await vi.waitFor(async () => expect(await countsOf(handlerId)).toMatchObject({ succeeded: 4 }));
  });

  it('never hold up the end of a process', async () => {
    const timers = vi.spyOn(globalThis, 'setTimeout');
    await aBurst();
    const ours = timers.mock.results.filter((_, index) => timers.mock.calls[index]?.[1] === 10_000);
    expect(ours.map(({ value }) => (value as NodeJS.Timeout).hasRef())).toEqual([false]);
  });

  it('tell the next batch that they could not be added, once', async () => {
    let isDown = false;
    let failures = 0;
    const { hours, handlerId } = await aBurst((_, send) => {
      if (!isDown) return send();
      failures++;
      return Promise.reject(new Error('down'));
    });
    isDown = true;
    vi.advanceTimersByTime(10_000);
    await vi.waitFor(() => expect(failures).toBe(1));
    isDown = false;
    await hours.count([anExecution({ handlerId })]);
    await vi.waitFor(() => expect(hours.flush()).rejects.toThrow('down'));
    await hours.flush();
  });

  it('tell of each failure, the one of the batch included', async () => {
    let problem = '';
    const { hours, handlerId, clock } = await aBurst((_, send) =>
      problem === '' ? send() : Promise.reject(new Error(problem)),
    );
    problem = 'down';
    vi.advanceTimersByTime(10_000);
    await hours.count([anExecution({ handlerId })]);
    problem = 'still down';
    clock.advance(10_000);
    await expect(hours.flush()).rejects.toThrow('Error: down; Error: still down');
  });
});

describe('durationBucket', () => {
  const middleOf = (bucket: string) =>
    durationBuckets.find(({ name }) => name === bucket)?.middleMs ?? Number.NaN;

  it('tells a duration from a millisecond to eight minutes with an error of at most 20 %', () => {
    const eightMinutes = 8 * 60_000;
    fc.assert(
      fc.property(fc.double({ min: 1, max: eightMinutes, noNaN: true }), (durationMs) => {
        const error = Math.abs(middleOf(durationBucket(durationMs)) - durationMs) / durationMs;
        expect(error).toBeLessThanOrEqual(0.2);
      }),
      { numRuns: 1000 },
    );
  });

  it('puts a longer duration into the same bucket or a later one, and every one into one of 40', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, noNaN: true }), fc.double({ min: 0, noNaN: true }), (a, b) => {
        const [shorter, longer] = [Math.min(a, b), Math.max(a, b)].map((ms) =>
          Number(durationBucket(ms).slice(2)),
        );
        expect(shorter).toBeLessThanOrEqual(longer ?? Number.NaN);
        expect(shorter).toBeGreaterThanOrEqual(0);
        expect(longer).toBeLessThanOrEqual(39);
      }),
    );
  });
});
