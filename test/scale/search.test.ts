import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionFilter } from '../../shared/executions/filter.ts';
import { anExecution } from '../support/builders.ts';
import { startLogs, waitingUntil } from '../shared/executions/a-log.ts';

type Log = Awaited<ReturnType<typeof logs.aLog>>;
type State = ExecutionRecord['state'];

const now = Date.parse('2026-11-23T12:00:00.000Z');
const hourMs = 3_600_000;
const handlersAnHour = 100;
const busy = 'h_0000';
const page = 20;

const logs = await startLogs();
afterAll(() => logs[Symbol.asyncDispose]());

/** An execution so long ago. Its event is small: what counts here is how many there are. */
function anOld(handler: number, agoMs: number, state: State): ExecutionRecord {
  const record = anExecution({
    handlerId: `h_${String(handler).padStart(4, '0')}`,
    time: new Date(now - agoMs).toISOString(),
    state,
  });
  return { ...record, attempts: [], request: null, event: { ...record.event, raw: '{"detail":{}}' } };
}

const succeeded: State = { status: 'succeeded' };
const failed: State = { status: 'failed' };
const held: State = { status: 'held', reason: 'disabled' };
const waiting: State = waitingUntil();

/** A hundred executions of the last hour, of so many handlers; of each status there is a page. */
const aHundred = (handlers: number): ExecutionRecord[] =>
  Array.from({ length: 100 }, (_, index) =>
    anOld(index % handlers, 1 + index * 1000, [failed, held, waiting, succeeded][index % 4] ?? failed),
  );

/**
 * A hundred thousand of ten hours and a thousand handlers, of which a hundred ran in the last hour. One ran in every hour:
 * it has a hundredth of them. About 200 failed, a quarter of them of that handler; 60 are held and 60 wait.
 */
function* aHundredThousand(): Generator<ExecutionRecord[]> {
  for (let hour = 0; hour < 10; hour++) {
    const count = hour === 0 ? 1000 : 11_000;
    yield Array.from({ length: count }, (_, index) => {
      const isBusy = index % handlersAnHour === 0;
      const handler = isBusy ? 0 : hour * handlersAnHour + (index % handlersAnHour);
      const agoMs = hour * hourMs + 1 + Math.floor((index * hourMs) / count);
      if (isBusy) return anOld(handler, agoMs, index % 2000 === 0 ? failed : succeeded);
      if (index % 660 === 1) return anOld(handler, agoMs, failed);
      return anOld(handler, agoMs, [held, waiting][(index % 1650) - 2] ?? succeeded);
    });
  }
}

let ofAll: Log;
let ofOne: Log;
let large: Log;
beforeAll(async () => {
  [ofAll, ofOne, large] = [await logs.aLog(), await logs.aLog(), await logs.aLog()];
  await ofAll.write(aHundred(handlersAnHour));
  await ofOne.write(aHundred(1));
  for (const records of aHundredThousand()) await large.write(records);
}, 600_000);

/** How long a page takes, in milliseconds. */
async function timePage({ search }: Log, filter: ExecutionFilter): Promise<number> {
  const startedAt = performance.now();
  const { records, searchedBackTo } = await search.list(filter, page);
  const ms = performance.now() - startedAt;
  expect([records.length, searchedBackTo]).toEqual([page, null]);
  return ms;
}

/** What a page costs. */
async function costOf(log: Log, filter: ExecutionFilter): Promise<{ calls: number; bytes: number }> {
  const before = log.calls.length;
  log.takeReadBytes();
  await log.search.list(filter, page);
  return { calls: log.calls.length - before, bytes: log.takeReadBytes() };
}

const medianOf = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

describe('a page of 100,000 executions against one of 100', () => {
  // Calls: the hours and the handlers of the newest, then one for each of these and one for each whose turn comes again.
  // With a status, the partitions of the index and the executions themselves.
  it.each<[string, ExecutionFilter, { calls: number; rounds: number }]>([
    ['all', {}, { calls: 2 + handlersAnHour + page, rounds: 9 }],
    ['one handler', { handlerId: busy }, { calls: 1, rounds: 30 }],
    ['what failed', { status: 'failed' }, { calls: 8 + 1, rounds: 30 }],
    ['what is held', { status: 'held' }, { calls: 8 + 1, rounds: 30 }],
    // What is parked has partitions of its own.
    ['what waits', { status: 'waiting' }, { calls: 2 * 8 + 1, rounds: 30 }],
    ['what failed of one handler', { status: 'failed', handlerId: busy }, { calls: 8 + 1, rounds: 30 }],
  ])(
    'takes and costs at most twice as much: %s',
    async (_, filter, { calls, rounds }) => {
      const small = filter.handlerId === undefined ? ofAll : ofOne;
      for (const log of [small, large, small, large]) await timePage(log, filter);
      const ratios: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const smallMs = await timePage(small, filter);
        ratios.push((await timePage(large, filter)) / smallMs);
      }
      expect(medianOf(ratios)).toBeLessThan(2);

      const [smallCost, largeCost] = [await costOf(small, filter), await costOf(large, filter)];
      expect(largeCost.calls).toBeLessThanOrEqual(calls);
      expect(largeCost.bytes).toBeLessThan(2 * smallCost.bytes);
    },
    120_000,
  );
});
