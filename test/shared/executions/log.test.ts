import { ProvisionedThroughputExceededException } from '@aws-sdk/client-dynamodb';
import { isDeepStrictEqual } from 'node:util';
import { GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { createHourlyCounts, hourPartition, hoursPartition } from '../../../shared/executions/hours.ts';
import { fromItem, toItem } from '../../../shared/executions/item.ts';
import { keyToString } from '../../../shared/executions/key.ts';
import type { ExecutionState } from '../../../shared/executions/life-cycle.ts';
import { createExecutionLog } from '../../../shared/executions/log.ts';
import { createWakeUps } from '../../../shared/executions/wake-ups.ts';
import { anExecution } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { startTestQueue } from '../../support/queues.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

// The waits between tries are noted and over at once.
const waits = vi.hoisted(() => ({ list: [] as number[] }));
vi.mock('node:timers/promises', () => ({ setTimeout: async (ms: number) => void waits.list.push(ms) }));

const db = await startTestDynamo();
const retries = await startTestQueue();
afterAll(async () => {
  await retries[Symbol.asyncDispose]();
  await db[Symbol.asyncDispose]();
});
afterEach(() => {
  vi.useRealTimers();
  waits.list = [];
});

const retention = { endedDays: 30, heldDays: 90 };

/** A log on the embedded DynamoDB, as one dispatcher environment has it. */
function openLog(answer?: Answer) {
  const { now } = createClock('2026-11-23T10:00:05.000Z');
  const recording = createRecordingDynamo(answer);
  const settings = { dynamo: recording.dynamo, tableName: db.executionsTable, retention, now };
  const wakeUps = createWakeUps({ ...retries, now });
  const log = createExecutionLog({ ...settings, hours: createHourlyCounts(settings), wakeUps });
  return { ...recording, log };
}

type TestLog = ReturnType<typeof openLog>;

async function write(
  { log }: TestLog,
  records: readonly ExecutionRecord[],
  { redelivered = false }: { redelivered?: boolean } = {},
) {
  const batch = log.openBatch();
  for (const record of records) batch.add(record, { redelivered });
  return (await batch.close()).unwritten;
}

async function stored(record: ExecutionRecord): Promise<ExecutionRecord | null> {
  const { Item } = await db.dynamo.send(
    new GetCommand({ TableName: db.executionsTable, Key: record.key, ConsistentRead: true }),
  );
  return Item === undefined ? null : fromItem(Item);
}

const many = (count: number) => Array.from({ length: count }, () => anExecution());

const waiting: ExecutionState = {
  status: 'waiting',
  reason: 'retry',
  nextAttemptAt: '2026-11-23T10:00:10.000Z',
  sweepAt: '2026-11-23T10:02:10.000Z',
};
const failed: ExecutionState = { status: 'failed' };
const held: ExecutionState = { status: 'held', reason: 'disabled' };

const batchSizes = ({ calls }: TestLog): number[] =>
  calls
    .filter(({ name }) => name === 'BatchWriteItem')
    .map(
      ({ input }) => (input['RequestItems'] as Record<string, unknown[]>)[db.executionsTable]?.length ?? 0,
    );

describe('openBatch', () => {
  it('writes first successes 25 at a time in one call', async () => {
    const log = openLog();
    const records = many(60);
    expect(await write(log, records)).toEqual([]);
    expect(batchSizes(log)).toEqual([25, 25, 10]);
    expect(log.names()).not.toContain('PutItem');
    for (const record of records) expect(await stored(record)).toEqual(record);
  });

  it('makes no call for a batch without executions', async () => {
    const log = openLog();
    expect(await write(log, [])).toEqual([]);
    expect(log.calls).toEqual([]);
  });

  it.each([waiting, failed, held])('writes $status alone and under a condition', async (state) => {
    const log = openLog();
    const records = [anExecution({ state }), anExecution({ state })];
    expect(await write(log, records)).toEqual([]);
    const writes = log.calls.filter(({ name }) => name !== 'UpdateItem');
    expect(writes.map(({ name }) => name)).toEqual(['PutItem', 'PutItem']);
    expect(writes.map(({ input }) => input['ConditionExpression'])).toEqual([
      'attribute_not_exists(pk)',
      'attribute_not_exists(pk)',
    ]);
    expect(await stored(records[0] as ExecutionRecord)).toEqual(records[0]);
  });

  it('sends a wake-up call for what waits, and for nothing else', async () => {
    const due = anExecution({ state: { ...waiting, nextAttemptAt: '2026-11-23T10:00:05.000Z' } });
    const long = anExecution({ state: { ...waiting, nextAttemptAt: '2026-11-23T15:00:00.000Z' } });
    const ended = [anExecution({ state: failed }), anExecution()];
    await write(openLog(), [long, ...ended, due]);
    const sent = retries.queue.receive(10).map(({ body }) => JSON.parse(body) as unknown);
    const ofThese = [due, long, ...ended].map(({ key }) => ({ ...key, generation: 1 }));
    expect(sent.filter((call) => ofThese.some((mine) => isDeepStrictEqual(call, mine)))).toEqual([
      ofThese[0],
    ]);
  });

  it('tells why a wake-up call could not be sent, and has the execution in the log all the same', async () => {
    const { now } = createClock('2026-11-23T10:00:05.000Z');
    const settings = { dynamo: db.dynamo, tableName: db.executionsTable, retention, now };
    const wakeUps = createWakeUps({ ...retries, queueUrl: `${retries.queueUrl}-gone`, now });
    const log = createExecutionLog({ ...settings, hours: createHourlyCounts(settings), wakeUps });
    const record = anExecution({ state: waiting });
    const batch = log.openBatch();
    batch.add(record, { redelivered: false });
    const { written, unwritten, unwoken } = await batch.close();
    expect([written, unwritten]).toEqual([[record], []]);
    expect(unwoken.map(String)).toEqual([expect.stringContaining('QueueDoesNotExist')]);
    expect(await stored(record)).toEqual(record);
  });

  it('writes the success of a redelivered message under a condition', async () => {
    const log = openLog();
    await write(log, many(2), { redelivered: true });
    expect(log.names().filter((name) => name !== 'UpdateItem')).toEqual(['PutItem', 'PutItem']);
    expect(log.calls.at(-1)?.input['ConditionExpression']).toMatch(/^attribute_not_exists\(pk\) OR /u);
  });

  it('makes the hourly rows before the executions, once for each handler and hour', async () => {
    const log = openLog();
    const handlerId = 'h_rows_first';
    await write(log, [
      ...Array.from({ length: 30 }, () => anExecution({ handlerId })),
      anExecution({ handlerId, state: failed }),
    ]);
    const rows = log.calls.filter(({ name }) => name === 'UpdateItem').map(({ input }) => input['Key']);
    expect(rows).toEqual([
      { pk: hoursPartition, sk: '2026-11-23T10' },
      { pk: hourPartition('2026-11-23T10'), sk: handlerId },
    ]);
    expect(log.names().slice(0, 2)).toEqual(['UpdateItem', 'UpdateItem']);
  });

  it('writes nothing before DynamoDB has answered that the hourly rows are there', async () => {
    const rows = Promise.withResolvers<void>();
    const log = openLog(async ({ name }, send) => {
      if (name === 'UpdateItem') await rows.promise;
      return send();
    });
    const batch = log.log.openBatch();
    for (const record of many(25)) batch.add(record, { redelivered: false });
    batch.add(anExecution({ state: failed }), { redelivered: false });
    // Everything that could go out without the rows would have by now.
    await db.dynamo.send(new GetCommand({ TableName: db.executionsTable, Key: { pk: 'a', sk: 'b' } }));
    expect(new Set(log.names())).toEqual(new Set(['UpdateItem']));
    rows.resolve();
    expect((await batch.close()).unwritten).toEqual([]);
    expect(log.names()).toContain('BatchWriteItem');
  });

  it('gives back an execution whose hourly rows could not be made, and logs it the next time', async () => {
    let fails = true;
    const log = openLog(({ name }, send) =>
      name === 'UpdateItem' && fails ? Promise.reject(new Error('down')) : send(),
    );
    const record = anExecution({ handlerId: 'h_no_rows' });
    expect((await write(log, [record])).map((unwritten) => unwritten.record)).toEqual([record]);
    expect(await stored(record)).toBeNull();
    fails = false;
    expect(await write(log, [record])).toEqual([]);
    expect(await stored(record)).toEqual(record);
  });

  it('writes a success that nobody joins after a moment, without waiting for the end of the batch', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const arrived = Promise.withResolvers<void>();
    const log = openLog(({ name }, send) => {
      if (name === 'BatchWriteItem') arrived.resolve();
      return send();
    });
    const batch = log.log.openBatch();
    batch.add(anExecution(), { redelivered: false });
    batch.add(anExecution(), { redelivered: false });
    expect(log.calls).toEqual([]);
    vi.advanceTimersByTime(100);
    vi.useRealTimers();
    await arrived.promise;
    expect((await batch.close()).unwritten).toEqual([]);
    expect(batchSizes(log)).toEqual([2]);
  });

  it('writes what lingers when the batch closes, once', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const log = openLog();
    const batch = log.log.openBatch();
    batch.add(anExecution(), { redelivered: false });
    const closing = batch.close();
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
    expect((await closing).unwritten).toEqual([]);
    expect(batchSizes(log)).toEqual([1]);
  });

  it('waits for a write that is under way before it says what is unwritten', async () => {
    const answer = Promise.withResolvers<void>();
    const log = openLog(async ({ name }, send) => {
      if (name === 'PutItem') await answer.promise;
      return send();
    });
    const batch = log.log.openBatch();
    const record = anExecution({ state: failed });
    batch.add(record, { redelivered: false });
    const closing = batch.close();
    answer.resolve();
    await closing;
    expect(await stored(record)).toEqual(record);
  });

  it('writes two executions of one key one after the other when an upstream sends an id twice', async () => {
    const log = openLog();
    const record = anExecution();
    const other = anExecution();
    expect(await write(log, [record, other, { ...record, handlerName: 'again' }])).toEqual([]);
    expect(batchSizes(log)).toEqual([2, 1]);
    expect(await stored(other)).toEqual(other);
  });
});

describe('a DynamoDB that does not take everything', () => {
  it('sends unprocessed items again until all are written', async () => {
    let isFirst = true;
    const log = openLog(async ({ name, input }, send) => {
      if (name !== 'BatchWriteItem' || !isFirst) return send();
      isFirst = false;
      return { UnprocessedItems: input['RequestItems'] };
    });
    const records = many(3);
    expect(await write(log, records)).toEqual([]);
    expect(batchSizes(log)).toEqual([3, 3]);
    for (const record of records) expect(await stored(record)).toEqual(record);
  });

  it('sends again only what was not processed', async () => {
    let isFirst = true;
    const log = openLog(async ({ name, input }, send) => {
      if (name !== 'BatchWriteItem' || !isFirst) return send();
      isFirst = false;
      const [, ...rest] = (input['RequestItems'] as Record<string, unknown[]>)[db.executionsTable] ?? [];
      return { UnprocessedItems: { [db.executionsTable]: rest } };
    });
    expect(await write(log, many(3))).toEqual([]);
    expect(batchSizes(log)).toEqual([3, 2]);
  });

  it('gives back the executions of a call that stays unprocessed, and of that call alone', async () => {
    const [poor, ...others] = many(30) as [ExecutionRecord, ...ExecutionRecord[]];
    const log = openLog(async ({ name, input }, send) =>
      name === 'BatchWriteItem' && JSON.stringify(input).includes(poor.key.sk)
        ? { UnprocessedItems: input['RequestItems'] }
        : send(),
    );
    const unwritten = await write(log, [poor, ...others]);
    expect(unwritten.map(({ record }) => record)).toEqual([poor, ...others.slice(0, 24)]);
    expect(String(unwritten[0]?.error)).toContain('25 executions unprocessed after 8 tries');
    expect(batchSizes(log).filter((size) => size === 25)).toHaveLength(8);
    expect(waits.list).toEqual([25, 50, 100, 200, 400, 800, 1600]);
    expect(await stored(others[24] as ExecutionRecord)).toEqual(others[24]);
    expect(await stored(poor)).toBeNull();
  });

  it('gives back only the execution whose own write failed', async () => {
    const poor = anExecution({ state: failed });
    const throttled = new ProvisionedThroughputExceededException({ message: 'slow down', $metadata: {} });
    const log = openLog(({ name, input }, send) =>
      name === 'PutItem' && (input['Item'] as Record<string, unknown>)['sk'] === poor.key.sk
        ? Promise.reject(throttled)
        : send(),
    );
    const others = [anExecution({ state: failed }), anExecution(), anExecution({ state: held })];
    expect(await write(log, [poor, ...others])).toEqual([{ record: poor, error: throttled }]);
    for (const record of others) expect(await stored(record)).toEqual(record);
  });

  it('gives up on reading keys that stay unprocessed', async () => {
    const log = openLog(async ({ name, input }, send) =>
      name === 'BatchGetItem' ? { UnprocessedKeys: input['RequestItems'] } : send(),
    );
    await expect(log.log.findRecorded([anExecution().key])).rejects.toThrow(
      'BatchGetItem left 1 keys unprocessed after 8 tries.',
    );
    expect(waits.list).toEqual([25, 50, 100, 200, 400, 800, 1600]);
  });
});

describe('two dispatchers with the same message', () => {
  /** What is in the log after outcomes of one execution were written in this order, by two environments. */
  async function race(first: ExecutionState, second: ExecutionState): Promise<ExecutionState | undefined> {
    const record = anExecution();
    expect(await write(openLog(), [{ ...record, state: first }])).toEqual([]);
    expect(await write(openLog(), [{ ...record, state: second }], { redelivered: true })).toEqual([]);
    return (await stored(record))?.state;
  }

  it('log a 500 and then a late 200 as a success', async () => {
    expect(await race(waiting, { status: 'succeeded' })).toEqual({ status: 'succeeded' });
    expect(await race(failed, { status: 'succeeded' })).toEqual({ status: 'succeeded' });
  });

  it('keep a success when a 500 comes late', async () => {
    expect(await race({ status: 'succeeded' }, waiting)).toEqual({ status: 'succeeded' });
    expect(await race({ status: 'succeeded' }, failed)).toEqual({ status: 'succeeded' });
  });

  it('keep held what a duplicate holds too', async () => {
    expect(await race(held, held)).toEqual(held);
  });

  it('keep what ended when the other put it off, and what waits when the other failed', async () => {
    expect(await race(failed, waiting)).toEqual(failed);
    expect(await race(waiting, failed)).toEqual(waiting);
    expect(await race(failed, held)).toEqual(failed);
  });

  it('log a success over a held execution', async () => {
    expect(await race(held, { status: 'succeeded' })).toEqual({ status: 'succeeded' });
  });

  it('keep the first of two successes of a redelivered message', async () => {
    const record = anExecution();
    await write(openLog(), [record]);
    await write(openLog(), [{ ...record, startedAt: '2026-11-23T10:00:04.000Z' }], { redelivered: true });
    expect(await stored(record)).toEqual(record);
  });

  it('never overwrite a second generation with a late success of the first', async () => {
    const record = anExecution();
    const again: ExecutionRecord = { ...record, generation: 2, state: waiting };
    await db.dynamo.send(
      new PutCommand({ TableName: db.executionsTable, Item: toItem(again, retention, new Date()) }),
    );
    expect(await write(openLog(), [record], { redelivered: true })).toEqual([]);
    expect(await stored(record)).toEqual(again);
  });
});

describe('findRecorded', () => {
  it('finds what is in the log and nothing else', async () => {
    const log = openLog();
    const [recorded, absent] = [anExecution(), anExecution()];
    await write(log, [recorded]);
    expect(await log.log.findRecorded([recorded.key, absent.key])).toEqual(
      new Map([[keyToString(recorded.key), { status: 'succeeded', reason: null }]]),
    );
  });

  it('makes no call when there is nothing to find', async () => {
    const log = openLog();
    expect(await log.log.findRecorded([])).toEqual(new Map());
    expect(log.calls).toEqual([]);
  });

  it('asks for 100 keys at a time', async () => {
    const log = openLog();
    const records = many(201);
    await write(openLog(), records);
    expect((await log.log.findRecorded(records.map(({ key }) => key))).size).toBe(201);
    expect(log.names()).toEqual(['BatchGetItem', 'BatchGetItem', 'BatchGetItem']);
  });

  it('takes a key that is asked for twice', async () => {
    const log = openLog();
    const [record] = many(1) as [ExecutionRecord];
    await write(log, [record]);
    expect((await log.log.findRecorded([record.key, { ...record.key }])).size).toBe(1);
  });

  it('asks again for the keys that were left unprocessed', async () => {
    let isFirst = true;
    const log = openLog(async ({ name, input }, send) => {
      if (name !== 'BatchGetItem' || !isFirst) return send();
      isFirst = false;
      return { Responses: {}, UnprocessedKeys: input['RequestItems'] };
    });
    const [record] = many(1) as [ExecutionRecord];
    await write(log, [record]);
    expect((await log.log.findRecorded([record.key])).size).toBe(1);
  });
});
