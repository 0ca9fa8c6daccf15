import { GetCommand } from '@aws-sdk/lib-dynamodb';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  createHourlyCounts,
  durationBucket,
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
    const attempt = {
      number: 1,
      at: '2026-11-23T10:00:00.000Z',
      statusCode: 200,
      error: null,
      response: null,
    };
    const lasting = (durationMs: number) => [{ ...attempt, durationMs }];
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

describe('durationBucket', () => {
  const middleOf = (bucket: string) => 1.4 ** (Number(bucket.slice(2)) + 0.5);

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
