import { GetCommand } from '@aws-sdk/lib-dynamodb';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { createRateLimits, rateLimitKey } from '../../../shared/handlers/rate-limit.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const start = '2026-11-23T10:00:00.000Z';
let handlers = 0;
const newHandler = (): string => `h_${(handlers += 1)}`;

/** One environment with a clock of its own. `answer` stands between it and the table. */
function anEnvironment(answer?: Answer) {
  const clock = createClock(start);
  const recording = createRecordingDynamo(answer);
  const { reserve } = createRateLimits({
    dynamo: recording.dynamo,
    tableName: db.handlersTable,
    now: clock.now,
  });
  return { ...recording, clock, reserve };
}

const secondsOf = (slots: readonly Date[]) =>
  slots.map((slot) => (slot.getTime() - Date.parse(start)) / 1000);

describe('a reservation', () => {
  it('is a single update, whatever it reserves', async () => {
    using environment = anEnvironment();
    const id = newHandler();
    expect(secondsOf(await environment.reserve(id, { perSecond: 5 }, 4))).toEqual([0, 0.2, 0.4, 0.6]);
    expect(secondsOf(await environment.reserve(id, { perSecond: 5 }, 2))).toEqual([0.8, 1]);
    environment.clock.advance(10_000);
    expect(secondsOf(await environment.reserve(id, { perSecond: 5 }, 2))).toEqual([10, 10.2]);
    expect(environment.names()).toEqual(['UpdateItem', 'UpdateItem', 'UpdateItem']);
  });

  it('of another environment goes on where the first one has ended', async () => {
    using one = anEnvironment();
    using other = anEnvironment();
    const id = newHandler();
    await one.reserve(id, { perSecond: 0.1 }, 3);
    expect(secondsOf(await other.reserve(id, { perSecond: 0.1 }, 2))).toEqual([30, 40]);
    // It had to find that out first.
    expect(other.names()).toEqual(['UpdateItem', 'UpdateItem']);
  });

  it('at another rate leaves the slots before it where they are', async () => {
    using environment = anEnvironment();
    const id = newHandler();
    await environment.reserve(id, { perSecond: 1 }, 2);
    expect(secondsOf(await environment.reserve(id, { perSecond: 100 }, 2))).toEqual([2, 2.01]);
    expect(secondsOf(await environment.reserve(id, { perSecond: 0.01 }, 2))).toEqual([2.02, 102.02]);
  });

  it('whose answer was lost wastes its slots, and gives other ones', async () => {
    // What the SDK does when a connection breaks before the answer: the same request once more.
    using environment = anEnvironment(async (_, send) => {
      await send();
      return send();
    });
    using other = anEnvironment();
    const id = newHandler();
    // The first try has begun a row of slots; both tries of the update after it have gone on with it.
    expect(secondsOf(await environment.reserve(id, { perSecond: 1 }, 2))).toEqual([4, 5]);
    expect(secondsOf(await other.reserve(id, { perSecond: 1 }, 1))).toEqual([6]);
    expect(secondsOf(await environment.reserve(id, { perSecond: 1 }, 2))).toEqual([9, 10]);
  });

  it('that DynamoDB refuses is an error, and takes no slot', async () => {
    using refused = anEnvironment(() => Promise.reject(new Error('not today')));
    const id = newHandler();
    await expect(refused.reserve(id, { perSecond: 1 }, 2)).rejects.toThrow('not today');
    const { Item } = await db.dynamo.send(
      new GetCommand({ TableName: db.handlersTable, Key: rateLimitKey(id) }),
    );
    expect(Item).toBeUndefined();
  });

  it('never gives a slot twice, nor two that are nearer than the rate allows', async () => {
    const environments = 3;
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: 0.01, max: 1000, noNaN: true }),
        fc.array(
          fc.record({
            // What these ask for, they ask for at the same time.
            asked: fc.array(
              fc.record({ by: fc.nat(environments - 1), count: fc.integer({ min: 1, max: 30 }) }),
              {
                minLength: 1,
                maxLength: 5,
              },
            ),
            // Their clocks differ.
            passed: fc.array(fc.integer({ min: 0, max: 3000 }), {
              minLength: environments,
              maxLength: environments,
            }),
          }),
          { minLength: 1, maxLength: 5 },
        ),
        fc.infiniteStream(fc.integer({ min: 0, max: 5 })),
        async (perSecond, rounds, dice) => {
          const id = newHandler();
          const isLost = () => dice.next().value === 0;
          const all = Array.from({ length: environments }, () =>
            anEnvironment(async (_, send) => {
              if (isLost()) await send();
              return send();
            }),
          );
          const slots: number[] = [];
          for (const { asked, passed } of rounds) {
            const taken = await Promise.all(
              asked.map(async ({ by, count }) => {
                const { reserve, clock } = all[by] as (typeof all)[number];
                const given = await reserve(id, { perSecond }, count);
                expect(given).toHaveLength(count);
                expect(given[0]?.getTime()).toBeGreaterThanOrEqual(clock.now().getTime());
                return given;
              }),
            );
            slots.push(...taken.flat().map((slot) => slot.getTime()));
            for (const [index, ms] of passed.entries()) all[index]?.clock.advance(ms);
          }
          for (const environment of all) environment[Symbol.dispose]();

          const sorted = slots.toSorted((a, b) => a - b);
          expect(new Set(sorted).size).toBe(sorted.length);
          const gaps = sorted.slice(1).map((slot, index) => slot - (sorted[index] ?? 0));
          // Slots are whole milliseconds.
          for (const gap of gaps) expect(gap).toBeGreaterThan(1000 / perSecond - 1);
        },
      ),
      { numRuns: 40 },
    );
  });
});
