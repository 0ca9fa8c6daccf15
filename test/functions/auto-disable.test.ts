import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { Handler } from '../../shared/handlers/handler.ts';
import { startLane } from './retrier/lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const hourMs = 3_600_000;

/** A handler whose endpoint answers what the test says. */
async function aHandler(retry: Handler['retry'] = { schedule: 'none' }) {
  const endpoint = { status: 503 };
  const receiver = await lane.startReceiver((_, response) => void response.writeHead(endpoint.status).end());
  return { endpoint, receiver, handler: await lane.register({ target: { url: receiver.url }, retry }) };
}

const statusOf = async ({ id }: Pick<Handler, 'id'>) => {
  const { handler, disabledBecause } = await lane.store.get(id);
  return [handler.status, disabledBecause];
};
const told = () => lane.bus.published().map(({ DetailType }) => DetailType);

describe('a handler with nothing but failures for five days', () => {
  it('is disabled, although it hardly ever runs', async () => {
    const { handler } = await aHandler();
    for (let day = 0; day < 5; day += 1) {
      await lane.dispatch({ id: `day-${day}` });
      expect(await statusOf(handler)).toEqual(['enabled', undefined]);
      lane.clock.advance(24 * hourMs);
    }
    await lane.dispatch({ id: 'one-more' });
    expect(await statusOf(handler)).toEqual(['disabled', 'failing']);
    expect(told().filter((type) => type === 'handoff.handler.disabled')).toHaveLength(1);
    expect((await lane.dispatch({ id: 'held' })).executions).toMatchObject({ held: 1 });
  });

  it('is disabled while its circuit is open, and what is parked is held', { timeout: 120_000 }, async () => {
    const { handler, receiver } = await aHandler({ schedule: [10] });
    await lane.dispatchAll(Array.from({ length: 20 }, (_, index) => ({ id: `e-${index}` })));
    const open = await lane.logOf(handler);
    expect(open.some(({ state }) => state.status === 'waiting' && state.reason === 'circuit')).toBe(true);

    for (let hour = 0; hour < 5 * 24 + 2; hour += 2) {
      lane.clock.advance(2 * hourMs);
      await lane.sweep();
      await lane.retryDue();
    }
    await lane.sweep();
    await lane.retryDue();

    expect(await statusOf(handler)).toEqual(['disabled', 'failing']);
    const states = (await lane.logOf(handler)).map(({ state }) => state);
    expect(states.filter(({ status }) => status === 'waiting')).toEqual([]);
    expect(states).toContainEqual({ status: 'held', reason: 'disabled' });
    expect(
      told().filter((type) => type.startsWith('handoff.handler') || type.startsWith('handoff.circuit')),
    ).toEqual(['handoff.circuit.opened', 'handoff.handler.disabled']);
    expect(receiver.requests.length).toBeLessThan(250);
  });
});

describe('a handler', () => {
  it.each([200, 404])('that has answered %i in between is not disabled', async (answer) => {
    const { endpoint, handler } = await aHandler();
    for (let day = 0; day < 8; day += 1) {
      endpoint.status = day === 4 ? answer : 503;
      await lane.dispatch({ id: `day-${day}` });
      lane.clock.advance(24 * hourMs);
    }
    expect(await statusOf(handler)).toEqual(['enabled', undefined]);
  });

  it('is never disabled where the setting says so', async () => {
    const { handler } = await aHandler();
    for (let day = 0; day < 8; day += 1) {
      await lane.dispatch({ id: `day-${day}` }, { AUTO_DISABLE_DAYS: '0' });
      lane.clock.advance(24 * hourMs);
    }
    expect(await statusOf(handler)).toEqual(['enabled', undefined]);
  });
});

describe('a circuit', () => {
  it('is told when it opens and when it closes, each once', async () => {
    const { endpoint, handler } = await aHandler({ schedule: [10] });
    await lane.dispatchAll(Array.from({ length: 20 }, (_, index) => ({ id: `e-${index}` })));
    endpoint.status = 200;
    for (let minute = 0; minute < 5; minute += 1) {
      lane.clock.advance(70_000);
      await lane.sweep();
      await lane.retryDue();
    }
    const circuits = lane.bus
      .published()
      .filter(({ DetailType }) => DetailType.startsWith('handoff.circuit'));
    expect(circuits.map(({ DetailType }) => DetailType)).toEqual([
      'handoff.circuit.opened',
      'handoff.circuit.closed',
    ]);
    expect(circuits.map(({ Detail }) => JSON.parse(Detail) as unknown)).toMatchObject(
      circuits.map(() => ({
        objectId: handler.id,
        data: { handlerId: handler.id, handlerName: handler.name },
      })),
    );
  });

  it('is not told when events about Handoff itself have opened it', async () => {
    const { receiver } = await aHandler();
    const own = { source: 'handoff', type: 'handoff.execution.failed' };
    await lane.register({ events: [own.type], target: { url: receiver.url }, retry: { schedule: [10] } });
    await lane.dispatchAll(Array.from({ length: 20 }, (_, index) => ({ ...own, id: `e-${index}` })));
    expect(told()).toEqual([]);
  });
});
