import { DeleteCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import type { ExecutionFilter } from '../../../shared/executions/filter.ts';
import { toItem } from '../../../shared/executions/item.ts';
import type { ExecutionStatus } from '../../../shared/executions/life-cycle.ts';
import { anExecution } from '../../support/builders.ts';
import { retention } from '../../support/write-executions.ts';
import { aLargeExecution, endedWith, eventIdsOf, newestFirst, startLogs, waitingUntil } from './a-log.ts';

const logs = await startLogs();
afterAll(() => logs[Symbol.asyncDispose]());
const { aLog } = logs;

const failed = { state: { status: 'failed' as const } };
const budgetBytes = 4 * 1024 * 1024;
const atMinute = (minute: number) => new Date(Date.UTC(2026, 10, 23, 9, minute)).toISOString();

const statesOf = (status: Exclude<ExecutionStatus, 'succeeded'>, index: number): ExecutionRecord['state'] => {
  switch (status) {
    case 'failed':
      return { status };
    case 'held':
      return { status, reason: 'disabled' };
    case 'waiting':
      // In another order than the executions themselves.
      return waitingUntil(atMinute((index * 37) % 101));
    default:
      return status satisfies never;
  }
};

describe.each(['failed', 'held', 'waiting'] as const)('a search for what is %s', (status) => {
  const handlerId = 'h_b';

  /** 300 executions of three handlers, of which every tenth has the status. */
  async function aMixedLog(settings: Parameters<typeof aLog>[0] = {}) {
    const log = await aLog(settings);
    const records = Array.from({ length: 300 }, (_, index) =>
      anExecution({
        handlerId: `h_${'abc'[index % 3]}`,
        time: atMinute(index % 170),
        eventId: `e${index}`,
        ...(index % 10 === 0 && { state: statesOf(status, index) }),
      }),
    );
    await log.write(records);
    log.takeReadBytes();
    const matches = newestFirst(records.filter(({ state }) => state.status === status));
    return { ...log, matches, ofHandler: matches.filter(({ key }) => key.pk.startsWith(handlerId)) };
  }

  it('finds them without reading the rest of the log', async () => {
    const { search, matches, ofHandler, names, takeReadBytes } = await aMixedLog();
    expect((await search.list({ status }, 20)).records).toEqual(matches.slice(0, 20));
    // What waits is in two kinds of partitions: with a due time, and parked.
    const partitions = Array.from({ length: status === 'waiting' ? 16 : 8 }, () => 'Query');
    expect(names()).toEqual([...partitions, 'BatchGetItem']);
    expect(takeReadBytes()).toBeLessThan(partitions.length * 4096 + 21 * 4096 + 1);

    expect((await search.list({ status, handlerId }, 20)).records).toEqual(ofHandler);
    expect(names()).toEqual([...partitions, 'BatchGetItem', ...partitions, 'BatchGetItem']);
  });

  it('reads on until a page is full, and no further', async () => {
    const { walk, matches, names } = await aMixedLog();
    const pages = await walk({ status }, 7);
    expect(pages.map(({ records }) => records.length)).toEqual([7, 7, 7, 7, 2]);
    expect(pages.flatMap(({ records }) => records)).toEqual(matches);
    expect(names().filter((name) => name === 'BatchGetItem')).toHaveLength(5);
  });

  it('applies every other filter', async () => {
    const { search, matches } = await aMixedLog();
    const [newest] = matches;
    const time = newest?.event.time ?? '';
    const lists: [ExecutionFilter, number][] = [
      [{ eventId: 'e0' }, 1],
      [{ eventId: 'e1' }, 0],
      [{ event: 'client.update' }, 0],
      [{ objectId: '12' }, 30],
      [{ objectId: '13' }, 0],
      [{ from: time }, matches.filter((match) => match.event.time === time).length],
      [{ to: atMinute(0) }, 2],
      [{ from: atMinute(0), to: atMinute(0), handlerId: 'h_a' }, 1],
      [{ error: 'boom' }, 0],
      [{ data: '"ada"' }, 30],
    ];
    for (const [filter, count] of lists) {
      const { records } = await search.list({ status, ...filter }, 100);
      expect([filter, records.length]).toEqual([filter, count]);
    }
  });

  it('leaves out what has gone on, or is gone, since the index was written', async () => {
    let isBehind = true;
    const [moved, gone] = [anExecution({ eventId: 'moved' }), anExecution({ eventId: 'gone' })];
    const { search, write, tableName } = await aLog({
      async answer({ name }, send) {
        if (name === 'BatchGetItem' && isBehind) {
          isBehind = false;
          const item = toItem(moved, retention, new Date());
          await logs.dynamo.send(new PutCommand({ TableName: tableName, Item: item }));
          await logs.dynamo.send(new DeleteCommand({ TableName: tableName, Key: gone.key }));
        }
        return send();
      },
    });
    const still = anExecution({ eventId: 'still' });
    await write([moved, gone, still].map((record) => ({ ...record, state: statesOf(status, 1) })));
    expect(eventIdsOf((await search.list({ status }, 20)).records)).toEqual(['still']);
    expect(isBehind).toBe(false);
  });

  it('asks again for what DynamoDB had no capacity for', async () => {
    let isThrottled = true;
    const { search, matches, names } = await aMixedLog({
      async answer({ name }, send) {
        const output = await send();
        if (name !== 'BatchGetItem' || !isThrottled) return output;
        isThrottled = false;
        const { Responses } = output as { Responses: Record<string, Record<string, unknown>[]> };
        const [table = ''] = Object.keys(Responses);
        const items = Responses[table] ?? [];
        const Keys = items.slice(4).map(({ pk, sk }) => ({ pk, sk }));
        return {
          ...output,
          Responses: { [table]: items.slice(0, 4) },
          UnprocessedKeys: { [table]: { Keys } },
        };
      },
    });
    expect((await search.list({ status }, 20)).records).toEqual(matches.slice(0, 20));
    expect(names().filter((name) => name === 'BatchGetItem')).toHaveLength(2);
  });

  it('fails when DynamoDB never has the capacity', async () => {
    const { search } = await aMixedLog({
      async answer({ name, input }, send) {
        if (name !== 'BatchGetItem') return send();
        return { UnprocessedKeys: input['RequestItems'] as object };
      },
    });
    await expect(search.list({ status }, 20)).rejects.toThrow('BatchGetItem left 21 keys unprocessed');
  });

  it('is over when its pages are', async () => {
    const { search, write } = await aLog();
    await write(
      Array.from({ length: 4 }, (_, index) =>
        anExecution({ eventId: `e${index}`, state: statesOf(status, 1) }),
      ),
    );
    expect((await search.list({ status }, 4)).nextCursor).toBeNull();
    expect((await search.list({ status }, 3)).nextCursor).not.toBeNull();
  });

  it('takes a cursor of another search, and hands its own on', async () => {
    const { search, matches } = await aMixedLog();
    const all = await search.list({}, 50);
    const shown = all.records.filter(({ state }) => state.status === status);
    const next = await search.list({ status }, 100, all.nextCursor ?? '');
    expect([...shown, ...next.records]).toEqual(matches);

    const first = await search.list({ status }, 5);
    const rest = await search.list({}, 1000, first.nextCursor ?? '');
    expect([...first.records, ...rest.records.filter(({ state }) => state.status === status)]).toEqual(
      matches,
    );
  });

  it('leaves out what has expired, and what waits never does', async () => {
    const { search, write, clock } = await aLog();
    await write([anExecution({ state: statesOf(status, 1) })]);
    clock.advance(91 * 86_400_000);
    const found = status === 'waiting' ? 1 : 0;
    expect((await search.list({ status }, 20)).records).toHaveLength(found);
    expect((await search.list({ status, handlerId: 'h_1234567890abcdef' }, 20)).records).toHaveLength(found);
  });
});

describe('a search by status and handler', () => {
  it('takes no other handler for it whose keys look alike', async () => {
    const { search, write } = await aLog();
    // The key in the index is `h_1#2026-11-23T10:00:00.000Z#0`.
    await write([anExecution({ handlerId: 'h_1', eventId: '0', ...failed })]);
    for (const handlerId of ['h_1#2026-11-23T10:00:00.000Z', 'h_', 'h_1#', '']) {
      expect((await search.list({ status: 'failed', handlerId }, 20)).records).toEqual([]);
    }
    expect((await search.list({ status: 'failed', handlerId: 'h_1' }, 20)).records).toHaveLength(1);
  });

  it('finds an event that is in two shards, because their number was raised, twice', async () => {
    const { walk, write } = await aLog({ shards: 2 });
    const records = ['h_1#0', 'h_1#1'].map((pk) => {
      const record = anExecution({ eventId: 'e', ...failed });
      return { ...record, key: { ...record.key, pk } };
    });
    await write(records);
    for (const limit of [1, 2]) {
      const pages = await walk({ status: 'failed', handlerId: 'h_1' }, limit);
      expect(pages.flatMap((page) => page.records)).toEqual(newestFirst(records));
    }
  });

  it('needs no more calls for a page however many there are', async () => {
    const { search, write, names } = await aLog();
    const records = Array.from({ length: 3000 }, (_, index) =>
      anExecution({ handlerId: 'h_1', time: atMinute(index % 180), eventId: `e${index}`, ...failed }),
    );
    await write(records);
    const { records: found } = await search.list({ status: 'failed', handlerId: 'h_1' }, 20);
    expect(found).toEqual(newestFirst(records).slice(0, 20));
    expect(names()).toHaveLength(9);
  }, 60_000);

  it('stops when it has read enough, and goes on from there', async () => {
    const { walk, write, takeReadBytes } = await aLog();
    const records = Array.from({ length: 120 }, (_, index) =>
      aLargeExecution(100_000, { handlerId: 'h_1', time: atMinute(index), eventId: `e${index}`, ...failed }),
    );
    const match = anExecution({
      handlerId: 'h_1',
      time: atMinute(0),
      eventId: 'needle',
      attempts: endedWith('tls: needle'),
      ...failed,
    });
    await write([...records, match]);
    takeReadBytes();
    for (const filter of [
      { error: 'needle', from: atMinute(0) },
      { data: '"name":"Ada"', from: atMinute(0) },
    ]) {
      for (const also of [{ handlerId: 'h_1' }, {}]) {
        const pages = await walk({ status: 'failed', ...filter, ...also }, 20);
        expect(pages.flatMap((page) => eventIdsOf(page.records))).toEqual(['needle']);
        expect(pages.length).toBeGreaterThan(2);
        expect(takeReadBytes()).toBeLessThan(pages.length * (budgetBytes + 0.5 * 1024 * 1024));
        const backTo = pages.slice(0, -1).map(({ searchedBackTo }) => searchedBackTo ?? '');
        expect(backTo).toEqual(backTo.toSorted().toReversed());
        for (const time of backTo) expect(time).toMatch(/^2026-11-23T\d\d:\d\d:00\.000Z$/u);
      }
    }
  }, 60_000);
});

describe('a search by status that has too many to put in order', () => {
  it('walks the log, and changes over between two pages without a gap or a repeat', async () => {
    const { search, write, names, tableName } = await aLog();
    const records = Array.from({ length: 2010 }, (_, index) =>
      anExecution({
        handlerId: `h_${index % 5}`,
        time: atMinute(index % 180),
        eventId: `e${index}`,
        state: statesOf('waiting', index),
      }),
    );
    await write([...records, anExecution({ handlerId: 'h_1', time: atMinute(90) })]);
    const expected = newestFirst(records);
    const isWalk = () => !names().includes('BatchGetItem');

    const first = await search.list({ status: 'waiting' }, 50);
    expect(first.records).toEqual(expected.slice(0, 50));
    expect(isWalk()).toBe(true);

    // Now there are no more than can be put in order.
    await Promise.all(
      records
        .filter(({ key }) => expected.slice(-10).some((record) => record.key.sk === key.sk))
        .map(({ key }) => logs.dynamo.send(new DeleteCommand({ TableName: tableName, Key: key }))),
    );
    const second = await search.list({ status: 'waiting' }, 50, first.nextCursor ?? '');
    expect(second.records).toEqual(expected.slice(50, 100));
    expect(isWalk()).toBe(false);

    await write(records.slice(0, 20));
    const third = await search.list({ status: 'waiting' }, 50, second.nextCursor ?? '');
    expect(third.records).toEqual(expected.slice(100, 150));
  }, 60_000);

  it('gives every one of them once, whichever way each page goes', async () => {
    const { search, write, names, tableName } = await aLog();
    const shown = Array.from({ length: 60 }, (_, index) =>
      anExecution({
        handlerId: `h_${index % 4}`,
        time: atMinute(60 + (index % 25)),
        eventId: `e${index}`,
        ...failed,
      }),
    );
    const expected = newestFirst(shown);
    // Older than all of them: their number alone decides the way.
    const others = Array.from({ length: 1945 }, (_, index) =>
      anExecution({ handlerId: 'h_old', time: atMinute(0), eventId: `old${index}`, ...failed }),
    );
    await write([...shown, ...others]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ isIndexed: fc.boolean(), limit: fc.integer({ min: 1, max: 25 }) }), {
          minLength: 1,
          maxLength: 6,
        }),
        async (pages) => {
          const found: unknown[] = [];
          let cursor: string | undefined;
          for (const { isIndexed, limit } of pages) {
            await toggle(tableName, others.slice(0, 5), isIndexed);
            const callsBefore = names().length;
            const filter = { status: 'failed' as const, from: atMinute(1) };
            const { records, nextCursor } = await search.list(filter, limit, cursor);
            expect(names().slice(callsBefore).includes('BatchGetItem')).toBe(isIndexed);
            found.push(...records);
            if (nextCursor === null) break;
            cursor = nextCursor;
          }
          const wanted = pages.reduce((sum, { limit }) => sum + limit, 0);
          expect(found).toEqual(expected.slice(0, wanted));
        },
      ),
      { numRuns: 15 },
    );
  }, 60_000);
});

/** Takes executions out of the log and its index, or puts them back. */
async function toggle(TableName: string, records: readonly ExecutionRecord[], isOut: boolean): Promise<void> {
  const now = new Date('2026-11-23T12:00:00.000Z');
  for (const record of records) {
    await (isOut
      ? logs.dynamo.send(new DeleteCommand({ TableName, Key: record.key }))
      : logs.dynamo.send(new PutCommand({ TableName, Item: toItem(record, retention, now) })));
  }
}
