import { randomUUID } from 'node:crypto';
import { GetCommand, paginateQuery, PutCommand, UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { hourPartition } from '../../../shared/executions/hours.ts';
import { readKey } from '../../../shared/executions/key.ts';
import { toItem } from '../../../shared/executions/item.ts';
import { createRecoveries } from '../../../shared/executions/recoveries.ts';
import type { RecoveryRange } from '../../../shared/executions/recovery.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { anExecution } from '../../support/builders.ts';
import { refusal, type DynamoCall } from '../../support/dynamo-wire.ts';
import { startReceiver, type ReceivedRequest } from '../../support/http-server.ts';
import { retention, writeExecutions } from '../../support/write-executions.ts';
import { startLane } from '../retrier/lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const table = { dynamo: lane.dynamo, tableName: lane.executionsTable, now: lane.clock.now };
const recoveries = createRecoveries({
  ...table,
  tableName: lane.handlersTable,
  keptDays: retention.endedDays,
});

type State = ExecutionRecord['state'];
const failed: State = { status: 'failed' };
const held: State = { status: 'held', reason: 'disabled' };

const day = { from: '2026-11-23T00:00:00.000Z', to: '2026-11-23T23:59:59.999Z' };
const minuteMs = 60_000;
/** Of the executions of these tests, long before any recovery begins; they are a tenth of a second apart. */
const firstAt = Date.parse('2026-11-23T08:00:00.000Z');

/** Executions of a handler as they ended before the test began. */
async function log(
  { id }: Pick<Handler, 'id'>,
  count: number,
  state: State = failed,
  parts: Parameters<typeof anExecution>[0] = {},
): Promise<ExecutionRecord[]> {
  const records = Array.from({ length: count }, (_, index) =>
    anExecution({
      handlerId: id,
      time: new Date(firstAt + index * 100).toISOString(),
      state,
      ...(state.status === 'held' && { attempts: [], attemptCount: 0, request: null }),
      ...parts,
    }),
  );
  await writeExecutions(table, records);
  return records;
}

const recover = ({ id }: Pick<Handler, 'id'>, range: Partial<RecoveryRange> = {}) =>
  recoveries.start({ handlerId: id, ...day, statuses: ['failed', 'held'], ...range });

/** The next run of the sweeper, a minute later. */
function sweepNextMinute(services = lane.coldSweeper()) {
  lane.clock.advance(minuteMs);
  return lane.sweep(services);
}

/** Runs until a recovery has ended. */
async function sweepUntilEnded(id: string): Promise<void> {
  for (let runs = 0; (await recoveries.get(id)).status === 'running'; runs++) {
    if (runs > 20) throw new Error('The recovery does not end.');
    await sweepNextMinute();
  }
}

/** Works off all wake-up calls that are due by now. */
async function retryAll(): Promise<void> {
  const retrier = lane.coldRetrier();
  while ((await lane.retryDue(retrier)).messages > 0);
}

async function logged({ id }: Pick<Handler, 'id'>, shards = 1): Promise<Record<string, unknown>[]> {
  const items: Record<string, unknown>[] = [];
  for (let shard = 0; shard < shards; shard++) {
    const pages = paginateQuery(
      { client: lane.dynamo },
      {
        TableName: lane.executionsTable,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': `${id}#${shard}` },
      },
    );
    for await (const { Items = [] } of pages) items.push(...Items);
  }
  return items;
}

/** How often each status and generation is in the log of a handler. */
const standing = async (handler: Pick<Handler, 'id'>): Promise<Record<string, number>> =>
  Object.fromEntries(
    [...Map.groupBy(await logged(handler), kindOf)].map(([kind, items]) => [kind, items.length]),
  );

const kindOf = ({ status, generation }: Record<string, unknown>): string =>
  `${String(status)} ${String(generation)}`;

const webhookIds = (requests: readonly ReceivedRequest[]): string[] =>
  requests.map(({ headers }) => String(headers['webhook-id'])).toSorted();

const startGoodReceiver = () => startReceiver((_, response) => void response.writeHead(204).end());

/** A write that says how far a recovery has come, or that it has ended. */
const isProgress = ({ operation, text }: DynamoCall): boolean =>
  operation === 'UpdateItem' && text.includes(':found');
const isRelease = ({ operation, input }: DynamoCall): boolean =>
  operation === 'PutItem' && input['TableName'] === lane.executionsTable;

/** From the nth call of a kind on nothing comes through any more, as after the death of a process. */
function killAt(which: (call: DynamoCall) => boolean, times = 1): void {
  let seen = 0;
  lane.wire.intercept((call) => {
    if (which(call)) seen += 1;
    return seen >= times ? refusal : null;
  });
}

describe('a recovery', () => {
  it('delivers what failed and what was held once more, each once, by the same webhook-id', async () => {
    await using receiver = await startGoodReceiver();
    const handler = await lane.register({ target: { url: receiver.url } });
    const other = await lane.register({ target: { url: receiver.url } });
    const wanted = [...(await log(handler, 30)), ...(await log(handler, 20, held))];
    await log(handler, 10, { status: 'succeeded' });
    await log(other, 5);
    const { id } = await recover(handler);
    expect(await recoveries.get(id)).toMatchObject({
      status: 'running',
      found: 0,
      released: 0,
      endedAt: null,
    });

    expect(await lane.sweep()).toMatchObject({ released: 50, problems: [], unfinished: false });

    expect(await recoveries.get(id)).toEqual({
      id,
      handlerId: handler.id,
      status: 'done',
      reason: null,
      found: 50,
      released: 50,
      ...day,
      statuses: ['failed', 'held'],
      createdAt: lane.clock.now().toISOString(),
      endedAt: lane.clock.now().toISOString(),
    });
    lane.clock.advance(minuteMs);
    await retryAll();
    expect(webhookIds(receiver.requests)).toEqual(
      wanted.map(({ key }) => `${key.sk.split('#')[1]}_${handler.id}`).toSorted(),
    );
    // What had ended begins anew, what was held goes on.
    expect(await standing(handler)).toEqual({ 'succeeded 2': 30, 'succeeded 1': 30 });
    expect(await standing(other)).toEqual({ 'failed 1': 5 });
  });

  it('has the schedule of a failed execution anew, and counts its attempts on', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(503).end());
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10] } });
    await log(handler, 1, failed, { attemptCount: 7 });
    await recover(handler);
    await lane.sweep();
    await retryAll();
    expect(await lane.logOf(handler)).toMatchObject([
      { state: { status: 'waiting' }, generation: 2, attemptCount: 8 },
    ]);
    lane.clock.advance(12_000);
    await retryAll();
    expect(await lane.logOf(handler)).toMatchObject([
      { state: { status: 'failed' }, generation: 2, attemptCount: 9 },
    ]);
  });

  it('goes by both ends of its range, and by its statuses', async () => {
    const handler = await lane.register({});
    const records = await log(handler, 5);
    await log(handler, 5, held);
    const timeOf = (index: number) => records[index]?.event.time ?? '';
    await recover(handler, { from: timeOf(1), to: timeOf(3), statuses: ['failed'] });
    await lane.sweep();
    expect(await standing(handler)).toEqual({ 'failed 1': 2, 'waiting 2': 3, 'held 1': 5 });
  });

  it('of an empty range is done at once', async () => {
    const handler = await lane.register({});
    await log(handler, 1);
    const { id } = await recover(handler, {
      from: '2026-11-22T00:00:00.000Z',
      to: '2026-11-22T01:00:00.000Z',
    });
    await lane.sweep();
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 0, released: 0 });
  });

  it('takes what has succeeded when it was asked for, from all partitions of the log', async () => {
    await using receiver = await startGoodReceiver();
    const handler = await lane.register({ target: { url: receiver.url } });
    await log(handler, 150, { status: 'succeeded' }, { shards: 4 });
    await log(handler, 30, failed, { shards: 4 });
    const { id } = await recover(handler, { statuses: ['succeeded'] });
    expect(await lane.sweep(lane.coldSweeper({ LOG_SHARDS: '4' }))).toMatchObject({ released: 150 });
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 150, released: 150 });
    lane.clock.advance(minuteMs);
    await retryAll();
    expect(receiver.requests).toHaveLength(150);
    expect(new Set((await logged(handler, 4)).map(kindOf))).toEqual(new Set(['succeeded 2', 'failed 1']));
  });

  it('begins with the oldest of a partition', async () => {
    const handler = await lane.register({});
    await log(handler, 250, { status: 'succeeded' });
    await recover(handler, { statuses: ['succeeded'] });
    killAt(({ text }) => text.includes(':pacedTo'), 2);
    await lane.sweep(lane.coldSweeper());
    const byTime = (await logged(handler)).map(({ status }) => status);
    expect(byTime).toEqual(
      Array.from({ length: 250 }, (_, index) => (index < 100 ? 'waiting' : 'succeeded')),
    );
  });

  it('counts what it moves in the rows of the hours', async () => {
    const handler = await lane.register({});
    await log(handler, 30);
    await log(handler, 20, held);
    await recover(handler);
    await sweepNextMinute();
    const { Item } = await lane.dynamo.send(
      new GetCommand({
        TableName: lane.executionsTable,
        Key: { pk: hourPartition('2026-11-23T08'), sk: handler.id },
      }),
    );
    expect(Item).toMatchObject({ waiting: 50, failed: -30, held: -20 });
  });

  it('costs a run half a read unit while there is none', async () => {
    const sweeper = lane.coldSweeper();
    await lane.sweep(sweeper);
    lane.wire.reset();
    await lane.sweep(sweeper);
    const looks = lane.wire.calls().filter(({ text }) => text.includes('RECOVERY'));
    expect(looks.map(({ operation }) => operation)).toEqual(['Query']);
    expect(looks[0]?.capacityUnits).toBeLessThanOrEqual(0.5);
  });

  it('is still delivered when its wake-up calls are lost', async () => {
    await using receiver = await startGoodReceiver();
    const handler = await lane.register({ target: { url: receiver.url } });
    await log(handler, 20);
    await recover(handler);
    await lane.sweep();
    lane.clock.advance(minuteMs);
    const lost = lane.queues.retries.receive(100);
    lane.queues.retries.delete(lost.map(({ receiptHandle }) => receiptHandle));
    expect(lost).toHaveLength(20);

    lane.clock.advance(2 * minuteMs);
    expect(await lane.sweep()).toMatchObject({ woken: 20, released: 0 });
    await retryAll();
    expect(receiver.requests).toHaveLength(20);
    expect(await standing(handler)).toEqual({ 'succeeded 2': 20 });
  });
});

describe('the pace', () => {
  const dueTimes = async (handler: Handler): Promise<number[]> =>
    (await logged(handler))
      .filter(({ status }) => status === 'waiting')
      .map(({ nextAttemptAt }) => Date.parse(String(nextAttemptAt)))
      .toSorted((a, b) => a - b);

  it('is a thousand a minute, spread over it, however often the sweeper comes', async () => {
    const handler = await lane.register({});
    await log(handler, 1100);
    const { id } = await recover(handler);
    const startMs = lane.clock.now().getTime();
    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 1000, unfinished: false });
    expect(await recoveries.get(id)).toMatchObject({ status: 'running', found: 1000, released: 1000 });
    const first = await dueTimes(handler);
    expect(first).toEqual(Array.from({ length: 1000 }, (_, index) => startMs + index * 60));

    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 0 });
    lane.clock.advance(3000);
    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 50 });
    expect(await dueTimes(handler)).toEqual(Array.from({ length: 1050 }, (_, index) => startMs + index * 60));
    await sweepUntilEnded(id);
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 1100, released: 1100 });
  }, 60_000);

  it('is scaled with all other waits', async () => {
    const handler = await lane.register({});
    await log(handler, 200);
    await recover(handler);
    const startMs = lane.clock.now().getTime();
    await lane.sweep(lane.coldSweeper({ RETRY_SCALE: '0.1' }));
    const due = await dueTimes(handler);
    expect([due[0], due.at(-1)]).toEqual([startMs, startMs + 199 * 6]);
  });

  it('is shared by recoveries that run side by side', async () => {
    const handlers = [await lane.register({}), await lane.register({}), await lane.register({})];
    await Promise.all(handlers.map((handler) => log(handler, 400)));
    const begun: string[] = [];
    for (const handler of handlers) begun.push((await recover(handler)).id);
    await lane.sweep(lane.coldSweeper());
    const released = async () => Promise.all(begun.map(async (id) => (await recoveries.get(id)).released));
    const shares = await released();
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(1000);
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(100);
    await sweepNextMinute();
    expect(await released()).toEqual([400, 400, 400]);
  }, 60_000);

  it('is not held up for long by a clock that was far ahead', async () => {
    const handler = await lane.register({});
    await log(handler, 10);
    lane.clock.advance(86_400_000);
    const ahead = await lane.coldSweeper().recoveryTurns.take();
    await ahead?.reserve(1000);
    lane.clock.advance(-86_400_000);
    await recover(handler);
    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 10 });
  });
});

describe('a sweeper that dies', () => {
  it('anywhere, again and again, leaves 2,500 executions that are each released once', async () => {
    const handler = await lane.register({});
    await log(handler, 2500);
    const { id } = await recover(handler);
    const crashes: [place: string, which: (call: DynamoCall) => boolean, times: number][] = [
      ['before it has its turn', ({ text }) => text.includes('#TURN'), 1],
      [
        'with its turn and nothing done',
        ({ operation, text }) => operation === 'GetItem' && text.includes(id),
        1,
      ],
      ['in the middle of a page', isRelease, 250],
      ['behind a page, before that is noted', isProgress, 3],
      [
        'behind a page that was noted',
        ({ text }) => text.includes(':pacedTo') && !text.includes('REMOVE'),
        5,
      ],
      ['before it gives back its turn', ({ text }) => text.includes('REMOVE #until'), 1],
      // The last of them: the run before it leaves less than a thousand.
      ['behind the last page, before that is noted', ({ text }) => text.includes(':endedAt'), 1],
    ];
    let runs = 0;
    for (const [place, which, times] of crashes) {
      killAt(which, times);
      const { problems } = await sweepNextMinute();
      expect([place, problems.length]).not.toEqual([place, 0]);
      lane.wire.reset();
      // The turn of the dead is over by then.
      lane.clock.advance(minuteMs);
      runs += 1;
    }
    await sweepUntilEnded(id);
    expect(runs).toBe(crashes.length);
    expect(await standing(handler)).toEqual({ 'waiting 2': 2500 });
    const { found, released, status } = await recoveries.get(id);
    expect(status).toBe('done');
    // Three times a page was done and not noted.
    expect(released).toBeGreaterThanOrEqual(2200);
    expect(released).toBeLessThanOrEqual(2500);
    expect(found).toBeGreaterThanOrEqual(released);
  }, 120_000);

  it('keeps others from going on for a minute, and no longer', async () => {
    const handler = await lane.register({});
    await log(handler, 10);
    await recover(handler);
    killAt(isRelease);
    await lane.sweep(lane.coldSweeper());
    lane.wire.reset();
    lane.clock.advance(59_000);
    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 0, problems: [] });
    lane.clock.advance(1001);
    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 10 });
  });

  it('leaves no execution to be delivered twice, also when what it had released has failed again', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(400).end());
    const handler = await lane.register({ target: { url: receiver.url } });
    await log(handler, 60);
    await log(handler, 40, held);
    const { id } = await recover(handler);
    killAt(isProgress);
    await lane.sweep(lane.coldSweeper());
    lane.wire.reset();
    lane.clock.advance(minuteMs);
    await retryAll();
    expect(await standing(handler)).toEqual({ 'failed 2': 60, 'failed 1': 40 });

    await sweepUntilEnded(id);
    lane.clock.advance(minuteMs);
    await retryAll();
    expect(receiver.requests).toHaveLength(100);
    expect(await standing(handler)).toEqual({ 'failed 2': 60, 'failed 1': 40 });

    // Another recovery, which was asked for later, may.
    await recover(handler);
    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 100 });
  });
});

describe('two sweepers at once', () => {
  it('do the work of one', async () => {
    const handler = await lane.register({});
    await log(handler, 300);
    const { id } = await recover(handler);
    const reports = await Promise.all([1, 2, 3].map(() => lane.sweep(lane.coldSweeper())));
    expect(reports.flatMap(({ problems }) => problems)).toEqual([]);
    expect(reports.map(({ released }) => released).toSorted((a, b) => a - b)).toEqual([0, 0, 300]);
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 300, released: 300 });
    expect(await standing(handler)).toEqual({ 'waiting 2': 300 });
  });

  it('of which one was taken for dead, release each execution once, and the late one stops', async () => {
    const handler = await lane.register({});
    await log(handler, 300);
    const { id } = await recover(handler);
    let isFirst = true;
    lane.wire.intercept(async (call) => {
      if (!isFirst || !isProgress(call)) return null;
      isFirst = false;
      // Its first page is done; then it hangs, until another one has done everything.
      lane.clock.advance(2 * minuteMs);
      await lane.sweep(lane.coldSweeper());
      return null;
    });
    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 100, problems: [] });
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 200, released: 200 });
    expect(await standing(handler)).toEqual({ 'waiting 2': 300 });
  });
});

describe('a recovery that is cancelled', () => {
  it('stops within a page, and what it has released goes on', async () => {
    await using receiver = await startGoodReceiver();
    const handler = await lane.register({ target: { url: receiver.url } });
    await log(handler, 500);
    const { id } = await recover(handler);
    let pages = 0;
    lane.wire.interceptAnswer(async (call) => {
      if (isProgress(call) && ++pages === 2) await recoveries.cancel(id);
      return null;
    });
    await lane.sweep(lane.coldSweeper());
    expect(await recoveries.get(id)).toMatchObject({
      status: 'cancelled',
      reason: null,
      found: 300,
      released: 300,
      endedAt: lane.clock.now().toISOString(),
    });
    expect(await standing(handler)).toEqual({ 'waiting 2': 300, 'failed 1': 200 });
    expect(await sweepNextMinute()).toMatchObject({ released: 0 });
    await retryAll();
    expect(receiver.requests).toHaveLength(300);
  });

  it('ends once', async () => {
    const { id } = await recover(await lane.register({}));
    const answers = await Promise.allSettled([1, 2, 3].map(() => recoveries.cancel(id)));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await lane.sweep();
    expect(await recoveries.get(id)).toMatchObject({ status: 'cancelled' });
  });
});

describe('what happens to its handler meanwhile', () => {
  it.each(['disabled', 'archived'] as const)('cancels it: %s', async (status) => {
    const handler = await lane.register({});
    await log(handler, 300);
    const { id } = await recover(handler);
    let pages = 0;
    lane.wire.interceptAnswer(async (call) => {
      if (isProgress(call) && ++pages === 1) await change(handler, status);
      return null;
    });
    await lane.sweep(lane.coldSweeper());
    expect(await recoveries.get(id)).toMatchObject({
      status: 'cancelled',
      reason: status,
      found: 100,
      released: 100,
    });
    expect(await standing(handler)).toEqual({ 'waiting 2': 100, 'failed 1': 200 });
    // What it had released waits, and goes the way of all that waits for such a handler.
    await sweepNextMinute();
    await retryAll();
    expect(await standing(handler)).toEqual(
      status === 'disabled' ? { 'held 2': 100, 'failed 1': 200 } : { 'failed 2': 100, 'failed 1': 200 },
    );
  });

  it('cancels it: deleted', async () => {
    const handler = await lane.register({});
    await log(handler, 3);
    const { id } = await recover(handler);
    await lane.store.remove(handler.id, handler.version);
    await lane.sweep(lane.coldSweeper());
    expect(await recoveries.get(id)).toMatchObject({ status: 'cancelled', reason: 'deleted', released: 0 });
    expect(await standing(handler)).toEqual({ 'failed 1': 3 });
  });

  async function change(handler: Handler, status: 'disabled' | 'archived'): Promise<void> {
    const { sealedSecrets } = await lane.store.get(handler.id);
    await lane.store.replace(
      { handler: { ...handler, status, version: handler.version + 1 }, sealedSecrets },
      handler.version,
    );
  }
});

describe('an execution', () => {
  /** What a change of `record` is once it has been read, and before it is written. */
  function changeMeanwhile(record: ExecutionRecord, to: ExecutionRecord): void {
    lane.wire.interceptAnswer(async ({ operation, text }) => {
      if (operation === 'GetItem' && text.includes(record.key.sk)) {
        await writeExecutions(table, [to]);
      }
      return null;
    });
  }

  it('that succeeds between the look at it and its release is not delivered again', async () => {
    const handler = await lane.register({});
    const [record] = await log(handler, 3);
    if (record === undefined) throw new Error('There are three.');
    const { id } = await recover(handler);
    changeMeanwhile(record, { ...record, state: { status: 'succeeded' } });
    await lane.sweep(lane.coldSweeper());
    expect(await recoveries.get(id)).toMatchObject({ found: 3, released: 2 });
    expect(await standing(handler)).toEqual({ 'succeeded 1': 1, 'waiting 2': 2 });
  });

  it('that has succeeded although the index does not know yet is not delivered again', async () => {
    const handler = await lane.register({});
    const [record] = await log(handler, 1);
    if (record === undefined) throw new Error('There is one.');
    const { id } = await recover(handler);
    const { attention, attentionKey } = toItem(record, retention, lane.clock.now());
    const done: ExecutionRecord = { ...record, state: { status: 'succeeded' } };
    await lane.dynamo.send(
      new PutCommand({
        TableName: lane.executionsTable,
        Item: { ...toItem(done, retention, lane.clock.now()), attention, attentionKey },
      }),
    );
    await lane.sweep(lane.coldSweeper());
    expect(await recoveries.get(id)).toMatchObject({ found: 1, released: 0 });
    expect(await standing(handler)).toEqual({ 'succeeded 1': 1 });
  });

  it('that a person has retried meanwhile, and that failed again, is left alone', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(400).end());
    const handler = await lane.register({ target: { url: receiver.url } });
    const [record] = await log(handler, 2);
    if (record === undefined) throw new Error('There are two.');
    const { id } = await recover(handler);
    lane.clock.advance(1000);
    const reopened = { ...record, generation: 2, state: waitingNow() };
    await writeExecutions(table, [reopened]);
    await lane.wake(reopened);
    await retryAll();
    await lane.sweep(lane.coldSweeper());
    expect(await recoveries.get(id)).toMatchObject({ found: 2, released: 1 });
    expect(await standing(handler)).toEqual({ 'failed 2': 1, 'waiting 2': 1 });
  });

  const waitingNow = (): State => ({
    status: 'waiting',
    reason: 'retry',
    nextAttemptAt: lane.clock.now().toISOString(),
    sweepAt: new Date(lane.clock.now().getTime() + 2 * minuteMs).toISOString(),
  });

  it('of which an attempt is under way is left alone', async () => {
    const handler = await lane.register({});
    const [record] = await log(handler, 2, held);
    if (record === undefined) throw new Error('There are two.');
    await lane.dynamo.send(
      new UpdateCommand({
        TableName: lane.executionsTable,
        Key: record.key,
        UpdateExpression: 'SET claimedUntil = :until',
        ExpressionAttributeValues: { ':until': new Date(lane.clock.now().getTime() + 30_000).toISOString() },
      }),
    );
    const { id } = await recover(handler);
    await lane.sweep(lane.coldSweeper());
    expect(await recoveries.get(id)).toMatchObject({ found: 2, released: 1 });
  });

  describe('that is held behind a handler that halts', () => {
    const halted: State = { status: 'held', reason: 'halted' };
    const eventsOf = { events: ['client.create'] };

    /** Fifty executions of a handler that halts, as they ended, and those of the one behind it. */
    async function logHalted(ended: State, count = 50) {
      const at = (index: number) => new Date(lane.clock.now().getTime() + index).toISOString();
      const halting = await lane.register({ ...eventsOf, onFailure: 'halt', priority: 1 });
      const behind = await lane.register({ ...eventsOf, priority: 2 });
      const events = Array.from({ length: count }, (_, index) => ({
        eventId: randomUUID(),
        time: at(index),
      }));
      lane.clock.advance(minuteMs);
      const records = (handlerId: string, state: State) =>
        events.map((event) =>
          anExecution({
            ...event,
            handlerId,
            state,
            ...(state.status === 'held' && { attempts: [], attemptCount: 0, request: null }),
          }),
        );
      await writeExecutions(table, [...records(halting.id, ended), ...records(behind.id, halted)]);
      return { halting, behind };
    }

    const recoverNow = (handler: Handler) =>
      recover(handler, { from: day.from, to: lane.clock.now().toISOString() });

    it.each([
      ['has failed', { status: 'failed' }],
      ['is held itself', { status: 'held', reason: 'disabled' }],
    ] as [string, State][])('which %s stays there, and is come upon once', async (_, state) => {
      const { behind } = await logHalted(state, 250);
      const { id } = await recoverNow(behind);
      // Two pages are done and noted.
      killAt(({ text }) => text.includes(':pacedTo'), 3);
      await lane.sweep(lane.coldSweeper());
      lane.wire.reset();
      expect(await recoveries.get(id)).toMatchObject({ found: 200 });
      await sweepUntilEnded(id);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 250, released: 0 });
      expect(await standing(behind)).toEqual({ 'held 1': 250 });
    });

    it('which has succeeded goes on', async () => {
      const { behind } = await logHalted({ status: 'succeeded' });
      const { id } = await recoverNow(behind);
      await sweepUntilEnded(id);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 50, released: 50 });
      expect(await standing(behind)).toEqual({ 'waiting 1': 50 });
    });

    it.each([
      ['is disabled', { status: 'disabled' }],
      ['halts no more', { onFailure: 'continue' }],
      ['comes after it now', { priority: 2 }],
      ['has nothing to do with such events any more', { events: ['client.delete'] }],
      ['has a filter that does not match', { filter: { detail: { data: { name: ['Bob'] } } } }],
    ] as [string, Partial<Handler>][])('which %s goes on', async (_, change) => {
      const { halting, behind } = await logHalted({ status: 'failed' });
      const { sealedSecrets } = await lane.store.get(halting.id);
      await lane.store.replace({ handler: { ...halting, ...change, version: 2 }, sealedSecrets }, 1);
      const { id } = await recoverNow(behind);
      await sweepUntilEnded(id);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 50, released: 50 });
    });

    it('whose filter matches stays there', async () => {
      const { halting, behind } = await logHalted({ status: 'failed' });
      const { sealedSecrets } = await lane.store.get(halting.id);
      const filter = { 'detail-type': ['client.create'], detail: { data: { name: [{ prefix: 'A' }] } } };
      await lane.store.replace({ handler: { ...halting, filter, version: 2 }, sealedSecrets }, 1);
      const { id } = await recoverNow(behind);
      await sweepUntilEnded(id);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 50, released: 0 });
    });

    it('behind one that never had the event, whose filter does not match, goes on at once', async () => {
      const { behind } = await logHalted({ status: 'succeeded' });
      const filter = { detail: { data: { name: ['Bob'] } } };
      await lane.register({ ...eventsOf, filter, onFailure: 'halt', priority: 1 });
      const { id } = await recoverNow(behind);
      await sweepUntilEnded(id);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 50, released: 50 });
    });

    it('which is deleted goes on, and one that never had the event does not matter, once nothing of it can be under way', async () => {
      const { halting, behind } = await logHalted({ status: 'failed' });
      await lane.register({ ...eventsOf, onFailure: 'halt', priority: 1 });
      await lane.store.remove(halting.id, halting.version);
      const early = await recoverNow(behind);
      await sweepUntilEnded(early.id);
      expect(await recoveries.get(early.id)).toMatchObject({ status: 'done', found: 50, released: 0 });
      lane.clock.advance(4 * 60 * minuteMs);
      const { id } = await recoverNow(behind);
      await sweepUntilEnded(id);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 50, released: 50 });
    });

    it('which has failed and expired goes on', async () => {
      const { behind } = await logHalted({ status: 'failed' });
      lane.clock.advance(31 * 86_400_000);
      const { id } = await recoverNow(behind);
      await sweepUntilEnded(id);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 50, released: 50 });
    });

    it('stays there too when its own handler was disabled at that time', async () => {
      const { halting } = await logHalted({ status: 'failed' }, 1);
      const disabled = await lane.register({ ...eventsOf, priority: 3 });
      const [ofHalting] = await lane.logOf(halting);
      if (ofHalting === undefined) throw new Error('There is one.');
      const { eventId, time } = readKey(ofHalting.key);
      const state: State = { status: 'held', reason: 'disabled' };
      const never = { attemptCount: 0, attempts: [], request: null };
      await writeExecutions(table, [anExecution({ handlerId: disabled.id, eventId, time, state, ...never })]);
      const { id } = await recoverNow(disabled);
      await sweepUntilEnded(id);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 1, released: 0 });
    });
  });

  it('that has expired and is not deleted yet is left alone', async () => {
    const handler = await lane.register({});
    await log(handler, 2);
    lane.clock.advance(31 * 86_400_000);
    const { id } = await recover(handler);
    await lane.sweep(lane.coldSweeper());
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', released: 0 });
  });
});

describe('when the tables or the queue fail', () => {
  it('what could not be written is released at the next run, and nothing twice', async () => {
    const handler = await lane.register({});
    await log(handler, 250);
    const { id } = await recover(handler);
    let puts = 0;
    lane.wire.refuse((call) => isRelease(call) && ++puts % 3 === 0);
    const first = await lane.sweep(lane.coldSweeper());
    expect(first.problems).toHaveLength(1);
    expect(first.released).toBeGreaterThan(0);
    lane.wire.reset();
    await sweepUntilEnded(id);
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 250, released: 250 });
    expect(await standing(handler)).toEqual({ 'waiting 2': 250 });
  });

  it('one recovery that cannot go on does not keep the others', async () => {
    const [sick, well] = [await lane.register({}), await lane.register({})];
    await log(sick, 10);
    await log(well, 10);
    await recover(sick);
    const { id } = await recover(well);
    lane.wire.refuse(({ operation, text }) => operation === 'Query' && text.includes(sick.id));
    expect((await lane.sweep(lane.coldSweeper())).problems).not.toEqual([]);
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', released: 10 });
  });

  it('a wake-up call that the queue did not take is sent by a later run', async () => {
    await using receiver = await startGoodReceiver();
    const handler = await lane.register({ target: { url: receiver.url } });
    await log(handler, 1);
    const { id } = await recover(handler);
    const sick = lane.coldSweeper();
    sick.sqs.middlewareStack.add(() => () => Promise.reject(new Error('The queue is away.')), {
      step: 'initialize',
    });
    expect((await lane.sweep(sick)).problems).not.toEqual([]);
    expect(await standing(handler)).toEqual({ 'waiting 2': 1 });
    await sweepUntilEnded(id);
    lane.clock.advance(2 * minuteMs);
    await sweepNextMinute();
    await retryAll();
    expect(receiver.requests).toHaveLength(1);
    expect(await standing(handler)).toEqual({ 'succeeded 2': 1 });
  });
});
