import { GetCommand, PutCommand, QueryCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, describe, expect, it } from 'vitest';
import { ConflictError, NotFoundError } from '../../../shared/errors.ts';
import { createRecoveries, recoveriesPartition } from '../../../shared/executions/recoveries.ts';
import { createRecoveryTurns } from '../../../shared/executions/recovery-turn.ts';
import type { RecoveryRange } from '../../../shared/executions/recovery.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo } from '../../support/sdk-calls.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const clock = createClock('2026-11-23T10:00:00.000Z');
const table = { dynamo: db.dynamo, tableName: db.handlersTable, now: clock.now };
const store = createRecoveries({ ...table, keptDays: 30 });
const minuteMs = 60_000;
const dayMs = 86_400_000;

const range: RecoveryRange = {
  handlerId: 'h_1234567890abcdef',
  from: '2026-11-23T00:00:00.000Z',
  to: '2026-11-23T10:00:00.000Z',
  statuses: ['failed', 'held'],
};
const running = async (id: string) => {
  const [found] = await store.readRunning([id]);
  if (found === undefined) throw new Error('It is not running.');
  return found;
};

describe('the recoveries', () => {
  it('have ids that sort by the time they began at', async () => {
    const ids: string[] = [];
    for (let index = 0; index < 3; index++) {
      clock.advance(1);
      ids.push((await store.start(range)).id);
    }
    expect(ids).toEqual(ids.toSorted());
    const { recoveries } = await store.list(3);
    expect(recoveries.map(({ id }) => id)).toEqual(ids.toReversed());
  });

  it('are found until the run after their end', async () => {
    const { id } = await store.start(range);
    expect(await store.findRunning()).toContain(id);
    await store.cancel(id);
    expect(await store.findRunning()).toContain(id);
    expect(await store.readRunning([id])).toEqual([]);
    expect(await store.findRunning()).not.toContain(id);
  });

  it('come in the order in which they had their last page', async () => {
    const begun: string[] = [];
    for (let index = 0; index < 3; index++) {
      clock.advance(1000);
      begun.push((await store.start(range)).id);
    }
    const [first = '', second = '', third = ''] = begun;
    clock.advance(1000);
    await store.advance(await running(first), {
      found: 1,
      released: 1,
      position: { partition: 1, after: null },
    });
    const order = await store.readRunning(begun);
    expect(order.map(({ recovery }) => recovery.id)).toEqual([second, third, first]);
    expect(order[2]).toMatchObject({ position: { partition: 1, after: null }, recovery: { found: 1 } });
  });

  it('are gone on with by one of two that have read the same', async () => {
    const { id } = await store.start(range);
    const seen = await running(id);
    const position = { partition: 1, after: null };
    expect(await store.advance(seen, { found: 5, released: 5, position })).not.toBeNull();
    expect(await store.advance(seen, { found: 9, released: 9, position })).toBeNull();
    await store.end(seen, { status: 'done', found: 9, released: 9 });
    expect(await store.get(id)).toMatchObject({ status: 'running', found: 5 });
  });

  it('are not ended twice, and count the page that was under way', async () => {
    const { id } = await store.start(range);
    const seen = await running(id);
    await store.cancel(id);
    await store.end(seen, { status: 'done', found: 7, released: 6 });
    expect(await store.get(id)).toMatchObject({ status: 'cancelled', found: 7, released: 6 });
    await expect(store.cancel(id)).rejects.toThrow(ConflictError);
  });

  it('expire after they have ended, not before', async () => {
    const [ended, goesOn] = [await store.start(range), await store.start(range)];
    await store.end(await running(ended.id), { status: 'done', found: 0, released: 0 });
    const { Item } = await db.dynamo.send(
      new GetCommand({ TableName: db.handlersTable, Key: { pk: recoveriesPartition, sk: ended.id } }),
    );
    expect(Item?.['expiresAt']).toBe(Math.floor((clock.now().getTime() + 30 * dayMs) / 1000));
    clock.advance(30 * dayMs);
    await expect(store.get(ended.id)).rejects.toThrow(new NotFoundError('recovery', ended.id));
    const listed = (await store.list(100)).recoveries.map(({ id }) => id);
    expect(listed).not.toContain(ended.id);
    expect(listed).toContain(goesOn.id);
  });

  it('of a request that died in between leave nothing behind', async () => {
    using dying = createRecordingDynamo(async ({ input }, send) => {
      if (JSON.stringify(input).includes('"r_')) throw new Error('killed');
      return send();
    });
    const dead = createRecoveries({ ...table, dynamo: dying.dynamo, keptDays: 30 });
    const before = await store.findRunning();
    await expect(dead.start(range)).rejects.toThrow('killed');
    const id = (await store.findRunning()).find((found) => !before.includes(found)) ?? '';
    expect(id).not.toBe('');
    // The request may still be under way.
    expect(await store.readRunning([id])).toEqual([]);
    expect(await store.findRunning()).toContain(id);
    clock.advance(5 * minuteMs + 1);
    expect(await store.readRunning([id])).toEqual([]);
    expect(await store.findRunning()).not.toContain(id);
  });

  it('that have expired do not make a list read for ever', async () => {
    const now = Math.floor(clock.now().getTime() / 1000);
    for (let index = 0; index < 30; index++) {
      await db.dynamo.send(
        new PutCommand({
          TableName: db.handlersTable,
          Item: {
            pk: recoveriesPartition,
            sk: `r_zzzzzzzzz${String(index).padStart(12, '0')}`,
            ...range,
            expiresAt: now,
          },
        }),
      );
    }
    using recording = createRecordingDynamo();
    const recorded = createRecoveries({ ...table, dynamo: recording.dynamo, keptDays: 30 });
    const page = await recorded.list(1);
    expect(page.recoveries).toEqual([]);
    expect(page.nextCursor).not.toBeNull();
    expect(recording.names()).toHaveLength(10);
    expect((await recorded.list(100)).recoveries.length).toBeGreaterThan(0);
  });

  it('share their partition with what is no recovery, and never give it out', async () => {
    await createRecoveryTurns({ ...table, scale: 1 }).take();
    await store.start(range);
    const { Items = [] } = await db.dynamo.send(
      new QueryCommand({
        TableName: db.handlersTable,
        KeyConditionExpression: 'pk = :pk AND begins_with(sk, :other)',
        ExpressionAttributeValues: { ':pk': recoveriesPartition, ':other': '#' },
      }),
    );
    expect(Items.length).toBeGreaterThan(1);
    for (const { sk } of Items) await expect(store.get(String(sk))).rejects.toThrow(NotFoundError);
  });
});

describe('a turn', () => {
  const turns = createRecoveryTurns({ ...table, scale: 1 });

  it('is one sweeper’s at a time, and another one’s when it was given back', async () => {
    clock.advance(dayMs);
    const mine = await turns.take();
    expect(await turns.take()).toBeNull();
    await mine?.end();
    const next = await turns.take();
    expect(next).not.toBeNull();
    // Who is late gives back nothing.
    await mine?.end();
    expect(await turns.take()).toBeNull();
  });

  it('is taken from one that has not been heard of for a minute, who then may not go on', async () => {
    clock.advance(dayMs);
    const dead = await turns.take();
    clock.advance(30_000);
    expect(await dead?.reserve(1)).toBe(true);
    clock.advance(59_999);
    expect(await turns.take()).toBeNull();
    clock.advance(1);
    const next = await turns.take();
    expect(next).not.toBeNull();
    expect(await dead?.reserve(1)).toBe(false);
    expect(await next?.reserve(1)).toBe(true);
  });

  it('keeps to the times that another one had set aside and not used', async () => {
    clock.advance(dayMs);
    const dead = await turns.take();
    expect(dead?.room()).toBe(1000);
    await dead?.reserve(600);
    clock.advance(minuteMs);
    expect((await turns.take())?.room()).toBe(1000);

    clock.advance(dayMs);
    const mine = await turns.take();
    await mine?.reserve(600);
    const dues = [mine?.nextDue(), mine?.nextDue()].map((due) => due?.getTime());
    expect(dues).toEqual([clock.now().getTime(), clock.now().getTime() + 60]);
    await mine?.end();
    // Given back are those that were not needed.
    expect((await turns.take())?.room()).toBe(998);
  });

  it('that was taken without hearing so is ours all the same', async () => {
    clock.advance(dayMs);
    let tries = 0;
    using lossy = createRecordingDynamo(async (_, send) => {
      await send();
      tries += 1;
      return send();
    });
    const turn = await createRecoveryTurns({ ...table, dynamo: lossy.dynamo, scale: 1 }).take();
    expect(tries).toBe(1);
    expect(turn).not.toBeNull();
  });
});
