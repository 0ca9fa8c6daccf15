import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { createHourlyCounts } from '../../../shared/executions/hours.ts';
import { createMover } from '../../../shared/executions/move.ts';
import { createReopener } from '../../../shared/executions/reopen.ts';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { startReceiver, type Respond } from '../../support/http-server.ts';
import { startLane } from './lane.ts';
import { parkMany } from './park-many.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const minuteMs = 60_000;
const retention = { endedDays: 30, heldDays: 90 };

/** An endpoint that is down, and up again when the test says so. */
async function startSick(respond?: Respond) {
  const health = { up: false };
  const receiver = await startReceiver(
    respond ?? ((_, response) => void response.writeHead(health.up ? 204 : 503).end()),
  );
  return Object.assign(receiver, { health });
}

/** A handler whose circuit has just opened: five events wait for their second attempt, the others are parked. */
async function openCircuit(url: string, events = 12) {
  const handler = await lane.register({ target: { url } });
  await lane.dispatchSome(events);
  expect((await statesOf(handler)).toSorted()).toEqual([
    ...Array<string>(events - 5).fill('circuit'),
    ...Array<string>(5).fill('retry'),
  ]);
  return handler;
}

const stateNameOf = ({ state }: ExecutionRecord): string =>
  'reason' in state && state.reason !== undefined ? state.reason : state.status;

const statesOf = async (handler: Pick<Handler, 'id'>): Promise<string[]> =>
  (await lane.logOf(handler)).map(stateNameOf);

const circuitOf = async ({ id }: { id: string }) =>
  (await lane.store.readAll()).health.get(id)?.circuit ?? null;

/** Lets a minute pass, runs the sweeper, and hands the retrier what is due then. */
async function nextMinute() {
  lane.clock.advance(minuteMs);
  const swept = await lane.sweep();
  expect(swept.problems).toEqual([]);
  const retried = await lane.retryDue();
  expect(retried.problems).toEqual([]);
  return { swept, retried };
}

/** Takes the wake-up calls that the queue has now, as a retrier does that dies with them. */
const loseCalls = (): number =>
  lane.queues.retries.delete(lane.queues.retries.receive(50).map(({ receiptHandle }) => receiptHandle));

/** Changes a stored handler, as the API would. */
async function edit(handler: Handler, change: Partial<Handler>, targetVersion?: number): Promise<void> {
  const { id } = handler;
  const stored = await lane.store.get(id);
  const { version } = stored.handler;
  await lane.store.replace(
    {
      ...stored,
      handler: { ...stored.handler, ...change, id, version: version + 1 },
      ...(targetVersion !== undefined && { targetVersion }),
    },
    version,
  );
}

const allWrites = () =>
  lane.wire.calls().filter(({ operation }) => /^(Put|Update|Delete|BatchWrite)/u.test(operation));
const writes = () => allWrites().length;
// Hourly counts are written by a timer, too.
const uncountedWrites = () => allWrites().filter(({ text }) => !text.includes('HOUR')).length;

describe('while the circuit of a handler is open', () => {
  it('a later attempt is not made: it is parked with one write, keeps its place, and is not written again', async () => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url, 6);
    lane.clock.advance(6000);
    const retrier = lane.coldRetrier();
    await retrier.currentRegistry();
    lane.wire.reset();
    expect(await lane.retryDue(retrier)).toMatchObject({ messages: 5, executions: { waiting: 5 } });
    expect(writes()).toBe(5);
    expect(receiver.requests).toHaveLength(5);
    for (const record of await lane.logOf(handler)) {
      expect(record).toMatchObject({ state: { status: 'waiting', reason: 'circuit' }, putOffs: 0 });
      expect(record.state).not.toHaveProperty('nextAttemptAt');
      expect([0, 1]).toContain(record.attemptCount);
    }

    lane.wire.reset();
    for (let runs = 0; runs < 3; runs++) expect(await lane.sweep()).toMatchObject({ probes: 0, released: 0 });
    expect(writes()).toBe(0);
  });

  it('one probe at a time asks whether the endpoint is back, 1, 2, 4 ... 45 minutes after the last one', async () => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url);
    const gaps: number[] = [];
    let last = lane.clock.now().getTime();
    let failed = 0;
    for (let minutes = 0; minutes < 200; minutes++) {
      const before = receiver.requests.length;
      const { swept } = await nextMinute();
      expect(receiver.requests.length - before).toBe(swept.probes);
      if (swept.probes === 0) continue;
      gaps.push(Math.round((lane.clock.now().getTime() - last) / minuteMs));
      last = lane.clock.now().getTime();
      failed += 1;
      expect(await circuitOf(handler)).toMatchObject({ failedProbes: failed, probe: null });
    }
    // The sweeper looks once a minute, and the jitter of the test is half of a tenth.
    expect(gaps).toEqual([2, 3, 5, 9, 17, 34, 48, 48].slice(0, gaps.length));
    const records = await lane.logOf(handler);
    const probed = records.filter(({ attemptsBefore }) => attemptsBefore > 0);
    expect(probed.reduce((sum, { attemptsBefore }) => sum + attemptsBefore, 0)).toBe(failed);
    // In the log, and no place in the schedule.
    for (const { attemptCount, attempts, attemptsBefore, startedAt } of probed) {
      expect(attempts).toHaveLength(attemptCount);
      expect(attemptCount - attemptsBefore).toBeLessThanOrEqual(1);
      expect(Date.parse(startedAt)).toBeLessThan(last);
    }
    // Not one event alone: it could be the event that the endpoint cannot stand.
    expect(probed.length).toBeGreaterThan(1);
  }, 60_000);

  it('a probe that gets an answer closes it, and what was parked is released and delivered', async () => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url, 70);
    await nextMinute();
    expect(receiver.requests).toHaveLength(5);
    receiver.health.up = true;
    const { swept } = await nextMinute();
    expect(swept).toMatchObject({ probes: 1, released: 0 });
    expect(await circuitOf(handler)).toBeNull();
    expect((await lane.store.readAll()).closedAt.get(handler.id)).toBe(lane.clock.now().toISOString());

    const first = await lane.sweep();
    expect(first).toMatchObject({ released: 50, problems: [] });
    const due = (await lane.logOf(handler)).flatMap(({ state }) =>
      'nextAttemptAt' in state ? Date.parse(state.nextAttemptAt) - lane.clock.now().getTime() : [],
    );
    expect(due).toHaveLength(50);
    // Spread over the minute until the next run.
    expect(Math.min(...due)).toBe(0);
    expect(Math.max(...due)).toBeLessThan(minuteMs);
    expect(new Set(due).size).toBe(50);

    lane.clock.advance(minuteMs);
    expect(await lane.sweep()).toMatchObject({ released: 19, problems: [] });
    lane.clock.advance(minuteMs);
    for (let batches = 0; batches < 3; batches++) await lane.retryDue();
    expect(await statesOf(handler)).toEqual(Array(70).fill('succeeded'));
    expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(70);
  });

  it('an answer that would be the same another time closes it too', async () => {
    await using receiver = await startSick((_, response) => {
      response.writeHead(receiver.health.up ? 404 : 503).end();
    });
    const handler = await openCircuit(receiver.url);
    receiver.health.up = true;
    for (let minutes = 0; minutes < 2; minutes++) await nextMinute();
    expect(await circuitOf(handler)).toBeNull();
    expect(await statesOf(handler)).toContain('failed');
  });

  it('a retry by hand is made all the same, the record says so, and its success closes the circuit', async () => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url);
    const parked = (await lane.logOf(handler)).find((record) => stateNameOf(record) === 'circuit');
    if (parked === undefined) throw new Error('Nothing is parked.');
    lane.clock.advance(1000);
    const { now } = lane.clock;
    const table = { dynamo: lane.dynamo, tableName: lane.executionsTable, now };
    const { wakeUps } = lane.coldRetrier();
    const mover = createMover({
      ...table,
      hours: createHourlyCounts({ ...table, retention }),
      wakeUps,
      retention,
    });
    const reopener = createReopener({ mover, scale: 1, now });

    expect((await reopener.retryNow(parked.key)).state).toMatchObject({ reason: 'retry', byHand: true });
    expect(await lane.retryDue()).toMatchObject({ executions: { waiting: 1 } });
    expect(receiver.requests).toHaveLength(6);
    expect(await circuitOf(handler)).not.toBeNull();

    receiver.health.up = true;
    await reopener.retryNow(parked.key);
    expect(await lane.retryDue()).toMatchObject({ executions: { succeeded: 1 } });
    expect(await circuitOf(handler)).toBeNull();
  });
});

describe('a probe', () => {
  it('is sent once by two sweepers at once, and a doubled message of it makes one call', async () => {
    await using receiver = await startSick();
    await openCircuit(receiver.url);
    lane.clock.advance(2 * minuteMs);
    loseCalls();
    const swept = await Promise.all([lane.sweep(), lane.sweep(lane.coldSweeper())]);
    expect(swept.map(({ probes }) => probes).toSorted()).toEqual([0, 1]);
    const [message] = lane.queues.retries.receive(1);
    if (message === undefined) throw new Error('There is no probe.');
    await lane.queues.retries.send([{ body: message.body }, { body: message.body }]);
    await Promise.all([lane.retryDue(lane.coldRetrier()), lane.retryDue(lane.coldRetrier())]);
    expect(receiver.requests).toHaveLength(5 + 1);
  });

  it('that was lost is made again when its lease is over', async () => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url);
    lane.clock.advance(2 * minuteMs);
    loseCalls();
    expect(await lane.sweep()).toMatchObject({ probes: 1 });
    loseCalls();
    lane.clock.advance(5 * minuteMs);
    expect(await lane.sweep()).toMatchObject({ probes: 0 });
    receiver.health.up = true;
    lane.clock.advance(minuteMs);
    expect(await lane.sweep()).toMatchObject({ probes: 1 });
    await lane.retryDue();
    expect(await circuitOf(handler)).toBeNull();
  });

  it('whose result could not be written is made again, and what it has found out is not lost', async () => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url);
    lane.clock.advance(2 * minuteMs);
    loseCalls();
    receiver.health.up = true;
    await lane.sweep();
    lane.wire.refuse(({ operation }) => operation === 'PutItem');
    expect((await lane.retryDue()).failedMessageIds).toHaveLength(1);
    lane.wire.reset();
    expect(await circuitOf(handler)).not.toBeNull();
    expect(await statesOf(handler)).not.toContain('succeeded');

    lane.clock.advance(6 * minuteMs);
    expect(await lane.sweep()).toMatchObject({ probes: 1 });
    await lane.retryDue();
    expect(await circuitOf(handler)).toBeNull();
  });

  // A retrier that dies loses what it would have done next; what it was called for comes again.
  it.each(['before it has closed the circuit', 'after that, and before the event is sent on'])(
    'lets those behind a handler that halts go on, although its retrier dies %s',
    async (when) => {
      await using receiver = await startSick();
      await lane.register({ target: { url: receiver.url }, priority: 1, onFailure: 'halt' });
      const later = await lane.register({ target: { url: `${receiver.url}/later` }, priority: 2 });
      await lane.dispatchSome(6);
      expect(await statesOf(later)).toEqual(Array<string>(6).fill('halted'));

      lane.clock.advance(2 * minuteMs);
      loseCalls();
      receiver.health.up = true;
      expect(await lane.sweep()).toMatchObject({ probes: 1 });
      const retrier = lane.coldRetrier();
      const die = () => Promise.reject(new Error('dead'));
      const mortal = when.startsWith('before')
        ? { ...retrier, circuits: { ...retrier.circuits, closeCircuit: die } }
        : { ...retrier, requeue: die };
      expect((await lane.retryDue(mortal)).failedMessageIds).toHaveLength(1);
      expect(lane.queues.events.counts().visible).toBe(0);

      lane.clock.advance(20 * minuteMs);
      await lane.retryDue();
      await lane.dispatchSentAgain();
      expect(await statesOf(later)).toContain('succeeded');
    },
  );

  it('is sent although the answer to its lease was lost', async () => {
    await using receiver = await startSick();
    await openCircuit(receiver.url);
    lane.clock.advance(2 * minuteMs);
    loseCalls();
    let lost = 0;
    lane.wire.interceptAnswer(({ text }) =>
      text.includes('SET probeToken') && ++lost === 1
        ? { status: 500, body: { __type: 'InternalServerError', message: 'lost' } }
        : null,
    );
    expect(await lane.sweep()).toMatchObject({ probes: 1, problems: [] });
    expect(lost).toBe(2);
    await lane.retryDue();
    expect(receiver.requests).toHaveLength(5 + 1);
  });
});

describe('what is parked', () => {
  it.each([
    ['disabled', 'held', 'disabled'],
    ['archived', 'failed', 'archived'],
  ] as const)('of a handler that is %s ends %s', async (status, ended, reason) => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url);
    await edit(handler, { status });
    expect(await lane.sweep()).toMatchObject({ problems: [], ended: 7 });
    await lane.retryDue();
    for (const { state } of await lane.logOf(handler)) expect(state).toEqual({ status: ended, reason });
    expect(receiver.requests).toHaveLength(5);
  });

  it('of a handler that is deleted fails, also when only a second run finds it, and its health is forgotten', async () => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url);
    await lane.store.remove(handler.id, 1);
    lane.wire.refuse(({ operation, text }) => operation === 'PutItem' && text.includes('deleted'));
    expect(await lane.sweep()).toMatchObject({ ended: 0 });
    lane.wire.reset();
    expect(await lane.sweep()).toMatchObject({ problems: [], ended: 7 });
    await lane.retryDue();
    for (const { state } of await lane.logOf(handler))
      expect(state).toEqual({ status: 'failed', reason: 'deleted' });
    lane.clock.set(new Date(Date.now() + 10 * minuteMs).toISOString());
    await lane.sweep();
    expect((await lane.store.readAll()).health.size).toBe(0);
  });

  it('is released when the target is another one: its circuit is closed at once', async () => {
    await using receiver = await startSick();
    await using other = await startReceiver();
    const handler = await openCircuit(receiver.url);
    await edit(handler, { target: { ...handler.target, url: other.url } }, 2);
    expect(await lane.sweep()).toMatchObject({ released: 7, probes: 0 });
    lane.clock.advance(2 * minuteMs);
    await lane.retryDue();
    expect(await statesOf(handler)).toEqual(Array(12).fill('succeeded'));
    expect(other.requests).toHaveLength(12);
  });

  it('stays where an edit leaves the target as it is, and health survives the edit', async () => {
    await using receiver = await startSick();
    const handler = await openCircuit(receiver.url);
    await edit(handler, { name: 'Another name' });
    expect(await lane.sweep()).toMatchObject({ released: 0, problems: [] });
    expect(await circuitOf(handler)).not.toBeNull();
  });

  it('is released where circuits have been switched off', async () => {
    await using receiver = await startSick();
    await openCircuit(receiver.url);
    expect(await lane.sweep(lane.coldSweeper({ CIRCUITS: 'false' }))).toMatchObject({ released: 7 });
  });
});

describe('later attempts of a handler whose endpoint hangs', () => {
  it.each(['false', 'true'])(
    'leave the places to others, and are put off without an attempt (circuits: %s)',
    async (CIRCUITS) => {
      await using hanging = await startReceiver((_, response) => {
        if (!isHanging) response.writeHead(503).end();
      });
      await using healthy = await startSick();
      let isHanging = false;
      const slow = await lane.register({ target: { url: hanging.url, timeoutMs: 3000 } });
      const other = await lane.register({ events: ['client.update'], target: { url: healthy.url } });
      await lane.dispatchSome(40, {}, { CIRCUITS: 'false' });
      await lane.dispatch({ type: 'client.update' });
      isHanging = true;
      healthy.health.up = true;
      lane.clock.advance(6000);
      const retrying = lane.retryDue(lane.coldRetrier({ CIRCUITS }));
      await healthy.waitForRequests(2);
      expect(await retrying).toMatchObject({ messages: 41, executions: { waiting: 40, succeeded: 1 } });
      expect(hanging.requests).toHaveLength(40 + 1);
      expect(await statesOf(other)).toEqual(['succeeded']);
      const records = await lane.logOf(slow);
      expect(records.map(stateNameOf).toSorted()).toEqual([...Array<string>(39).fill('busy'), 'retry']);
      for (const record of records.filter((each) => stateNameOf(each) === 'busy'))
        expect(record).toMatchObject({ attemptCount: 1, putOffs: 1 });
    },
  );
});

describe('10,000 parked executions', () => {
  it('of a dead endpoint cost at most 50 attempts and 1,000 writes a day', async () => {
    await using receiver = await startSick();
    const handler = await lane.register({ target: { url: receiver.url } });
    await parkMany(lane, handler, 10_000);
    const retrier = lane.coldRetrier();
    const endsAt = lane.clock.now().getTime() + 1440 * minuteMs;
    lane.wire.reset();
    // Of the runs in between, which find nothing to do, the one before each probe: it must not write either.
    for (;;) {
      const probeAt = Date.parse((await circuitOf(handler))?.probeAt ?? '');
      if (probeAt > endsAt) break;
      const before = uncountedWrites();
      lane.clock.set(new Date(probeAt - 1000).toISOString());
      expect(await lane.sweep()).toMatchObject({ probes: 0, problems: [] });
      expect(uncountedWrites()).toBe(before);
      lane.clock.advance(minuteMs);
      expect(await lane.sweep()).toMatchObject({ probes: 1, problems: [] });
      await lane.retryDue(retrier);
    }
    process.stdout.write(
      `a day of a dead endpoint: ${receiver.requests.length} attempts, ${writes()} writes\n`,
    );
    expect(receiver.requests.length).toBeGreaterThan(30);
    expect(receiver.requests.length).toBeLessThanOrEqual(50);
    expect(writes()).toBeLessThanOrEqual(1000);
  }, 120_000);
});
