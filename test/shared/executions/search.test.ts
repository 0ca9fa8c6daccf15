import { PutCommand } from '@aws-sdk/lib-dynamodb';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { InvalidInputError, NotFoundError } from '../../../shared/errors.ts';
import type { ExecutionRecord, ListedExecution } from '../../../shared/executions/execution.ts';
import type { ExecutionFilter } from '../../../shared/executions/filter.ts';
import { toItem } from '../../../shared/executions/item.ts';
import { encodeExecutionId, readKey } from '../../../shared/executions/key.ts';
import { ExecutionStatus } from '../../../shared/executions/life-cycle.ts';
import { createExecutionSearch, type ExecutionPage } from '../../../shared/executions/search.ts';
import { anExecution } from '../../support/builders.ts';
import { isDynamoDbLocal } from '../../support/dynamo.ts';
import { retention } from '../../support/write-executions.ts';
import {
  aLargeExecution,
  endedWith,
  eventIdsOf,
  newestFirst,
  startLogs,
  waitingUntil,
  withDetail,
} from './a-log.ts';

const logs = await startLogs();
afterAll(() => logs[Symbol.asyncDispose]());
const { aLog } = logs;

const budgetBytes = 4 * 1024 * 1024;

describe('list', () => {
  it('is empty where nothing ran', async () => {
    const { search } = await aLog();
    const nothing = { records: [], nextCursor: null, searchedBackTo: null };
    expect(await search.list({}, 20)).toEqual(nothing);
    expect(await search.list({ handlerId: 'h_none' }, 20)).toEqual(nothing);
  });

  it('gives what fits on a page without a cursor', async () => {
    const { search, write } = await aLog();
    const records = await write([anExecution(), anExecution()]);
    expect(await search.list({}, 2)).toEqual({
      records: newestFirst(records),
      nextCursor: null,
      searchedBackTo: null,
    });
  });

  it('gives every execution exactly once, newest first, whatever handlers, shards, times, filters and limits', async () => {
    const minutes = fc.integer({ min: 0, max: 3 * 60 });
    const execution = fc.record({
      handler: fc.integer({ min: 0, max: 3 }),
      // Few minutes, so that many executions have the same time.
      minute: fc.oneof(minutes, fc.constantFrom(0, 59, 60, 61)),
      day: fc.constantFrom(1, 1, 1, 20),
      event: fc.integer({ min: 0, max: 30 }),
      state: fc.oneof(
        fc.constant({ status: 'succeeded' as const }),
        fc.constant({ status: 'failed' as const }),
        fc.constant({ status: 'held' as const, reason: 'disabled' as const }),
        minutes.map((minute) => waitingUntil(timeOf(2, minute))),
      ),
      type: fc.constantFrom('client.create', 'client.update'),
      objectId: fc.constantFrom(12, '12', 'a-7', null),
      error: fc.constantFrom('http: status 500', 'timeout: no answer in 10000 ms'),
      name: fc.constantFrom('Ädä "the first"', 'Bob'),
    });
    const filter = fc.record(
      {
        handlerId: fc.constantFrom('h_0', 'h_1'),
        event: fc.constant('client.update'),
        status: fc.constantFrom(...ExecutionStatus.options),
        eventId: fc.integer({ min: 0, max: 30 }).map((event) => `e${event}`),
        objectId: fc.constantFrom('12', 'a-7', '7'),
        error: fc.constantFrom('STATUS 5', 'no answer'),
        data: fc.constantFrom('ädä "The', 'bob'),
        from: minutes.map((minute) => timeOf(1, minute)),
        to: minutes.map((minute) => timeOf(1, minute)),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(execution, {
          maxLength: 40,
          selector: ({ handler, minute, day, event }) => `${handler} ${minute} ${day} ${event}`,
        }),
        fc.array(filter, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 7 }),
        async (executions, filters, shards, limit) => {
          const { write, walk, clock } = await aLog({ shards, now: timeOf(1, 200) });
          const records = executions.map(
            ({ handler, minute, day, event, state, type, objectId, error, name }) => {
              const record = withDetail(
                { name },
                {
                  handlerId: `h_${handler}`,
                  time: timeOf(day, minute),
                  eventId: `e${event}`,
                  attempts: endedWith(error),
                  state,
                  type,
                  shards,
                },
              );
              return { ...record, event: { ...record.event, objectId } };
            },
          );
          await write(records);
          const byStatus = ExecutionStatus.options.map((status) => ({ status }));
          const all: ExecutionFilter[] = [{}, ...byStatus, ...filters];
          for (const wanted of all) {
            const endsAt = endOf(wanted, clock.now());
            const pages = await walk(wanted, limit);
            expect(pages.flatMap((page) => page.records)).toEqual(
              newestFirst(
                records.filter((record) => isWanted(record, { ...wanted, from: endsAt ?? wanted.from })),
              ),
            );
            for (const page of pages.slice(0, -1)) expect(page.records).toHaveLength(limit);
            expect(pages.map(({ searchedBackTo }) => searchedBackTo)).toEqual([
              ...pages.slice(0, -1).map(() => null),
              endsAt,
            ]);
          }
        },
      ),
      { numRuns: 20 },
    );
  }, 60_000);

  it('comes to an end where one event id begins like another', async () => {
    const { write, walk } = await aLog();
    const records = await write([
      anExecution({ handlerId: 'h_0', eventId: 'e12' }),
      anExecution({ handlerId: 'h_1', eventId: 'e1' }),
      anExecution({ handlerId: 'h_0', time: '2026-11-23T09:00:00.000Z' }),
    ]);
    const pages = await walk({}, 1);
    expect(pages.flatMap((page) => page.records)).toEqual(newestFirst(records));
  });

  it('takes a cursor into another search of the same log', async () => {
    const { search, write } = await aLog();
    const times = ['10', '11', '12'].map((hour) => `2026-11-23T${hour}:00:00.000Z`);
    await write(
      times.map((time, index) => anExecution({ time, eventId: `e${index}`, handlerId: `h_${index}` })),
    );
    const { nextCursor } = await search.list({}, 1);
    const cursor = nextCursor ?? '';
    expect(eventIdsOf((await search.list({ handlerId: 'h_0' }, 20, cursor)).records)).toEqual(['e0']);
    expect((await search.list({ handlerId: 'h_2' }, 20, cursor)).records).toEqual([]);
    const to = '2026-11-23T10:30:00.000Z';
    expect(eventIdsOf((await search.list({ to }, 20, cursor)).records)).toEqual(['e0']);
    const from = '2026-11-23T13:00:00.000Z';
    expect((await search.list({ from }, 20, cursor)).records).toEqual([]);
  });

  it('goes on from the end of an hour, whichever handler the cursor names', async () => {
    const { search, write } = await aLog();
    const [record] = await write([anExecution()]);
    for (const pk of ['', 'h_0#0', 'h_z#0']) {
      const { records } = await search.list({}, 20, encodeJson([pk, '2026-11-23T10\uffff']));
      expect(records).toMatchObject([{ key: record?.key }]);
    }
  });

  it('finds what was written while it was being read, once', async () => {
    const { search, write } = await aLog();
    await write(
      ['10', '11'].map((minute) =>
        anExecution({ time: `2026-11-23T10:${minute}:00.000Z`, eventId: `e${minute}` }),
      ),
    );
    const first = await search.list({}, 1);
    await write([anExecution({ time: '2026-11-23T10:59:00.000Z', eventId: 'newer' })]);
    const second = await search.list({}, 1, first.nextCursor ?? '');
    expect(eventIdsOf([...first.records, ...second.records])).toEqual(['e11', 'e10']);
  });

  it('takes both ends of the time into the answer', async () => {
    const { search, write } = await aLog();
    const time = '2026-11-23T10:00:00.000Z';
    await write([anExecution({ time })]);
    expect((await search.list({ from: time, to: time }, 20)).records).toHaveLength(1);
    expect((await search.list({ from: '2026-11-23T10:00:00.001Z' }, 20)).records).toEqual([]);
    expect((await search.list({ to: '2026-11-23T09:59:59.999Z' }, 20)).records).toEqual([]);
  });

  it('is empty when the time ends before it begins', async () => {
    const { search, write } = await aLog();
    await write([anExecution()]);
    const backwards = { from: '2026-11-23T11:00:00.000Z', to: '2026-11-23T09:00:00.000Z' };
    expect((await search.list(backwards, 20)).records).toEqual([]);
    expect((await search.list({ ...backwards, handlerId: 'h_1234567890abcdef' }, 20)).records).toEqual([]);
  });

  it.each([
    'garbage',
    '%%%',
    '',
    encodeJson({}),
    encodeJson([1, 2]),
    encodeJson(['a', 'b']),
    encodeJson(['', '']),
    encodeJson(['h_1#0', `2026-11-23T10:00:00.000Z#${'e'.repeat(2000)}`]),
    encodeJson(['h'.repeat(3000), '2026-11-23T10:00:00.000Z#e']),
    encodeJson(['h_1#0', '2026-11-23T10:00:00.000Z#e\u0000']),
    encodeJson(['h_1234567890abcdef#0', '2026-11-23T10']),
    encodeJson(['h_1234567890abcdef#0', '2026-11-23T10:00:00.000Z']),
  ])('refuses the cursor "%.40s"', async (cursor) => {
    const { search, write } = await aLog();
    await write([anExecution()]);
    for (const filter of [{}, { handlerId: 'h_1' }]) {
      const error = await search.list(filter, 20, cursor).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(InvalidInputError);
      expect((error as InvalidInputError).fields).toEqual([
        { field: 'cursor', message: 'is not a cursor of this list' },
      ]);
    }
  });
});

describe('what a list costs', () => {
  it('makes no call for the hours and days in which nothing ran', async () => {
    const { search, write, names } = await aLog({ now: '2026-12-24T12:00:00.000Z' });
    await write([
      anExecution({ time: '2026-11-24T00:00:00.000Z' }),
      anExecution({ time: '2026-12-24T11:00:00.000Z' }),
    ]);
    expect((await search.list({}, 20)).records).toHaveLength(2);
    // The hours; and for each of the two its handlers, and the one handler's executions.
    expect(names()).toEqual(Array.from({ length: 5 }, () => 'Query'));
  });

  it('reads a few items more than a page of one handler has', async () => {
    const { search, write, takeReadBytes } = await aLog();
    await write(Array.from({ length: 200 }, () => aLargeExecution(1000)));
    await search.list({ handlerId: 'h_1234567890abcdef' }, 10);
    expect(takeReadBytes()).toBeLessThan(40_000);
  });

  it('reads a page of the newest of many handlers without reading all of them far back', async () => {
    const { search, write, takeReadBytes } = await aLog();
    await write(Array.from({ length: 1000 }, (_, index) => anExecution({ handlerId: `h_${index % 100}` })));
    expect((await search.list({}, 20)).records).toHaveLength(20);
    // 4 KB is charged for each of the 100 handlers, and 8 KB for each page more of the 20 that are shown.
    expect(takeReadBytes()).toBeLessThan(100 * 4096 + 20 * 8192 + 20_000);
  });
});

describe('a list that reads too much', () => {
  const oldest = '2026-11-23T08:00:00.000Z';

  /** 120 executions of 100 KB in four hours, and one of another type before all of them: 12 MB. */
  async function aLargeLog() {
    const log = await aLog();
    await log.write([
      withDetail(
        // With a sign that the random text around it does not have.
        { name: 'the needle!' },
        { time: oldest, eventId: 'needle', type: 'client.update', attempts: endedWith('tls: needle') },
      ),
    ]);
    await log.write(
      Array.from({ length: 120 }, (_, index) =>
        aLargeExecution(100_000, {
          handlerId: `h_${index % 2}`,
          time: new Date(Date.parse(oldest) + (index + 1) * 115_000).toISOString(),
        }),
      ),
    );
    log.takeReadBytes();
    return log;
  }
  // For those tests that only read it.
  let shared: ReturnType<typeof aLargeLog> | undefined;
  const theLargeLog = () => (shared ??= aLargeLog());

  it.each<[string, ExecutionFilter]>([
    ['one event type', { event: 'client.update' }],
    ['one event', { eventId: 'needle' }],
    ['two filters', { event: 'client.update', status: 'succeeded', objectId: '12' }],
    ['an error', { error: 'Needle', from: oldest }],
    ['data', { data: 'Needle!', from: oldest }],
  ])('stops, says how far back it looked, and finds the one match in the end: %s', async (_, filter) => {
    const { search, takeReadBytes } = await theLargeLog();
    let cursor: string | undefined;
    let lookedBackTo = '9999';
    let requests = 0;
    for (;;) {
      const page: ExecutionPage = await search.list(filter, 20, cursor);
      requests++;
      // One round more than the budget at most: two handlers, a page of 1 MB each.
      expect(takeReadBytes()).toBeLessThan(budgetBytes + 2.5 * 1024 * 1024);
      if (page.nextCursor === null) {
        expect(eventIdsOf(page.records)).toEqual(['needle']);
        expect(page.searchedBackTo).toBeNull();
        break;
      }
      expect(page.records).toEqual([]);
      expect(page.searchedBackTo).toMatch(/^2026-11-23T\d\d:\d\d:\d\d\.\d{3}Z$/u);
      const backTo = page.searchedBackTo ?? '';
      expect(backTo < lookedBackTo && backTo >= oldest).toBe(true);
      lookedBackTo = backTo;
      cursor = page.nextCursor;
    }
    expect(requests).toBeGreaterThan(2);
  });

  it('stops within one handler too', async () => {
    const { search } = await theLargeLog();
    const page = await search.list({ handlerId: 'h_0', eventId: 'needle' }, 20);
    expect(page).toMatchObject({ records: [], searchedBackTo: expect.any(String) as string });
    expect(page.nextCursor).not.toBeNull();
  });

  // DynamoDB Local does not: it ends a page by what the filter left over (test/support/dynamo.test.ts).
  it.skipIf(isDynamoDbLocal)('stops within one handler too where DynamoDB does the filtering', async () => {
    const { search } = await theLargeLog();
    const page = await search.list({ handlerId: 'h_0', event: 'client.update' }, 20);
    expect(page).toMatchObject({ records: [], searchedBackTo: expect.any(String) as string });
    expect(page.nextCursor).not.toBeNull();
  });

  it('gives what it found before it stopped', async () => {
    const { search, write } = await aLargeLog();
    await write([
      anExecution({ time: '2026-11-23T11:59:00.000Z', eventId: 'newest', type: 'client.update' }),
    ]);
    const page = await search.list({ event: 'client.update' }, 20);
    expect(eventIdsOf(page.records)).toEqual(['newest']);
    expect(page.searchedBackTo).not.toBeNull();
  });

  it('shows nothing twice and leaves nothing out where it stopped, with matches all over', async () => {
    const { walk, write } = await aLargeLog();
    const matches = Array.from({ length: 60 }, (_, index) =>
      anExecution({
        handlerId: `h_${index % 3}`,
        eventId: `match${index}`,
        time: new Date(Date.parse(oldest) + 60_000 + index * 230_000).toISOString(),
        type: 'client.update',
      }),
    );
    await write(matches);
    const pages = await walk({ event: 'client.update' }, 50);
    expect(pages.flatMap(({ records }) => eventIdsOf(records))).toEqual([
      ...eventIdsOf(newestFirst(matches)),
      'needle',
    ]);
    expect(pages.some(({ searchedBackTo }) => searchedBackTo !== null)).toBe(true);
  });

  it('does not read far more than its budget where hundreds of handlers ran in one hour', async () => {
    const { search, write, takeReadBytes } = await aLog();
    const handlers = 300;
    const handlerIds = Array.from({ length: handlers }, (_, index) => `h_${String(index).padStart(3, '0')}`);
    await write(
      handlerIds.flatMap((handlerId) =>
        Array.from({ length: 6 }, (_, index) =>
          anExecution({ handlerId, time: `2026-11-23T10:${10 + index}:00.000Z` }),
        ),
      ),
    );
    const needle = anExecution({
      handlerId: 'h_000',
      time: '2026-11-23T10:00:00.000Z',
      type: 'client.update',
    });
    await write([needle]);
    let cursor: string | undefined;
    const found: ListedExecution[] = [];
    let requests = 0;
    do {
      const page: ExecutionPage = await search.list({ event: 'client.update' }, 20, cursor);
      expect(takeReadBytes()).toBeLessThan(budgetBytes + 0.5 * 1024 * 1024);
      found.push(...page.records);
      cursor = page.nextCursor ?? undefined;
      requests++;
    } while (cursor !== undefined && requests < 100);
    expect(found).toMatchObject([{ key: needle.key }]);
  }, 30_000);

  it('reads one large event of each handler before it asks any of them for more', async () => {
    const { search, write, takeReadBytes } = await aLog();
    await write(
      Array.from({ length: 180 }, (_, index) => aLargeExecution(100_000, { handlerId: `h_${index % 60}` })),
    );
    const page = await search.list({ event: 'client.update' }, 20);
    expect(page.searchedBackTo).not.toBeNull();
    expect(takeReadBytes()).toBeLessThan(60 * 110_000);
  });

  it('stops after two seconds by the clock, and never without having gone on', async () => {
    const { write, clock, tableName, dynamo } = await aLog();
    const times = ['09', '10', '11'].map((hour) => `2026-11-23T${hour}:30:00.000Z`);
    await write(times.flatMap((time) => [anExecution({ time }), anExecution({ time, handlerId: 'h_b' })]));
    // Every look at the clock takes three seconds.
    const now = () => {
      clock.advance(3000);
      return clock.now();
    };
    const slow = createExecutionSearch({ dynamo, tableName, shards: 1, now });
    const records: ListedExecution[] = [];
    let cursor: string | undefined;
    let requests = 0;
    do {
      const page: ExecutionPage = await slow.list({}, 20, cursor);
      records.push(...page.records);
      cursor = page.nextCursor ?? undefined;
      requests++;
    } while (cursor !== undefined && requests < 50);
    expect(records.map(({ event }) => event.time)).toEqual([...times, ...times].sort().toReversed());
    expect(requests).toBeGreaterThan(1);
  });
});

describe('what has expired', () => {
  it('is neither listed nor found, from the second on in which it expires', async () => {
    const { search, write, clock } = await aLog({ now: '2026-11-23T10:00:00.000Z' });
    const [ended, held, waiting] = (await write([
      anExecution(),
      anExecution({ state: { status: 'held', reason: 'disabled' } }),
      anExecution({ state: waitingUntil() }),
    ])) as [ExecutionRecord, ExecutionRecord, ExecutionRecord];
    const handlerId = 'h_1234567890abcdef';
    const shown = async () =>
      new Set((await search.list({ handlerId }, 20)).records.map(({ key }) => key.sk));

    clock.advance(30 * 86_400_000 - 1);
    expect(await shown()).toEqual(new Set([ended.key.sk, held.key.sk, waiting.key.sk]));
    await expect(search.get(encodeExecutionId(ended.key))).resolves.toEqual(ended);
    clock.advance(1);
    expect(await shown()).toEqual(new Set([held.key.sk, waiting.key.sk]));
    expect(new Set((await search.list({}, 20)).records.map(({ key }) => key.sk))).toEqual(await shown());
    await expect(search.get(encodeExecutionId(ended.key))).rejects.toThrow(NotFoundError);
    clock.advance(60 * 86_400_000);
    expect(await shown()).toEqual(new Set([waiting.key.sk]));
  });

  it('costs no call for its hours once those have expired too', async () => {
    const { search, write, clock, names } = await aLog({ now: '2026-11-23T10:00:00.000Z' });
    await write([anExecution()]);
    clock.advance(98 * 86_400_000);
    expect((await search.list({}, 20)).records).toEqual([]);
    expect(names()).toEqual(['Query']);
  });
});

describe('get', () => {
  it('gives an execution by its public id, strongly consistent', async () => {
    const { search, write, calls } = await aLog();
    const [record] = (await write([anExecution()])) as [ExecutionRecord];
    expect(await search.get(encodeExecutionId(record.key))).toEqual(record);
    expect(calls[0]?.input['ConsistentRead']).toBe(true);
  });

  it.each([
    ['unknown', encodeExecutionId(anExecution().key)],
    ['malformed', 'nonsense'],
    ['empty', ''],
    ['overlong', encodeExecutionId({ pk: `${'h'.repeat(3000)}#0`, sk: '2026-11-23T10:00:00.000Z#e' })],
  ])('says that there is none for an id that is %s', async (_, id) => {
    const { search } = await aLog();
    await expect(search.get(id)).rejects.toThrow(new NotFoundError('execution', id));
  });

  it('never shows an item that is no execution', async () => {
    const { search, tableName } = await aLog();
    const key = { pk: 'h_1#0', sk: '2026-11-23T10:00:00.000Z#e' };
    const { status: _, ...item } = toItem({ ...anExecution(), key }, retention, new Date());
    await logs.dynamo.send(new PutCommand({ TableName: tableName, Item: item }));
    await expect(search.get(encodeExecutionId(key))).rejects.toThrow(NotFoundError);
  });
});

function timeOf(day: number, minute: number): string {
  return new Date(Date.UTC(2026, 10, day, 9, minute)).toISOString();
}

/** Where a search ends that looks into texts and was not told. */
function endOf({ error, data, from, to }: ExecutionFilter, now: Date): string | null {
  if ((error === undefined && data === undefined) || from !== undefined) return null;
  const end = Math.min(now.getTime(), to === undefined ? Infinity : Date.parse(to));
  return new Date(end - 24 * 3_600_000).toISOString();
}

function isWanted(record: ExecutionRecord, filter: ExecutionFilter): boolean {
  const { handlerId, eventId, time } = readKey(record.key);
  const { detail } = JSON.parse(record.event.raw) as { detail: { name?: string } };
  return (
    (filter.handlerId ?? handlerId) === handlerId &&
    (filter.eventId ?? eventId) === eventId &&
    (filter.event ?? record.event.type) === record.event.type &&
    (filter.status ?? record.state.status) === record.state.status &&
    (filter.objectId === undefined || filter.objectId === String(record.event.objectId)) &&
    isIn(record.attempts.at(-1)?.error ?? '', filter.error) &&
    isIn(detail.name ?? '', filter.data) &&
    (filter.from ?? time) <= time &&
    (filter.to ?? time) >= time
  );
}

const isIn = (text: string, wanted = ''): boolean => text.toLowerCase().includes(wanted.toLowerCase());

function encodeJson(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
