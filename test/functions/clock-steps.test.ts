import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { readKey } from '../../shared/executions/key.ts';
import { createRecoveries } from '../../shared/executions/recoveries.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { anExecution } from '../support/builders.ts';
import { startReceiver } from '../support/http-server.ts';
import { retention, writeExecutions } from '../support/write-executions.ts';
import { startLane } from './retrier/lane.ts';
import { runQueues } from './run-queues.ts';

/*
 * One machine, whose clock was an hour ahead and is set right, or is set wrong and right again. What waits for a time then waits for up to
 * an hour longer, or less; nothing more may come of it.
 */

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const waitMs = 10_000;

const recoveries = createRecoveries({
  dynamo: lane.dynamo,
  tableName: lane.handlersTable,
  now: lane.clock.now,
  keptDays: retention.endedDays,
});

const circuitOf = async ({ id }: Pick<Handler, 'id'>) =>
  (await lane.store.readAll()).health.get(id)?.circuit ?? null;

/** An endpoint that is down, and up again when the test says so. */
async function startSick() {
  const health = { up: false };
  const receiver = await startReceiver((_, response) => void response.writeHead(health.up ? 204 : 503).end());
  return Object.assign(receiver, { health });
}

describe('a clock that is set back by an hour', () => {
  it.each([
    ['and stays there', false],
    ['and forward again', true],
  ])(
    '%s: all that comes in, waits, is parked, limited and recovered ends at most an hour later, and nothing early',
    async (_, comesBack) => {
      // The time that has really passed, whatever the clock was set to.
      let stepped = 0;
      const calls = new Map<string, number[]>();
      const step = (ms: number) => {
        lane.clock.advance(ms);
        stepped += ms;
      };
      await using good = await startReceiver();
      await using flaky = await startReceiver(({ headers }, response) => {
        const id = String(headers['webhook-id']);
        const times = [...(calls.get(id) ?? []), lane.clock.now().getTime() - stepped];
        calls.set(id, times);
        // Never often enough for a circuit to open.
        response.writeHead(times.length > 1 || calls.size % 3 > 0 ? 204 : 503).end();
      });
      await using sick = await startSick();
      const retry = { schedule: [waitMs / 1000, 60, 120, 300, 600] };
      const sickHandler = await lane.register({ retry, target: { url: sick.url } });
      const all = [
        sickHandler,
        await lane.register({ retry, target: { url: good.url } }),
        await lane.register({ retry, target: { url: flaky.url } }),
        await lane.register({ retry, rateLimit: { perSecond: 1 }, target: { url: good.url } }),
      ];
      const recovered = await lane.register({ events: ['order.paid'], target: { url: good.url } });
      await writeExecutions(
        { dynamo: lane.dynamo, tableName: lane.executionsTable, now: lane.clock.now },
        Array.from({ length: 20 }, (__, index) =>
          anExecution({
            handlerId: recovered.id,
            time: `2026-11-23T08:00:${String(index + 10)}.000Z`,
            state: { status: 'failed' },
          }),
        ),
      );
      const range = { from: '2026-11-23T00:00:00.000Z', to: '2026-11-23T23:59:59.999Z' };

      const queues = runQueues(lane);
      const published = await queues.publish(6);
      await queues.dispatch();
      expect(await circuitOf(sickHandler)).not.toBeNull();
      const { id } = await recoveries.start({ handlerId: recovered.id, ...range, statuses: ['failed'] });
      await queues.step();
      published.push(...(await queues.publish(2)));

      step(-hourMs);
      for (let rounds = 0; rounds < 3; rounds++) {
        published.push(...(await queues.publish(2)));
        await queues.step();
        await queues.look([...all, recovered]);
        lane.clock.advance(waitMs);
      }
      if (comesBack) step(hourMs);
      sick.health.up = true;
      const minutes = await queues.untilEnded([...all, recovered], comesBack ? 1 : 5);

      expect(minutes).toBeLessThanOrEqual(comesBack ? 30 : 60 + 30);
      expect([...queues.problems]).toEqual([]);
      for (const handler of all) {
        const executions = await lane.logOf(handler);
        expect(executions.map(({ key }) => readKey(key).eventId).toSorted()).toEqual(published.toSorted());
        expect(executions.filter(({ state }) => state.status !== 'succeeded')).toEqual([]);
      }
      for (const { state, generation } of await lane.logOf(recovered))
        expect([state.status, generation]).toEqual(['succeeded', 2]);
      expect(await recoveries.get(id)).toMatchObject({ status: 'done', released: 20 });
      expect(await circuitOf(sickHandler)).toBeNull();
      // Forward, what waits for less than an hour is due at once; back, it only waits longer.
      const waits = [...calls.values()].flatMap(([first = 0, second]) =>
        second === undefined ? [] : [second - first],
      );
      expect(waits.length).toBeGreaterThanOrEqual(published.length / 4);
      if (!comesBack) expect(Math.min(...waits)).toBeGreaterThanOrEqual(waitMs);
    },
    60_000,
  );

  it('lets a recovery have what had failed just before', async () => {
    await using sick = await startSick();
    const handler = await lane.register({ retry: { schedule: 'none' }, target: { url: sick.url } });
    await lane.dispatchSome(3);
    lane.clock.advance(-hourMs);
    const { id } = await recoveries.start({
      handlerId: handler.id,
      from: '2026-11-23T00:00:00.000Z',
      to: '2026-11-23T23:59:59.999Z',
      statuses: ['failed'],
    });
    expect(await lane.sweep(lane.coldSweeper())).toMatchObject({ released: 3, problems: [] });
    expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 3, released: 3 });
  });

  it('keeps no environment from calling a target of whose open circuit it had heard by the wrong clock', async () => {
    const answer = Promise.withResolvers<void>();
    let isUp = false;
    await using receiver = await startReceiver(async ({ body }, response) => {
      if (body.includes('"held"')) await answer.promise;
      response.writeHead(isUp ? 204 : 503).end();
    });
    const handler = await lane.register({ target: { url: receiver.url } });
    const environment = lane.coldDispatcher();
    const held = lane.dispatchAll([{ detail: { objectId: 'held', data: {} } }], environment);
    await receiver.waitForRequests(1);
    await lane.dispatchSome(6);
    expect(await circuitOf(handler)).not.toBeNull();
    // It hears so as the answer to its own failure, when its clock is an hour ahead.
    lane.clock.advance(hourMs);
    answer.resolve();
    await held;
    lane.clock.advance(-hourMs);

    isUp = true;
    lane.clock.advance(2 * minuteMs);
    expect(await lane.sweep()).toMatchObject({ probes: 1 });
    expect(await lane.retryDue()).toMatchObject({ executions: { succeeded: expect.any(Number) as number } });
    expect(await circuitOf(handler)).toBeNull();
    lane.clock.advance(1000);
    expect(await lane.dispatchAll([{}], environment)).toMatchObject({ executions: { succeeded: 1 } });
  });

  it('does not make a circuit open later: successes by the wrong clock end no streak behind them', async () => {
    let isUp = true;
    await using receiver = await startReceiver(
      (_, response) => void response.writeHead(isUp ? 204 : 503).end(),
    );
    const handler = await lane.register({ target: { url: receiver.url } });
    const environment = lane.coldDispatcher();
    await lane.dispatchAll([{}], environment);
    lane.clock.advance(-hourMs);
    isUp = false;
    for (let events = 0; events < 5; events++) await lane.dispatchAll([{}], environment);
    expect(await circuitOf(handler)).not.toBeNull();
    expect(receiver.requests).toHaveLength(1 + 5);
  });
});
