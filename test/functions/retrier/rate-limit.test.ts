import { GetCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { createSqs } from '../../../shared/aws/clients.ts';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { createHourlyCounts } from '../../../shared/executions/hours.ts';
import type { ExecutionKey } from '../../../shared/executions/key.ts';
import { createMover } from '../../../shared/executions/move.ts';
import { createReopener } from '../../../shared/executions/reopen.ts';
import { createWakeUps } from '../../../shared/executions/wake-ups.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { rateLimitKey } from '../../../shared/handlers/rate-limit.ts';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from './lane.ts';
import { countsInWindows, startTimeline } from './timeline.ts';

// Targets that fail on purpose: with a circuit they would be left alone.
const lane = await startLane(undefined, { CIRCUITS: 'false' });
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());
const sqs = createSqs();
afterAll(() => sqs.destroy());

const startMs = lane.clock.now().getTime();
const sinceStart = () => lane.clock.now().getTime() - startMs;
const events = (count: number, type = 'client.create') =>
  Array.from({ length: count }, (_, index) => ({ id: `${type}-${index}`, type }));

/** The updates of the row of a handler's slots, those in vain among them. */
const reservations = ({ id }: Pick<Handler, 'id'>) =>
  lane.wire
    .calls()
    .filter(({ operation, text }) => operation === 'UpdateItem' && text.includes(`RATE#${id}`));

/** Where the slots of a handler end, in seconds since the start. */
async function slotsEnd({ id }: Pick<Handler, 'id'>): Promise<number> {
  const { Item } = await lane.dynamo.send(
    new GetCommand({ TableName: lane.handlersTable, Key: rateLimitKey(id), ConsistentRead: true }),
  );
  return ((Item?.['freeFrom'] as number) / 1000 - startMs) / 1000;
}

async function edit({ id }: Pick<Handler, 'id'>, change: Partial<Handler>): Promise<void> {
  const { handler, sealedSecrets } = await lane.store.get(id);
  const changed = { ...handler, ...change, version: handler.version + 1 };
  await lane.store.replace({ handler: changed, sealedSecrets }, handler.version);
}

const byStatus = async (handler: Pick<Handler, 'id'>, status: string) =>
  (await lane.logOf(handler)).filter(({ state }) => state.status === status);

const dueOf = ({ state }: ExecutionRecord): number =>
  'nextAttemptAt' in state ? Date.parse(state.nextAttemptAt) - startMs : Number.NaN;

const retention = { endedDays: 30, heldDays: 90 };

/** One more attempt by hand, as the API has it. */
function retryNow(key: ExecutionKey): Promise<ExecutionRecord> {
  const { now } = lane.clock;
  const executions = { dynamo: lane.dynamo, tableName: lane.executionsTable, retention, now };
  const wakeUps = createWakeUps({ sqs, queueUrl: lane.variables.RETRIES_QUEUE, now });
  const mover = createMover({ ...executions, hours: createHourlyCounts(executions), wakeUps });
  return createReopener({ mover, scale: 1, now }).retryNow(key);
}

/** Takes the wake-up calls that the queue has now, as if they were lost. */
const loseCalls = (): number =>
  lane.queues.retries.delete(lane.queues.retries.receive(100).map(({ receiptHandle }) => receiptHandle));

describe('a rate limit', () => {
  it('is held by three dispatchers and two retriers together, with one reservation for each batch', async () => {
    await using timeline = await startTimeline(lane);
    const handler = await lane.register({ target: { url: timeline.url }, rateLimit: { perSecond: 10 } });

    const all = events(300);
    const batches = Array.from({ length: 3 }, (_, index) =>
      timeline.dispatch(all.slice(index * 100, index * 100 + 100)),
    );
    await timeline.quiet();
    // The first one of all sets the beginning; those that ask at the same time find that out by an update in vain.
    expect(reservations(handler).length).toBeLessThanOrEqual(3 + 2);
    await timeline.pass();

    for (const report of await Promise.all(batches))
      expect(report).toMatchObject({ putOff: 0, problems: [] });
    expect(new Set(timeline.deliveries.map(({ request }) => request.headers['webhook-id'])).size).toBe(300);
    const times = timeline.times();
    expect(times).toHaveLength(300);
    const { most, fewest } = countsInWindows(times, 10_000);
    process.stdout.write(
      `300 deliveries in ${(Math.max(...times) - startMs) / 1000} s; in any 10 s at most ${most}, at least ${fewest}\n`,
    );
    expect(most).toBeLessThanOrEqual(105);
    expect(fewest).toBeGreaterThanOrEqual(95);
    // Each execution has taken one slot, and nobody another one on the way.
    expect(reservations(handler).length).toBeLessThanOrEqual(3 + 2);
    expect(await slotsEnd(handler)).toBe(30);
    expect(await byStatus(handler, 'succeeded')).toHaveLength(300);
    expect(timeline.reports.every(({ stale, putOff }) => stale === 0 && putOff === 0)).toBe(true);
  }, 60_000);

  it('of one handler is nothing to another one, and nothing at all to one without', async () => {
    await using timeline = await startTimeline(lane);
    const limited = await Promise.all(
      Object.entries({ half: 0.5, three: 3, tenth: 0.1 }).map(([path, perSecond]) =>
        lane.register({ target: { url: `${timeline.url}/${path}` }, rateLimit: { perSecond } }),
      ),
    );
    const free = await lane.register({ target: { url: `${timeline.url}/free` } });

    const dispatched = timeline.dispatch(events(6), { handlers: 4 });
    await timeline.pass();
    expect(await dispatched).toMatchObject({ problems: [] });

    const secondsAt = (path: string) => timeline.times(path).map((at) => (at - startMs) / 1000);
    expect(secondsAt('/half')).toEqual([0, 2, 4, 6, 8, 10]);
    expect(secondsAt('/three')).toEqual([0, 0.334, 0.667, 1.001, 1.334, 1.667]);
    expect(secondsAt('/tenth')).toEqual([0, 10, 20, 30, 40, 50]);
    expect(secondsAt('/free')).toEqual([0, 0, 0, 0, 0, 0]);
    for (const handler of limited) expect(reservations(handler)).toHaveLength(1);
    expect(reservations(free)).toEqual([]);
  });

  it('puts off what has a later slot: no attempt, no put-off counted, and later priorities go on', async () => {
    await using timeline = await startTimeline(lane);
    const first = await lane.register({
      target: { url: `${timeline.url}/first` },
      rateLimit: { perSecond: 0.1 },
      priority: 1,
    });
    await lane.register({ target: { url: `${timeline.url}/second` }, priority: 2 });

    const report = await timeline.dispatch(events(3), { handlers: 2 });

    expect(report).toMatchObject({ putOff: 0, executions: { succeeded: 4, waiting: 2 }, problems: [] });
    expect(timeline.times('/second')).toEqual([startMs, startMs, startMs]);
    const waiting = await byStatus(first, 'waiting');
    expect(waiting.map(dueOf).toSorted((a, b) => a - b)).toEqual([10_000, 20_000]);
    for (const record of waiting) {
      expect(record).toMatchObject({
        state: { reason: 'rate-limit' },
        attemptCount: 0,
        attempts: [],
        putOffs: 0,
        request: null,
      });
    }
    await timeline.pass();
    expect(timeline.times('/first').map((at) => at - startMs)).toEqual([0, 10_000, 20_000]);
  });

  it('leaves slots that no queue can wait for to the sweeper', async () => {
    await using timeline = await startTimeline(lane);
    const handler = await lane.register({ target: { url: timeline.url }, rateLimit: { perSecond: 0.01 } });
    await timeline.dispatch(events(13));
    // Three have no wake-up call yet.
    expect(lane.queues.retries.counts().delayed).toBe(9);
    timeline.noteSent(-3);

    await timeline.pass({ pollMs: 1000 });

    expect(timeline.times()).toEqual(Array.from({ length: 13 }, (_, index) => startMs + index * 100_000));
    expect(reservations(handler)).toHaveLength(1);
  }, 60_000);

  it('does not wait for a slot that is near the deadline', async () => {
    await using receiver = await startReceiver();
    const handler = await lane.register({
      target: { url: receiver.url, timeoutMs: 10_000 },
      rateLimit: { perSecond: 1 },
    });
    // The call takes 10 s at most, and 5 s are kept for the log.
    const report = await lane.dispatchAll(events(3), undefined, { deadline: new Date(startMs + 15_900) });
    expect(report).toMatchObject({ putOff: 0, executions: { succeeded: 1, waiting: 2 } });
    expect((await byStatus(handler, 'waiting')).map(dueOf).toSorted((a, b) => a - b)).toEqual([1000, 2000]);
  });

  it('without a reservation is a fault of our own: the event comes back, and its other handlers have run', async () => {
    await using receiver = await startReceiver();
    const handler = await lane.register({ target: { url: receiver.url }, rateLimit: { perSecond: 5 } });
    const other = await lane.register({ target: { url: receiver.url } });
    lane.wire.refuse(({ text }) => text.includes(`RATE#${handler.id}`));

    const report = await lane.dispatchAll(events(1));

    expect(report.failedMessageIds).toHaveLength(1);
    expect(report.problems).toEqual([expect.stringMatching(/Handler h_.* could not run .*not today/u)]);
    expect(await lane.logOf(handler)).toEqual([]);
    expect(await byStatus(other, 'succeeded')).toHaveLength(1);
  });

  it('that was changed works for what comes later: what waits keeps its slots', async () => {
    await using timeline = await startTimeline(lane);
    const handler = await lane.register({ target: { url: timeline.url }, rateLimit: { perSecond: 0.5 } });
    const seconds = () => timeline.times().map((at) => (at - startMs) / 1000);
    // The last event to come is the last one in the log.
    const dispatchMore = (type: string, count: number) => timeline.dispatch(events(count, type));
    void dispatchMore('client.create', 5);
    await timeline.quiet();
    await edit(handler, { rateLimit: { perSecond: 2 }, events: ['client.update'] });
    void dispatchMore('client.update', 4);
    await timeline.quiet();
    await edit(handler, { rateLimit: null, events: ['client.delete'] });
    void dispatchMore('client.delete', 2);
    await timeline.quiet();
    expect(seconds()).toEqual([0, 0, 0]);

    await timeline.pass();

    expect(seconds()).toEqual([0, 0, 0, 2, 4, 6, 8, 10, 10.5, 11, 11.5]);
    expect(await byStatus(handler, 'succeeded')).toHaveLength(11);
  });

  it('of a handler that is disabled meanwhile holds what waits for its slot', async () => {
    await using receiver = await startReceiver();
    const handler = await lane.register({ target: { url: receiver.url }, rateLimit: { perSecond: 0.1 } });
    await lane.dispatchAll(events(2));
    await edit(handler, { status: 'disabled' });
    lane.clock.advance(9500);
    expect(await lane.retryDue()).toMatchObject({ messages: 1, executions: { held: 1 } });
    expect(receiver.requests).toHaveLength(1);
  });
});

describe('what waits for its slot', () => {
  /** Somebody who waits until the test lets go. */
  function aWait() {
    const begun = Promise.withResolvers<void>();
    const over = Promise.withResolvers<void>();
    const delay = async (ms: number): Promise<unknown> => {
      begun.resolve();
      await over.promise;
      return lane.clock.advance(ms);
    };
    return { begun: begun.promise, end: over.resolve, delay };
  }

  it('keeps no call of another handler from being made, in the dispatcher', async () => {
    await using receiver = await startReceiver();
    await lane.register({ target: { url: `${receiver.url}/limited` }, rateLimit: { perSecond: 1 } });
    const wait = aWait();
    const dispatcher = lane.coldDispatcher({ MAX_CONCURRENT_DELIVERIES: '1' }, wait.delay);
    const first = lane.dispatchAll(events(2), dispatcher);
    await wait.begun;
    await lane.register({ target: { url: `${receiver.url}/free` }, events: ['client.update'] });
    lane.clock.advance(1000);

    const report = await lane.dispatchAll(events(2, 'client.update'), dispatcher);

    expect(report).toMatchObject({ executions: { succeeded: 2 } });
    expect(receiver.requests.filter(({ path }) => path === '/limited')).toHaveLength(1);
    wait.end();
    await first;
  });

  it('keeps no call of another handler from being made, in the retrier', async () => {
    const health = { up: false };
    await using receiver = await startReceiver(
      ({ path }, response) => void response.writeHead(path === '/limited' || health.up ? 200 : 503).end(),
    );
    await lane.register({ target: { url: `${receiver.url}/limited` }, rateLimit: { perSecond: 0.1 } });
    const free = await lane.register({
      target: { url: `${receiver.url}/free` },
      retry: { schedule: [9] },
      events: ['client.update'],
    });
    await lane.dispatchAll(events(2));
    await lane.dispatchAll(events(1, 'client.update'));
    health.up = true;
    lane.clock.advance(8500);
    const wait = aWait();
    const retrier = lane.coldRetrier({ MAX_CONCURRENT_ATTEMPTS: '1' }, wait.delay);
    const limited = lane.retryDue(retrier);
    await wait.begun;
    lane.clock.advance(1000);

    expect(await lane.retryDue(retrier)).toMatchObject({ messages: 1, executions: { succeeded: 1 } });

    expect(await byStatus(free, 'succeeded')).toHaveLength(1);
    wait.end();
    expect(await limited).toMatchObject({ messages: 1 });
  });
});

describe('wake-up calls that come late', () => {
  it('in one bunch hold the rate all the same', async () => {
    await using timeline = await startTimeline(lane);
    await lane.register({ target: { url: timeline.url }, rateLimit: { perSecond: 10 } });
    void timeline.dispatch(events(100));
    await timeline.quiet();

    // All but the first one miss their slots.
    lane.clock.advance(30_000);
    await timeline.pass();

    const times = timeline.times();
    const { most } = countsInWindows(times, 10_000);
    process.stdout.write(
      `100 deliveries, 30 s late in a bunch: in any 10 s at most ${most}, ${sinceStart()} ms\n`,
    );
    expect(times).toHaveLength(100);
    expect(most).toBeLessThanOrEqual(105);
    // Half a minute in which nobody worked, and the 10 s that the rate needs.
    expect(sinceStart()).toBeLessThanOrEqual(45_000);
  }, 60_000);

  it('always are sent earlier: a queue that is behind does not keep them from their slots', async () => {
    await using timeline = await startTimeline(lane);
    await lane.register({ target: { url: timeline.url }, rateLimit: { perSecond: 10 } });
    void timeline.dispatch(events(100));

    await timeline.pass({ lagMs: 10_000 });

    const times = timeline.times();
    const { most } = countsInWindows(times, 10_000);
    process.stdout.write(`100 deliveries, 10 s behind: in any 10 s at most ${most}, ${sinceStart()} ms\n`);
    expect(times).toHaveLength(100);
    expect(most).toBeLessThanOrEqual(105);
    // Each of them misses one slot at most: 20 s.
    expect(sinceStart()).toBeLessThanOrEqual(25_000);
  }, 60_000);

  it.each([
    { lateMs: 250, updates: 0 },
    { lateMs: 251, updates: 1 },
  ])('by $lateMs ms take $updates new slots', async ({ lateMs, updates }) => {
    await using receiver = await startReceiver();
    const handler = await lane.register({ target: { url: receiver.url }, rateLimit: { perSecond: 0.1 } });
    await lane.dispatchAll(events(2));
    // The slots that are taken end here, and the new one would begin a moment later.
    lane.clock.advance(10_000 + lateMs);
    lane.wire.reset();
    expect(await lane.retryDue()).toMatchObject({
      messages: 1,
      executions: updates === 0 ? { succeeded: 1 } : { waiting: 1 },
    });
    expect(reservations(handler).length > 0).toBe(updates > 0);
    expect(await slotsEnd(handler)).toBe(20 + updates * 10);
  });

  it('by two minutes are taken for lost: the sweeper sends others, which take new slots', async () => {
    await using receiver = await startReceiver();
    const handler = await lane.register({ target: { url: receiver.url }, rateLimit: { perSecond: 0.1 } });
    await lane.dispatchAll(events(3));
    lane.clock.advance(20_000);
    expect(loseCalls()).toBe(2);
    lane.clock.advance(125_000);
    expect(await lane.sweep()).toMatchObject({ woken: 2 });

    expect(await lane.retryDue()).toMatchObject({ messages: 2, executions: { succeeded: 1, waiting: 1 } });

    expect((await byStatus(handler, 'waiting')).map(dueOf)).toEqual([155_000]);
  });

  it('never double a call, whatever else is sent', async () => {
    await using receiver = await startReceiver();
    const handler = await lane.register({ target: { url: receiver.url }, rateLimit: { perSecond: 0.1 } });
    await lane.dispatchAll(events(2));
    const [waiting] = await byStatus(handler, 'waiting');
    await lane.wake(waiting as ExecutionRecord);
    // Long before the slot: the call goes back for the rest of the time.
    expect(await lane.retryDue()).toMatchObject({ messages: 1, putOff: 1 });
    lane.clock.advance(9500);
    expect(await lane.retryDue()).toMatchObject({ messages: 2, stale: 1, executions: { succeeded: 1 } });
    expect(receiver.requests).toHaveLength(2);
  });
});

describe('a later attempt', () => {
  it('takes a slot, and what it is put off costs neither an attempt nor a place in the schedule', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(503).end());
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [60, 60] } });
    await lane.dispatchAll(events(3));
    await edit(handler, { rateLimit: { perSecond: 0.1 } });
    lane.clock.advance(63_000);
    lane.wire.reset();

    expect(await lane.retryDue()).toMatchObject({ messages: 3, executions: { waiting: 3 }, problems: [] });

    expect(reservations(handler)).toHaveLength(1);
    const records = (await lane.logOf(handler)).toSorted((a, b) => dueOf(a) - dueOf(b));
    expect(records).toMatchObject([
      { state: { reason: 'rate-limit' }, attemptCount: 1, putOffs: 0 },
      { state: { reason: 'rate-limit' }, attemptCount: 1, putOffs: 0 },
      { state: { reason: 'retry' }, attemptCount: 2, putOffs: 0 },
    ]);
    expect(records.map(dueOf)).toEqual([73_000, 83_000, 126_000]);

    lane.clock.set(new Date(startMs + 73_000).toISOString());
    expect(await lane.retryDue()).toMatchObject({ messages: 1, executions: { waiting: 1 } });
    expect(reservations(handler)).toHaveLength(1);
    const counts = (await lane.logOf(handler)).map(({ attemptCount }) => attemptCount);
    expect(counts.toSorted((a, b) => a - b)).toEqual([1, 2, 2]);
  });

  it('shares the rate with first ones', async () => {
    const seen = new Set<unknown>();
    await using timeline = await startTimeline(lane, ({ headers }) => {
      const isRepeat = seen.has(headers['webhook-id']);
      seen.add(headers['webhook-id']);
      return isRepeat;
    });
    const handler = await lane.register({
      target: { url: timeline.url },
      rateLimit: { perSecond: 5 },
      retry: { schedule: [5] },
    });
    void timeline.dispatch(events(40));
    await timeline.pass();

    expect((await byStatus(handler, 'succeeded')).map(({ attemptCount }) => attemptCount)).toEqual(
      Array.from({ length: 40 }, () => 2),
    );
    const { most } = countsInWindows(timeline.times(), 10_000);
    expect(most).toBeLessThanOrEqual(52);
    expect(timeline.times()).toHaveLength(80);
    // 80 calls at 5 a second, and the wait of the last ones.
    expect(sinceStart()).toBeLessThanOrEqual(16_000 + 6000);
  }, 60_000);

  it('by hand takes a slot, and many at once share a reservation', async () => {
    await using timeline = await startTimeline(lane);
    const handler = await lane.register({ target: { url: timeline.url }, rateLimit: { perSecond: 5 } });
    const batch = timeline.dispatch(events(8));
    await timeline.pass();
    await batch;
    lane.clock.advance(60_000);
    lane.wire.reset();
    const reopenedAt = lane.clock.now().getTime();
    for (const { key } of await byStatus(handler, 'succeeded')) await retryNow(key);
    timeline.noteSent(8);

    await timeline.pass();

    expect(timeline.times().slice(8)).toEqual(
      Array.from({ length: 8 }, (_, index) => reopenedAt + index * 200),
    );
    // How many of them ask within the same moment depends on the machine.
    expect(reservations(handler).length).toBeLessThan(8);
    expect((await byStatus(handler, 'succeeded')).map(({ generation }) => generation)).toEqual(
      Array.from({ length: 8 }, () => 2),
    );
  });

  it('without a reservation is not made: its wake-up call comes back', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(503).end());
    const handler = await lane.register({
      target: { url: receiver.url },
      rateLimit: { perSecond: 5 },
      retry: { schedule: [10] },
    });
    await lane.dispatchAll(events(1));
    lane.clock.advance(10_500);
    lane.wire.refuse(({ text }) => text.includes(`RATE#${handler.id}`));
    const report = await lane.retryDue();
    expect(report).toMatchObject({ messages: 1, problems: [expect.stringContaining('not today')] });
    expect(report.failedMessageIds).toHaveLength(1);
    expect((await lane.logOf(handler))[0]).toMatchObject({ state: { reason: 'retry' }, attemptCount: 1 });
  });
});
