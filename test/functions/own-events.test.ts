import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { zodProblems } from '../../shared/catalogue/detail-problem.ts';
import { handoffEvents } from '../../shared/catalogue/handoff-events.ts';
import { startLane } from './retrier/lane.ts';

const lane = await startLane();
afterEach(async () => {
  // Whatever is told is what the documents say of it.
  for (const { DetailType, Detail } of lane.bus.published()) {
    const type = handoffEvents.find(({ name }) => name === DetailType);
    if (type === undefined) throw new Error(`Nobody has described ${DetailType}.`);
    expect(zodProblems(type.detail, JSON.parse(Detail))).toEqual([]);
  }
  await lane.clear();
});
afterAll(() => lane[Symbol.asyncDispose]());

/** An endpoint that answers with these statuses, the last one for ever. */
async function startEndpoint(...statuses: number[]) {
  const left = [...statuses];
  const next = () => (left.length > 1 ? left.shift() : left[0]) ?? 200;
  const receiver = await lane.startReceiver((_, response) => void response.writeHead(next()).end());
  return receiver;
}

const told = () =>
  lane.bus.published().map(({ Source, DetailType, EventBusName, Detail }) => ({
    Source,
    DetailType,
    EventBusName,
    ...(JSON.parse(Detail) as { objectId: unknown; data: Record<string, unknown> }),
  }));

describe('an execution that fails for good', () => {
  it('is told on the bus, with what somebody needs to react to it', async () => {
    const { url } = await startEndpoint(404);
    const handler = await lane.register({ name: 'CRM sync', target: { url } });
    await lane.dispatch({ id: 'e-1', detail: { objectId: 12, data: {} } });
    expect(told()).toEqual([
      {
        Source: 'handoff',
        DetailType: 'handoff.execution.failed',
        EventBusName: 'handoff',
        objectId: 12,
        data: {
          executionId: expect.stringMatching(/^x_/u) as string,
          handlerId: handler.id,
          handlerName: 'CRM sync',
          eventId: 'e-1',
          event: 'client.create',
          attemptCount: 1,
          statusCode: 404,
          error: 'http: status 404',
        },
      },
    ]);
  });

  it('is told after its last attempt, and not before', async () => {
    const { url } = await startEndpoint(503);
    await lane.register({ target: { url }, retry: { schedule: [10, 10] } });
    await lane.dispatch();
    lane.clock.advance(11_000);
    await lane.retryDue();
    expect(told()).toEqual([]);
    lane.clock.advance(11_000);
    await lane.retryDue();
    expect(told()).toMatchObject([{ DetailType: 'handoff.execution.failed', data: { attemptCount: 3 } }]);
  });

  it('is not told when a person has ended it', async () => {
    const { url } = await startEndpoint(503);
    const handler = await lane.register({ target: { url }, retry: { schedule: [3600] } });
    await lane.dispatch();
    await lane.store.remove(handler.id, 1);
    await lane.sweep();
    await lane.retryDue();
    expect((await lane.logOf(handler))[0]?.state).toEqual({ status: 'failed', reason: 'deleted' });
    expect(told()).toEqual([]);
  });

  it('is settled and acknowledged although nobody could be told', async () => {
    const { url } = await startEndpoint(404);
    await lane.register({ target: { url } });
    lane.bus.refuse();
    const report = await lane.dispatch();
    expect(report).toMatchObject({ failedMessageIds: [], executions: { failed: 1 } });
    expect(report.problems.join()).toContain('The bus did not take handoff.execution.failed');
  });
});

describe('a handler that its endpoint has disabled', () => {
  it('is told once, however many calls have had that answer', async () => {
    const { url } = await startEndpoint(410);
    const handler = await lane.register({ name: 'CRM sync', target: { url } });
    await Promise.all(['e-1', 'e-2', 'e-3'].map((id) => lane.dispatch({ id })));
    expect(told()).toMatchObject([
      {
        Source: 'handoff',
        DetailType: 'handoff.handler.disabled',
        objectId: handler.id,
        data: { handlerId: handler.id, handlerName: 'CRM sync', because: 'gone' },
      },
    ]);
  });
});

describe('what is done for such an event', () => {
  const own = { source: 'handoff', type: 'handoff.execution.failed' };
  const register = (status: number) =>
    startEndpoint(status).then(({ url }) =>
      lane.register({ events: [own.type], target: { url }, retry: { schedule: [10] } }),
    );

  it.each([404, 410])('is not told: %i', async (status) => {
    const handler = await register(status);
    await lane.dispatch(own);
    expect((await lane.logOf(handler))[0]?.state.status).toBe(status === 410 ? 'held' : 'failed');
    expect(told()).toEqual([]);
  });

  it('is not told after a later attempt, either', async () => {
    const handler = await register(503);
    await lane.dispatch(own);
    lane.clock.advance(11_000);
    await lane.retryDue();
    expect((await lane.logOf(handler))[0]?.state.status).toBe('failed');
    expect(told()).toEqual([]);
  });

  it('is told when somebody else has put it on the bus: the source says whose it is, not the name', async () => {
    await register(404);
    await lane.dispatch({ ...own, source: 'somebody' });
    expect(told()).toHaveLength(1);
  });
});
