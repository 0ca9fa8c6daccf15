import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { anEvent } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { startReceiver } from '../../support/http-server.ts';
import { aMessage, startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
});
afterEach(() => dispatcher.clear());
afterAll(() => dispatcher[Symbol.asyncDispose]());

/** New events, each of its own id. */
function someMessages(count: number, type = 'client.create') {
  const now = new Date();
  return Array.from({ length: count }, () =>
    aMessage({ body: anEvent({ type, time: now.toISOString() }), sentAt: now }),
  );
}

/** How many executions of a handler there are of each status and reason. */
async function statesOf({ id }: { id: string }): Promise<Record<string, number>> {
  const states: Record<string, number> = {};
  for (const { status, reason } of await dispatcher.rowsOf(`${id}#0`)) {
    const state = `${status as string}/${(reason ?? 'none') as string}`;
    states[state] = (states[state] ?? 0) + 1;
  }
  return states;
}

const healthOf = async ({ id }: { id: string }) => (await dispatcher.store.readAll()).health.get(id) ?? null;

describe('events to an endpoint that has just died', () => {
  // test/scale/circuit.test.ts has 2,000 of them, and the other ways to be dead.
  it('cost a few attempts for each environment that gets some at the same time', async () => {
    await using dead = await startReceiver((_, response) => void response.writeHead(503).end());
    const handler = await dispatcher.register({ target: { url: dead.url } });
    await Promise.all(Array.from({ length: 10 }, () => dispatcher.dispatch(someMessages(20))));
    expect(dead.requests.length).toBeLessThanOrEqual(10 + 4);
    expect((await statesOf(handler))['waiting/circuit']).toBe(200 - dead.requests.length);
  });

  it('cost no more where they come in 32 batches to one environment that it answered a moment ago', async () => {
    let isUp = true;
    await using receiver = await startReceiver(
      (_, response) => void response.writeHead(isUp ? 204 : 503).end(),
    );
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const services = dispatcher.coldStart();
    await dispatcher.dispatch(someMessages(100), { services });
    isUp = false;
    await Promise.all(Array.from({ length: 32 }, () => dispatcher.dispatch(someMessages(50), { services })));
    expect(receiver.requests.length).toBeLessThanOrEqual(100 + 300);
    expect((await healthOf(handler))?.circuit).not.toBeNull();
  });
});

describe('a circuit', () => {
  /** An endpoint that answers with the next of these statuses, and at the end with the last one. */
  const startAnswering = (...statuses: number[]) =>
    startReceiver((_, response) => {
      response.writeHead((statuses.length > 1 ? statuses.shift() : statuses[0]) ?? 204).end();
    });

  it('opens at the fifth failure in a row, over all environments, and what comes then is parked without a call', async () => {
    await using receiver = await startAnswering(503);
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    for (const streak of [1, 2, 3, 4]) {
      await dispatcher.dispatch(someMessages(1));
      expect(await healthOf(handler)).toMatchObject({ streak, circuit: null });
    }
    await dispatcher.dispatch(someMessages(1));
    expect(await healthOf(handler)).toMatchObject({ streak: 5, circuit: { failedProbes: 0, probe: null } });

    expect(await dispatcher.dispatch(someMessages(3))).toMatchObject({ executions: { waiting: 3 } });
    expect(receiver.requests).toHaveLength(5);
    expect(await statesOf(handler)).toEqual({ 'waiting/retry': 5, 'waiting/circuit': 3 });
  });

  it('is known within a second to an environment that had no failure itself', async () => {
    await using receiver = await startAnswering(204, 503);
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const clock = createClock(new Date().toISOString());
    const services = dispatcher.coldStart({}, clock);
    await dispatcher.dispatch(someMessages(1), { services });
    await dispatcher.dispatch(someMessages(9));
    expect(receiver.requests).toHaveLength(1 + 5);
    const seen = async () => (await services.currentRegistry()).find(handler.id);
    clock.advance(999);
    expect(await seen()).toMatchObject({ health: null });
    clock.advance(1);
    expect(await seen()).toMatchObject({ health: { circuit: {} } });
    await dispatcher.dispatch(someMessages(1), { services });
    expect(receiver.requests).toHaveLength(1 + 5);
  });

  it.each([[204], [404], [302]])(
    'does not open where a %i comes after each fourth failure',
    async (alive) => {
      await using receiver = await startAnswering(
        ...Array.from({ length: 3 }, () => [503, 503, 503, 503, alive]).flat(),
      );
      const handler = await dispatcher.register({ target: { url: receiver.url } });
      const services = dispatcher.coldStart();
      for (let events = 0; events < 15; events++) await dispatcher.dispatch(someMessages(1), { services });
      expect(receiver.requests).toHaveLength(15);
      expect(await healthOf(handler)).toBeNull();
    },
  );

  it('does not count failures before a success of the same environment', async () => {
    await using receiver = await startAnswering(503, 503, 204, 503);
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const other = dispatcher.coldStart();
    await dispatcher.dispatch(someMessages(2), { services: other });
    // This environment has not heard of those two, so its success ends them when it has a failure to tell.
    const services = dispatcher.coldStart();
    await services.currentRegistry();
    await dispatcher.dispatch(someMessages(2), { services });
    expect(await healthOf(handler)).toMatchObject({ streak: 1 });
  });

  it('opens when 16 of the last 20 calls of one environment failed', async () => {
    const pattern = Array.from({ length: 4 }, () => [204, 503, 503, 503, 503]).flat();
    await using receiver = await startAnswering(...pattern, 204);
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const services = dispatcher.coldStart();
    for (let events = 0; events < 20; events++) await dispatcher.dispatch(someMessages(1), { services });
    expect((await healthOf(handler))?.circuit).not.toBeNull();
    await dispatcher.dispatch(someMessages(1), { services });
    expect(receiver.requests).toHaveLength(20);
  });

  it('is none where circuits are switched off', async () => {
    await using receiver = await startAnswering(503);
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const services = dispatcher.coldStart({ CIRCUITS: 'false' });
    await dispatcher.dispatch(someMessages(20), { services });
    expect(receiver.requests).toHaveLength(20);
    expect(await statesOf(handler)).toEqual({ 'waiting/retry': 20 });
    expect(await healthOf(handler)).toBeNull();
  });

  it('is none where nobody could be told of the failures: the batch is done all the same', async () => {
    await using receiver = await startAnswering(503);
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    dispatcher.wire.refuse(({ text }) => text.includes('#HEALTH'));
    const report = await dispatcher.dispatch(someMessages(3));
    expect(report).toMatchObject({ failedMessageIds: [], executions: { waiting: 3 } });
    expect(report.problems).toEqual([expect.stringContaining('not today')]);
    expect(await statesOf(handler)).toEqual({ 'waiting/retry': 3 });
  });

  it('counts a failure once, although the answer to its report was lost', async () => {
    await using receiver = await startAnswering(503);
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    let lost = 0;
    dispatcher.wire.interceptAnswer(({ operation, text }) =>
      operation === 'UpdateItem' && text.includes('#HEALTH') && ++lost === 1
        ? { status: 500, body: { __type: 'InternalServerError', message: 'lost' } }
        : null,
    );
    expect(await dispatcher.dispatch(someMessages(1))).toMatchObject({ problems: [] });
    expect(lost).toBeGreaterThan(1);
    expect(await healthOf(handler)).toMatchObject({ streak: 1 });
  });

  it('costs two calls for the failures of a whole batch that come together', async () => {
    let held: (() => void)[] = [];
    let isUp = true;
    await using receiver = await startReceiver((_, response) => {
      if (isUp) response.writeHead(204).end();
      else {
        held.push(() => void response.writeHead(503).end());
        if (held.length === 17) for (const answer of held.splice(0)) answer();
      }
    });
    await dispatcher.register({ target: { url: receiver.url } });
    const services = dispatcher.coldStart();
    await dispatcher.dispatch(someMessages(3), { services });
    isUp = false;
    held = [];
    dispatcher.wire.reset();
    await dispatcher.dispatch(someMessages(17), { services });
    const told = dispatcher.wire.calls().filter(({ text }) => text.includes('#HEALTH'));
    expect(told.length).toBeLessThanOrEqual(4);
  });
});

describe('an endpoint that hangs', () => {
  it.each(['false', 'true'])(
    'is cut off from its batch after a moment, and from the next ones at once (circuits: %s)',
    async (CIRCUITS) => {
      await using hanging = await startReceiver(() => undefined);
      await using healthy = await startReceiver();
      const slow = await dispatcher.register({ target: { url: hanging.url, timeoutMs: 5000 } });
      await dispatcher.register({ events: ['client.update'], target: { url: healthy.url } });
      const services = dispatcher.coldStart({ CIRCUITS });
      const first = dispatcher.dispatch(someMessages(50), { services });
      // All but the one that asks are in the log while it still hangs.
      await expect.poll(() => statesOf(slow), { timeout: 4500 }).toEqual({ 'waiting/busy': 49 });
      expect(hanging.requests.length).toBe(1);

      const next = await dispatcher.dispatch([...someMessages(10), ...someMessages(10, 'client.update')], {
        services,
      });
      expect(next).toMatchObject({ executions: { waiting: 10, succeeded: 10 } });
      expect(hanging.requests.length).toBe(1);
      expect(await first).toMatchObject({ executions: { waiting: 50 } });
      for (const record of await dispatcher.rowsOf(`${slow.id}#0`)) {
        if (record['reason'] === 'busy') expect(record).toMatchObject({ attemptCount: 0, putOffs: 1 });
      }
    },
  );
});
