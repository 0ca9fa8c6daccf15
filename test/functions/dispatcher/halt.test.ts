import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { keyToString } from '../../../shared/executions/key.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { anEvent } from '../../support/builders.ts';
import { startLane } from '../retrier/lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const halted = { status: 'held', reason: 'halted' };
const succeeded = { status: 'succeeded' };

/** An endpoint with a path for each handler. `down` are those that answer 503. */
async function startEndpoint() {
  const down = new Set<string>();
  const receiver = await lane.startReceiver(
    ({ path }, response) => void response.writeHead(down.has(path) ? 503 : 200).end(),
  );
  const register = (path: string, priority: number, more: Partial<Handler> = {}) =>
    lane.register({
      name: path,
      priority,
      retry: { schedule: [10] },
      target: { url: receiver.url + path },
      ...more,
    });
  return { down, register, paths: () => receiver.requests.map(({ path }) => path) };
}

const stateOf = async (handler: Pick<Handler, 'id'>) => (await lane.logOf(handler))[0]?.state;

/** Stores a handler as an edit would. */
async function edit({ id }: Pick<Handler, 'id'>, changes: Partial<Handler>): Promise<void> {
  const { handler, sealedSecrets } = await lane.store.get(id);
  const { version } = handler;
  await lane.store.replace(
    { handler: { ...handler, ...changes, version: version + 1 }, sealedSecrets },
    version,
  );
}

/** Lets the next attempt of what waits come due, and makes it. */
async function retryLater() {
  lane.clock.advance(11_000);
  return lane.retryDue();
}

describe('behind a handler that halts and has not succeeded', () => {
  it('all later ones are held, and run in their order when it has', async () => {
    const { down, register, paths } = await startEndpoint();
    down.add('/first');
    const first = await register('/first', 1, { onFailure: 'halt' });
    const second = await register('/second', 2);
    const third = await register('/third', 3);

    expect(await lane.dispatch()).toMatchObject({ executions: { waiting: 1, held: 2 }, problems: [] });
    expect([await stateOf(second), await stateOf(third)]).toEqual([halted, halted]);
    expect(paths()).toEqual(['/first']);

    down.clear();
    expect(await retryLater()).toMatchObject({ executions: { succeeded: 1 }, problems: [] });
    expect(await lane.dispatchSentAgain()).toMatchObject({ executions: { succeeded: 2 }, problems: [] });

    expect(paths()).toEqual(['/first', '/first', '/second', '/third']);
    for (const handler of [first, second, third]) expect(await stateOf(handler)).toEqual(succeeded);
    expect((await lane.logOf(second))[0]).toMatchObject({ attemptCount: 1, generation: 1 });
  });

  it('equal ones run beside it', async () => {
    const { down, register } = await startEndpoint();
    down.add('/halting');
    await register('/halting', 5, { onFailure: 'halt' });
    const beside = await register('/beside', 5);
    const later = await register('/later', 6);
    await lane.dispatch();
    expect([await stateOf(beside), await stateOf(later)]).toEqual([succeeded, halted]);
  });

  it('they stay held when it fails for good', async () => {
    const { down, register, paths } = await startEndpoint();
    down.add('/halting');
    const halting = await register('/halting', 1, { onFailure: 'halt' });
    const later = await register('/later', 2);
    await lane.dispatch();
    await retryLater();
    expect(await stateOf(halting)).toMatchObject({ status: 'failed' });
    expect(await stateOf(later)).toEqual(halted);
    expect(lane.queues.events.counts().visible).toBe(0);
    expect(paths()).toEqual(['/halting', '/halting']);
  });

  it('the next one that halts and fails holds the rest of them', async () => {
    const { down, register, paths } = await startEndpoint();
    down.add('/one').add('/two');
    await register('/one', 1, { onFailure: 'halt' });
    const two = await register('/two', 2, { onFailure: 'halt' });
    const three = await register('/three', 3);
    await lane.dispatch();
    down.delete('/one');
    await retryLater();
    expect(await lane.dispatchSentAgain()).toMatchObject({ executions: { waiting: 1 }, problems: [] });
    expect([await stateOf(two), await stateOf(three)]).toEqual([
      expect.objectContaining({ status: 'waiting' }),
      halted,
    ]);

    down.clear();
    await retryLater();
    await lane.dispatchSentAgain();
    expect(await stateOf(three)).toEqual(succeeded);
    expect(paths()).toEqual(['/one', '/one', '/two', '/two', '/three']);
  });

  it('one that is disabled is held for that, and not run when the others are', async () => {
    const { down, register, paths } = await startEndpoint();
    down.add('/halting');
    await register('/halting', 1, { onFailure: 'halt' });
    const off = await register('/off', 2, { status: 'disabled' });
    const switched = await register('/switched', 2);
    await lane.dispatch();
    expect([await stateOf(off), await stateOf(switched)]).toEqual([
      { status: 'held', reason: 'disabled' },
      halted,
    ]);

    await edit(switched, { status: 'disabled' });
    down.clear();
    await retryLater();
    await lane.dispatchSentAgain();
    expect(await stateOf(switched)).toEqual({ status: 'held', reason: 'disabled' });
    expect(paths()).toEqual(['/halting', '/halting']);
  });
});

describe('a handler that halts', () => {
  it('halts nobody while it is disabled', async () => {
    const { register } = await startEndpoint();
    await register('/halting', 1, { onFailure: 'halt', status: 'disabled' });
    const later = await register('/later', 2);
    await lane.dispatch();
    expect(await stateOf(later)).toEqual(succeeded);
  });

  it('halts nobody when it succeeds at once', async () => {
    const { register, paths } = await startEndpoint();
    await register('/halting', 1, { onFailure: 'halt' });
    await register('/later', 2);
    expect(await lane.dispatch()).toMatchObject({ executions: { succeeded: 2 } });
    expect(paths()).toEqual(['/halting', '/later']);
    expect(lane.queues.events.counts().visible).toBe(0);
  });

  it('halts one event and no other', async () => {
    const { down, register } = await startEndpoint();
    down.add('/halting');
    await register('/halting', 1, { onFailure: 'halt' });
    const later = await register('/later', 2);
    await lane.dispatch();
    down.clear();
    await lane.dispatch({ id: 'e-2' });
    expect((await lane.logOf(later)).map(({ state }) => state.status).toSorted()).toEqual([
      'held',
      'succeeded',
    ]);
  });
});

describe('going on', () => {
  /** One that halts, has failed once and is up again, and one behind it. */
  async function aHaltedEvent() {
    const endpoint = await startEndpoint();
    endpoint.down.add('/halting');
    const halting = await endpoint.register('/halting', 1, { onFailure: 'halt' });
    const later = await endpoint.register('/later', 2);
    await lane.dispatch();
    endpoint.down.clear();
    return { ...endpoint, halting, later };
  }

  it('is not lost when the events queue does not take the event: the wake-up call comes again', async () => {
    const { halting, later, paths } = await aHaltedEvent();
    lane.clock.advance(11_000);
    const retrier = lane.coldRetrier();
    const refused = {
      ...retrier,
      requeue: async () => ({ unsent: [{ index: 0, error: new Error('not today') }] }),
    };
    const report = await lane.retryDue(refused);
    expect(report).toMatchObject({ problems: ['Error: not today'] });
    expect(report.failedMessageIds).toHaveLength(1);
    expect(await stateOf(halting)).toEqual(succeeded);

    lane.clock.advance(20 * 60_000);
    expect(await lane.retryDue()).toMatchObject({ messages: 1, stale: 1, problems: [] });
    await lane.dispatchSentAgain();
    expect(await stateOf(later)).toEqual(succeeded);
    expect(paths()).toEqual(['/halting', '/halting', '/later']);
  });

  it('calls nobody twice when the event is sent twice', async () => {
    const { halting, paths } = await aHaltedEvent();
    await retryLater();
    const [record] = await lane.logOf(halting);
    await lane.wake(record ?? expect.unreachable('it is in the log'));
    await lane.retryDue();
    expect(lane.queues.events.counts().visible).toBe(2);
    expect(await lane.dispatchSentAgain()).toMatchObject({ executions: { succeeded: 1 }, problems: [] });
    expect(await lane.dispatchSentAgain()).toMatchObject({ messages: 0 });
    expect(paths()).toEqual(['/halting', '/halting', '/later']);
  });

  it('does not depend on a look at the log that lags behind', async () => {
    const { halting, later, paths } = await aHaltedEvent();
    await retryLater();
    const [{ key } = expect.unreachable('it is in the log')] = await lane.logOf(halting);
    // BatchGetItem reads what was there a moment ago.
    const report = await lane.dispatchSentAgain(({ executionLog }) => ({
      executionLog: {
        ...executionLog,
        findRecorded: async (keys) =>
          (await executionLog.findRecorded(keys)).set(keyToString(key), {
            status: 'waiting',
            reason: 'retry',
          }),
      },
    }));
    expect(report).toMatchObject({ executions: { succeeded: 0, held: 0 }, problems: [] });
    expect(await stateOf(later)).toEqual(halted);

    await lane.dispatchSentAgain();
    expect(await stateOf(later)).toEqual(succeeded);
    expect(paths()).toEqual(['/halting', '/halting', '/later']);
  });

  it('comes back when it cannot be seen whether there is anything to go on with', async () => {
    const { down } = await aHaltedEvent();
    down.add('/halting');
    const sent = [
      {
        body: anEvent({ id: 'e-3', time: lane.clock.now().toISOString() }),
        attributes: { sentAt: lane.clock.now().toISOString() },
      },
    ];
    await lane.queues.events.send(sent);
    const report = await lane.dispatchSentAgain(({ executionLog }) => ({
      executionLog: { ...executionLog, statusOf: () => Promise.reject(new Error('down')) },
    }));
    expect(report).toMatchObject({ problems: ['Error: down'] });
    expect(report.failedMessageIds).toHaveLength(1);
  });

  it('finds the executions of an event whose own time is far off', async () => {
    const endpoint = await startEndpoint();
    endpoint.down.add('/halting');
    await endpoint.register('/halting', 1, { onFailure: 'halt' });
    const later = await endpoint.register('/later', 2);
    await lane.dispatch({ time: '2001-01-01T00:00:00Z' });
    endpoint.down.clear();
    await retryLater();
    await lane.dispatchSentAgain();
    const records = await lane.logOf(later);
    expect(records.map(({ state }) => state)).toEqual([succeeded]);
  });
});
