import { GetCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import type { Handler, HandlerStatus } from '../../../shared/handlers/handler.ts';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from '../retrier/lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const minuteMs = 60_000;
const schedule = [5 * 3600];

/** What a handler was stopped by. */
type Stop = Exclude<HandlerStatus, 'enabled'> | 'deleted';

/** Changes a handler as the API would. */
async function stop({ id }: Pick<Handler, 'id'>, how: Stop | 'enabled'): Promise<void> {
  const { handler, sealedSecrets } = await lane.store.get(id);
  const { version } = handler;
  if (how === 'deleted') return lane.store.remove(id, version);
  const updatedAt = lane.clock.now().toISOString();
  return lane.store.replace(
    { handler: { ...handler, status: how, version: version + 1, updatedAt }, sealedSecrets },
    version,
  );
}

/** A handler whose endpoint is down, with one execution that waits for hours. */
async function aWaitingHandler(type = 'client.create') {
  await using receiver = await startReceiver((_, response) => void response.writeHead(503).end());
  const handler = await lane.register({ events: [type], target: { url: receiver.url }, retry: { schedule } });
  expect((await lane.dispatch({ type })).executions).toMatchObject({ waiting: 1 });
  return handler;
}

const stateOf = async (handler: Pick<Handler, 'id'>) => (await lane.logOf(handler)).map(({ state }) => state);

/** Its item in the table, whatever is left of it. */
const itemOf = async ({ id }: Pick<Handler, 'id'>) => {
  const Key = { pk: 'HANDLER', sk: id };
  const { Item } = await lane.dynamo.send(new GetCommand({ TableName: lane.handlersTable, Key }));
  return Item;
};

describe('what waits for a handler that was stopped', () => {
  it.each([
    ['disabled', { status: 'held', reason: 'disabled' }],
    ['archived', { status: 'failed', reason: 'archived' }],
    ['deleted', { status: 'failed', reason: 'deleted' }],
  ] as const)('is settled within a sweep, hours before its time: %s', async (how, state) => {
    const handler = await aWaitingHandler();
    await stop(handler, how);

    expect(await lane.sweep()).toMatchObject({ hurried: 1, problems: [] });
    await lane.retryDue();

    expect(await stateOf(handler)).toEqual([state]);
    const [record] = await lane.logOf(handler);
    expect(record).toMatchObject({ attemptCount: 1, generation: 1 });
    expect(await lane.sweep()).toMatchObject({ hurried: 0, problems: [] });
  });

  it('is left alone when the handler runs again before the sweep', async () => {
    const handler = await aWaitingHandler();
    const [before] = await lane.logOf(handler);
    await stop(handler, 'disabled');
    await stop(handler, 'enabled');
    expect(await lane.sweep()).toMatchObject({ hurried: 0, problems: [] });
    expect(await lane.logOf(handler)).toEqual([before]);
  });

  it('is left alone when the handler runs again before the call comes', async () => {
    const handler = await aWaitingHandler();
    const [before] = await lane.logOf(handler);
    await stop(handler, 'disabled');
    await lane.sweep();
    await stop(handler, 'enabled');
    expect(await lane.retryDue()).toMatchObject({ messages: 1, stale: 1 });
    expect(await lane.logOf(handler)).toEqual([before]);
  });

  it('does not touch what waits for others', async () => {
    const stopped = await aWaitingHandler();
    const other = await aWaitingHandler('account.create');
    const before = await lane.logOf(other);
    await stop(stopped, 'disabled');
    await lane.sweep();
    await lane.retryDue();
    expect(await lane.logOf(other)).toEqual(before);
  });

  it('is found in pages, however much it is', async () => {
    const handler = await aWaitingHandler();
    // With its circuit they would be parked, and found in another way.
    for (let event = 0; event < 60; event += 1) {
      await lane.dispatch({ id: `more-${event}` }, { CIRCUITS: 'false' });
    }
    await stop(handler, 'deleted');
    expect(await lane.sweep()).toMatchObject({ hurried: 61, problems: [] });
    await lane.retryDue();
    await lane.retryDue();
    expect(new Set((await stateOf(handler)).map(({ status }) => status))).toEqual(new Set(['failed']));
  });
});

describe('what is held', () => {
  it.each(['archived', 'deleted'] as const)('ends when nobody can recover it any more: %s', async (how) => {
    const handler = await lane.register({ status: 'disabled' });
    expect((await lane.dispatch()).executions).toMatchObject({ held: 1 });
    await stop(handler, how);
    expect(await lane.sweep()).toMatchObject({ ended: 1, problems: [] });
    expect(await stateOf(handler)).toEqual([{ status: 'failed', reason: how }]);
  });

  it('stays while its handler is only disabled', async () => {
    const handler = await lane.register({ status: 'disabled' });
    await lane.dispatch();
    expect(await lane.sweep()).toMatchObject({ ended: 0, hurried: 0, problems: [] });
    expect(await stateOf(handler)).toEqual([{ status: 'held', reason: 'disabled' }]);
  });
});

describe('a stopped handler', () => {
  it('is seen to until no call of before can be under way any more', async () => {
    const handler = await aWaitingHandler();
    await stop(handler, 'disabled');
    await lane.sweep();
    await lane.retryDue();
    lane.clock.advance(3 * minuteMs);
    await lane.sweep();
    expect(await itemOf(handler)).toMatchObject({ settling: true });
    lane.clock.advance(minuteMs);
    await lane.sweep();
    expect(await itemOf(handler)).not.toHaveProperty('settling');
    expect(await lane.store.get(handler.id)).toMatchObject({ handler: { status: 'disabled' } });
  });

  it('that was deleted leaves nothing behind in the end', async () => {
    const handler = await aWaitingHandler();
    await stop(handler, 'deleted');
    await expect(lane.store.get(handler.id)).rejects.toThrow('no handler');
    expect(await itemOf(handler)).toMatchObject({ settling: true });
    lane.clock.advance(4 * minuteMs);
    await lane.sweep();
    expect(await itemOf(handler)).toBeUndefined();
  });

  it('that is changed meanwhile keeps its mark', async () => {
    const handler = await aWaitingHandler();
    await stop(handler, 'disabled');
    const { settling } = await lane.store.readAll();
    await stop(handler, 'archived');
    await lane.store.settled(settling[0] ?? expect.unreachable('it is marked'));
    expect((await lane.store.readAll()).settling).toMatchObject([{ id: handler.id, status: 'archived' }]);
  });

  it('costs a sweep nothing any more when it is seen to', async () => {
    const handler = await aWaitingHandler();
    await stop(handler, 'archived');
    lane.clock.advance(4 * minuteMs);
    await lane.sweep();
    await lane.sweep();
    const calls: string[] = [];
    lane.wire.intercept(({ operation, input }) => {
      if (input['TableName'] === lane.handlersTable) calls.push(operation);
      return null;
    });
    await lane.sweep();
    // The revision of the handlers, and whether a recovery is running.
    expect(calls.toSorted()).toEqual(['GetItem', 'Query']);
  });
});

describe('an endpoint that is gone', () => {
  const startGone = (headers: Record<string, string> = {}, status = 410) =>
    startReceiver((_, response) => void response.writeHead(status, headers).end('gone'));

  it.each([
    ['410', {}, 410],
    ['its header', { 'webhook-delivery': 'disable' }, 503],
  ])('disables its handler, and what it refused is held with the rest: %s', async (_, headers, status) => {
    await using receiver = await startGone(headers, status);
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule } });
    expect((await lane.dispatch()).executions).toMatchObject({ held: 1 });
    expect((await lane.dispatch({ id: 'e-2' })).executions).toMatchObject({ held: 1 });

    expect(receiver.requests).toHaveLength(1);
    expect(await lane.store.get(handler.id)).toMatchObject({
      handler: { status: 'disabled', version: 2 },
      disabledBecause: 'gone',
    });
    const records = await lane.logOf(handler);
    expect(records.map(({ state }) => state)).toEqual([
      { status: 'held', reason: 'disabled' },
      { status: 'held', reason: 'disabled' },
    ]);
    expect(records.map(({ attemptCount }) => attemptCount).toSorted()).toEqual([0, 1]);
  });

  it('disables it from a later attempt, too, and holds what waits', async () => {
    const answers = [503, 503, 410];
    await using receiver = await startReceiver(
      (_, response) => void response.writeHead(answers.shift() ?? 500).end(),
    );
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10, 20] } });
    await lane.dispatch();
    lane.clock.advance(1000);
    await lane.dispatch({ id: 'e-2' });
    lane.clock.advance(9200);
    await lane.retryDue();
    expect((await lane.store.get(handler.id)).handler.status).toBe('disabled');
    await lane.sweep();
    await lane.retryDue();
    expect(await stateOf(handler)).toEqual([
      { status: 'held', reason: 'disabled' },
      { status: 'held', reason: 'disabled' },
    ]);
  });

  it('says nothing about the endpoint that an edit has put in its place', async () => {
    const handler = await lane.register({ target: { url: 'https://replaced.example' }, retry: { schedule } });
    await using receiver = await startReceiver(async (_, response) => {
      await stop(handler, 'enabled');
      response.writeHead(410).end();
    });
    const { handler: current, sealedSecrets } = await lane.store.get(handler.id);
    await lane.store.replace(
      {
        handler: { ...current, version: 2, target: { ...handler.target, url: receiver.url } },
        sealedSecrets,
      },
      1,
    );
    expect((await lane.dispatch()).executions).toMatchObject({ waiting: 1 });
    expect((await lane.store.get(handler.id)).handler.status).toBe('enabled');
  });

  it('that says so to several calls at once is believed once', async () => {
    await using receiver = await startGone();
    const handler = await lane.register({ target: { url: receiver.url } });
    const { id, version } = handler;
    const answers = await Promise.all([1, 2, 3].map(() => lane.store.disable({ id, version }, 'gone')));
    expect(answers.toSorted()).toEqual(['already', 'already', 'disabled']);
    expect((await lane.store.get(id)).handler.version).toBe(2);
  });
});
