import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { readKey } from '../../shared/executions/key.ts';
import { isParked } from '../../shared/executions/life-cycle.ts';
import { createRecoveries } from '../../shared/executions/recoveries.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { anExecution } from '../support/builders.ts';
import { refusal, type Intercept } from '../support/dynamo-wire.ts';
import { startReceiver } from '../support/http-server.ts';
import { retention, writeExecutions } from '../support/write-executions.ts';
import { startLane } from './retrier/lane.ts';
import { runQueues } from './run-queues.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const table = { dynamo: lane.dynamo, tableName: lane.handlersTable, now: lane.clock.now };
const recoveries = createRecoveries({ ...table, keptDays: retention.endedDays });

const minuteMs = 60_000;
const refusedSends =
  'Error: The retries queue did not take wake-up calls: AccessDeniedException: no sends today';

/** An endpoint that is down, and up again when the test says so. */
async function startSick() {
  const health = { up: false };
  const receiver = await startReceiver((_, response) => void response.writeHead(health.up ? 204 : 503).end());
  return Object.assign(receiver, { health });
}

const statusesOf = async (handler: Pick<Handler, 'id'>): Promise<string[]> =>
  (await lane.logOf(handler)).map(({ state }) => state.status);

/** Ten alike. */
const tenTimes = (status: string): string[] => Array.from({ length: 10 }, () => status);

/** One that refuses every third delivery the first time: never often enough for a circuit to open. */
function startFlaky() {
  const known = new Set<unknown>();
  return startReceiver(({ headers }, response) => {
    const isKnown = known.has(headers['webhook-id']);
    known.add(headers['webhook-id']);
    response.writeHead(isKnown || known.size % 3 > 0 ? 204 : 503).end();
  });
}

/** One in eight calls, the same ones each time. The SDK tries each of them again. */
function throttleSome(): Intercept {
  let seed = 1;
  return () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % 8 === 0 ? throttled : null;
  };
}

const throttled = {
  status: 400,
  body: {
    __type: 'com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException',
    message: 'The level of configured provisioned throughput for the table was exceeded.',
  },
};

describe('DynamoDB for a minute', () => {
  it.each([
    ['throttles one in eight calls', throttleSome(), 0],
    ['answers nothing but errors', () => refusal, 1],
  ])(
    '%s: what comes in, waits, is parked, probed, released and recovered ends all the same',
    async (_, fault, fewestProblems) => {
      await using good = await startReceiver();
      await using flaky = await startFlaky();
      await using sick = await startSick();
      const settings = { retry: { schedule: [10, 30, 60, 120, 300, 600] } };
      const all = [
        await lane.register({ ...settings, target: { url: good.url } }),
        await lane.register({ ...settings, target: { url: flaky.url } }),
        await lane.register({ ...settings, target: { url: sick.url } }),
      ];
      const [, , sickHandler] = all;
      const recovered = await lane.register({ events: ['order.paid'], target: { url: good.url } });
      const failed = Array.from({ length: 40 }, (__, index) =>
        anExecution({
          handlerId: recovered.id,
          time: new Date(Date.parse('2026-11-23T08:00:00.000Z') + index * 100).toISOString(),
          state: { status: 'failed' },
        }),
      );
      await writeExecutions({ ...table, tableName: lane.executionsTable }, failed);

      const queues = runQueues(lane);
      const published = await queues.publish(8);
      await queues.dispatch();
      const records = await queues.look(all);
      expect(records.filter(({ state }) => isParked(state)).length).toBeGreaterThan(0);
      const recovery = await recoveries.start({
        handlerId: recovered.id,
        from: '2026-11-23T00:00:00.000Z',
        to: '2026-11-23T23:59:59.999Z',
        statuses: ['failed'],
      });

      // The minute in which the first probe is due, too.
      lane.clock.advance(10_000);
      lane.wire.intercept(fault);
      for (let seconds = 0; seconds < 60; seconds += 20) {
        published.push(...(await queues.publish(2)));
        await queues.step();
        await queues.look([...all, recovered]);
        if (seconds === 20) sick.health.up = true;
        lane.clock.advance(20_000);
      }
      const { problems } = queues;
      expect(problems.size).toBeGreaterThanOrEqual(fewestProblems);
      for (const problem of problems) {
        expect(problem).toMatch(/(?:not today|throughput for the table was exceeded\.|after 8 tries\.)$/u);
        expect(problem).not.toMatch(/undefined|\[object|\n/u);
      }

      lane.wire.reset();
      problems.clear();
      // A lease that was taken for a call that was not sent lasts for 17 minutes, and the last wait of a schedule for 10.
      expect(await queues.untilEnded([...all, recovered])).toBeLessThanOrEqual(30);
      expect([...problems]).toEqual([]);
      for (const handler of all) {
        const executions = await lane.logOf(handler);
        expect(executions.map(({ key }) => readKey(key).eventId).toSorted()).toEqual(published.toSorted());
        expect(executions.filter(({ state }) => state.status !== 'succeeded')).toEqual([]);
      }
      expect(await lane.logOf(recovered)).toHaveLength(40);
      for (const { state, generation } of await lane.logOf(recovered))
        expect([state.status, generation]).toEqual(['succeeded', 2]);
      expect(await recoveries.get(recovery.id)).toMatchObject({ status: 'done' });
      expect((await lane.store.readAll()).health.get(sickHandler?.id ?? '')?.circuit ?? null).toBeNull();
      expect(lane.queues.eventsDeadLetters.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
    },
    60_000,
  );
});

describe('SQS refuses wake-up calls', () => {
  it('the batch is done all the same and says so in a sentence, and the sweeper wakes what waits', async () => {
    await using receiver = await startSick();
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10, 10] } });
    lane.sqsFaults.refuse('retries');
    const report = await lane.dispatchSome(3);
    expect(report).toMatchObject({ failedMessageIds: [], executions: { waiting: 3 } });
    expect(report.problems).toEqual([refusedSends]);
    lane.clock.advance(11_000);
    expect(await lane.retryDue()).toMatchObject({ messages: 0 });

    // As long as nothing is taken, the sweeper says so, and has lost nothing.
    lane.clock.advance(3 * minuteMs);
    expect(await lane.sweep()).toMatchObject({
      woken: 0,
      problems: [refusedSends],
    });
    lane.sqsFaults.clear();
    receiver.health.up = true;
    // A run gives back what it could not send.
    lane.clock.advance(minuteMs);
    expect(await lane.sweep()).toMatchObject({ woken: 3, problems: [] });
    expect(await lane.retryDue()).toMatchObject({ executions: { succeeded: 3 } });
    expect(await statusesOf(handler)).toEqual(['succeeded', 'succeeded', 'succeeded']);
  });

  it('a later attempt is settled all the same, and the next one made when the sweeper has come', async () => {
    await using receiver = await startSick();
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10, 10] } });
    await lane.dispatch();
    lane.clock.advance(11_000);
    lane.sqsFaults.refuse('retries');
    expect(await lane.retryDue()).toMatchObject({
      failedMessageIds: [],
      executions: { waiting: 1 },
      problems: [refusedSends],
    });
    lane.sqsFaults.clear();
    receiver.health.up = true;
    lane.clock.advance(3 * minuteMs);
    expect(await lane.sweep()).toMatchObject({ woken: 1 });
    expect(await lane.retryDue()).toMatchObject({ executions: { succeeded: 1 } });
    expect((await lane.logOf(handler))[0]).toMatchObject({ attemptCount: 3 });
  });

  it('and takes the others of a batch: the sweeper sends those alone that are missing', async () => {
    await using receiver = await startSick();
    // No circuit: all ten are tried again.
    const settings = { CIRCUITS: 'false' };
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10] } });
    let sends = 0;
    lane.sqsFaults.fail(() => sends++ % 3 === 0);
    const report = await lane.dispatchSome(10, {}, settings);
    expect(report).toMatchObject({ failedMessageIds: [], executions: { waiting: 10 } });
    expect(report.problems).toEqual([
      'Error: The retries queue did not take a wake-up call: InternalError not this one',
    ]);
    lane.sqsFaults.clear();
    receiver.health.up = true;
    lane.clock.advance(11_000);
    const retrier = lane.coldRetrier(settings);
    const woken = (await lane.retryDue(retrier)).executions.succeeded;
    expect(woken).toBe(10 - Math.ceil(sends / 3));
    lane.clock.advance(3 * minuteMs);
    expect(await lane.sweep()).toMatchObject({ woken: 10 - woken });
    expect(await lane.retryDue(retrier)).toMatchObject({ executions: { succeeded: 10 - woken } });
    expect(await statusesOf(handler)).toEqual(tenTimes('succeeded'));
    // Each in vain once, and once more: none is woken twice.
    expect(receiver.requests).toHaveLength(20);
  });

  it('nor many: a run tries some of them, and the next ones have them all', async () => {
    await using receiver = await startSick();
    const settings = { CIRCUITS: 'false' };
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10] } });
    lane.sqsFaults.refuse('retries');
    for (let batch = 0; batch < 3; batch++) await lane.dispatchSome(100, {}, settings);
    lane.clock.advance(3 * minuteMs);
    lane.wire.reset();
    expect(await lane.sweep()).toMatchObject({ woken: 0, unfinished: true, problems: [refusedSends] });
    const writes = lane.wire.calls().filter(({ operation }) => operation === 'UpdateItem').length;
    expect(writes).toBeGreaterThanOrEqual(20);
    expect(writes).toBeLessThanOrEqual(200);

    lane.sqsFaults.clear();
    receiver.health.up = true;
    lane.clock.advance(minuteMs);
    expect(await lane.sweep()).toMatchObject({ woken: 300, unfinished: false, problems: [] });
    const retrier = lane.coldRetrier(settings);
    for (let batch = 0; batch < 6; batch++) await lane.retryDue(retrier);
    expect(new Set(await statusesOf(handler))).toEqual(new Set(['succeeded']));
  });

  it('nor the probes of one handler: it is asked again soon, and the others at once', async () => {
    await using first = await startSick();
    await using second = await startSick();
    const handlers = [
      await lane.register({ target: { url: first.url } }),
      await lane.register({ target: { url: second.url } }),
    ];
    await lane.dispatchSome(10);
    const refused = handlers.map(({ id }) => id).toSorted()[0] ?? '';
    lane.sqsFaults.fail(({ MessageBody }) => MessageBody.includes(refused));
    lane.clock.advance(2 * minuteMs);
    expect(await lane.sweep()).toMatchObject({
      probes: 1,
      problems: ['Error: The retries queue did not take a wake-up call: InternalError not this one'],
    });
    lane.sqsFaults.clear();
    first.health.up = true;
    second.health.up = true;
    await lane.retryDue();
    lane.clock.advance(2 * minuteMs);
    expect(await lane.sweep()).toMatchObject({ probes: 1, problems: [] });
    await lane.retryDue();
    const { health } = await lane.store.readAll();
    expect([...health.values()].flatMap(({ circuit }) => circuit ?? [])).toEqual([]);
  });

  it('nor an event that was to go on, for hours: what is held behind a halting handler runs when it does again', async () => {
    await using halting = await startSick();
    await using next = await startReceiver();
    const retry = { schedule: [10] };
    await lane.register({ onFailure: 'halt', priority: 1, target: { url: halting.url }, retry });
    const behind = await lane.register({ priority: 2, target: { url: next.url } });
    await lane.dispatch();
    halting.health.up = true;
    lane.sqsFaults.refuse('events');
    lane.clock.advance(11_000);
    while (lane.queues.retriesDeadLetters.counts().visible === 0) {
      await lane.retryDue();
      lane.clock.advance(18 * minuteMs);
    }
    expect(await statusesOf(behind)).toEqual(['held']);

    lane.sqsFaults.clear();
    expect(await lane.sweep()).toMatchObject({ deadWakeUps: 1, problems: [] });
    await lane.retryDue();
    await lane.dispatchSentAgain();
    expect(await statusesOf(behind)).toEqual(['succeeded']);
    expect(halting.requests).toHaveLength(2);
    expect(lane.queues.retries.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
  });
});

describe('SQS does not take some events that are sent again', () => {
  it('those come back, and no other', async () => {
    await using receiver = await startReceiver();
    const handler = await lane.register({ target: { url: receiver.url } });
    lane.sqsFaults.fail(({ MessageBody }) => MessageBody.includes('"refused-'));
    const events = Array.from({ length: 10 }, (_, index) => ({
      id: index % 2 === 0 ? `refused-${index}` : `taken-${index}`,
    }));
    const services = lane.coldDispatcher();
    // No time is left to begin anything.
    const report = await lane.dispatchAll(events, services, { deadline: lane.clock.now() });
    expect(report.failedMessageIds).toHaveLength(5);
    expect(report.problems).toEqual([
      'Error: The events queue did not take an event: InternalError not this one',
    ]);
    lane.sqsFaults.clear();
    expect(await lane.dispatchSentAgain()).toMatchObject({ messages: 5, executions: { succeeded: 5 } });
    await lane.dispatchAll(
      events.filter(({ id }) => id.startsWith('refused')),
      services,
    );
    expect(await statusesOf(handler)).toEqual(tenTimes('succeeded'));
    expect(receiver.requests).toHaveLength(10);
  });
});

describe("the bus takes some of Handoff's own events", () => {
  it('the others are named, each in a sentence, and nothing is done again for their sake', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(404).end());
    const handler = await lane.register({ target: { url: receiver.url } });
    let told = 0;
    lane.bus.refuse(() => told++ % 2 === 0);
    const report = await lane.dispatchSome(10);
    expect(report).toMatchObject({ failedMessageIds: [], executions: { failed: 10 } });
    expect(report.problems).toEqual([
      'Error: The bus did not take handoff.execution.failed: ThrottlingException: inner words',
    ]);
    expect(told).toBe(10);
    expect(await statusesOf(handler)).toEqual(tenTimes('failed'));
    expect(receiver.requests).toHaveLength(10);
  });
});

describe('a target that answers after its timeout', () => {
  it('has failed: the late 200 counts for nothing, the next attempt has the same id, and no connection stays', async () => {
    const held: ServerResponse[] = [];
    let isInTime = false;
    await using receiver = await startReceiver((_, response) => {
      if (isInTime) response.writeHead(200).end('in time');
      else held.push(response);
    });
    const handler = await lane.register({
      target: { url: receiver.url, timeoutMs: 100 },
      retry: { schedule: [10, 10] },
    });
    const answerLate = () => {
      for (const response of held.splice(0)) response.writeHead(200).end('too late');
    };
    const sockets = () => held.map(({ socket }) => socket);

    expect(await lane.dispatch()).toMatchObject({ executions: { waiting: 1 }, problems: [] });
    const [first] = sockets();
    answerLate();
    expect(await lane.logOf(handler)).toMatchObject([
      {
        state: { status: 'waiting', reason: 'retry' },
        attempts: [{ statusCode: null, error: 'timeout: no answer within 100 ms', response: null }],
      },
    ]);
    expect((await lane.store.readAll()).health.get(handler.id)).toMatchObject({ streak: 1 });

    const retrier = lane.coldRetrier();
    lane.clock.advance(11_000);
    expect(await lane.retryDue(retrier)).toMatchObject({ executions: { waiting: 1 } });
    const [second] = sockets();
    answerLate();
    expect((await lane.store.readAll()).health.get(handler.id)).toMatchObject({ streak: 2 });
    await expect.poll(() => [first?.destroyed, second?.destroyed]).toEqual([true, true]);

    isInTime = true;
    lane.clock.advance(11_000);
    expect(await lane.retryDue(retrier)).toMatchObject({ executions: { succeeded: 1 } });
    expect(await lane.logOf(handler)).toMatchObject([
      { state: { status: 'succeeded' }, generation: 1, attemptCount: 3 },
    ]);
    expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect((await lane.store.readAll()).health.get(handler.id)).toBeUndefined();
    // Nothing is sent again for what came late.
    lane.clock.advance(20 * minuteMs);
    expect(await lane.sweep()).toMatchObject({ woken: 0, problems: [] });
    expect(receiver.requests).toHaveLength(3);
  });
});
