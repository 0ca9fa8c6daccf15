import { DeleteCommand, paginateScan } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, expect, it } from 'vitest';
import { createReopener } from '../../../shared/executions/reopen.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { startApi } from '../api/api.ts';
import { startLane } from '../retrier/lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const dayMs = 86_400_000;

/** Three handlers of one event: the second halts, and fails the first time. */
async function aChain({ first = 503 } = {}) {
  const receiver = await lane.startReceiver(({ path }, response) => {
    const calls = receiver.requests.filter((request) => request.path === path).length;
    response.writeHead(path === '/halting' && calls === 1 ? first : 204).end();
  });
  const register = (path: string, priority: number, more: Partial<Handler> = {}) =>
    lane.register({ priority, target: { url: receiver.url + path }, ...more });
  return {
    before: await register('/before', 1),
    halting: await register('/halting', 2, { onFailure: 'halt', retry: { schedule: [10] } }),
    behind: await register('/behind', 3),
    paths: () => receiver.requests.map(({ path }) => path),
  };
}
const once = ['/before', '/halting', '/halting', '/behind'];

const stateOf = async (handler: Pick<Handler, 'id'>) => (await lane.logOf(handler)).map(({ state }) => state);

/** What DynamoDB does with what has expired. */
async function deleteExpired(): Promise<void> {
  const TableName = lane.executionsTable;
  for await (const { Items = [] } of paginateScan({ client: lane.dynamo }, { TableName })) {
    for (const { pk, sk, expiresAt } of Items) {
      if (expiresAt === undefined || expiresAt > lane.clock.now().getTime() / 1000) continue;
      await lane.dynamo.send(new DeleteCommand({ TableName, Key: { pk, sk } }));
    }
  }
}

it.each([-61, -65, -90, 0, 70, -240])(
  'finds the executions of an event whose own time is %i minutes off',
  async (minutes) => {
    lane.clock.set('2026-11-23T10:50:00.000Z');
    const { behind, paths } = await aChain();
    await lane.dispatch({ time: new Date(lane.clock.now().getTime() + minutes * 60_000).toISOString() });
    lane.clock.advance(11_000);
    await lane.retryDue();
    await lane.dispatchSentAgain();
    expect(paths()).toEqual(once);
    expect(await stateOf(behind)).toEqual([{ status: 'succeeded' }]);
  },
);

it('goes on also behind a handler that is edited not to halt any more while it is tried again', async () => {
  const { halting, behind, paths } = await aChain();
  await lane.dispatch({ time: lane.clock.now().toISOString() });
  expect(await stateOf(behind)).toEqual([{ status: 'held', reason: 'halted' }]);
  const stored = await lane.store.get(halting.id);
  const { version } = stored.handler;
  lane.clock.advance(5000);
  const updatedAt = lane.clock.now().toISOString();
  const handler = { ...stored.handler, onFailure: 'continue' as const, version: version + 1, updatedAt };
  await lane.store.replace({ ...stored, handler }, version);
  lane.clock.advance(6000);
  await lane.retryDue();
  await lane.dispatchSentAgain();
  expect(paths()).toEqual(once);
  expect(await stateOf(behind)).toEqual([{ status: 'succeeded' }]);
});

it('finds them also when it was a dead letter meanwhile, and a person has sent it again', async () => {
  lane.clock.set('2026-11-23T10:50:00.000Z');
  const { behind, paths } = await aChain();
  // It would be less than an hour off the beginning of the hour that its executions stand at.
  await lane.dispatch({ time: '2026-11-23T09:45:00.000Z' });
  lane.clock.advance(11_000);
  await lane.retryDue();
  const { events, eventsDeadLetters } = lane.queues;
  const dead = events.receive(1);
  await eventsDeadLetters.send(dead);
  events.delete(dead.map(({ receiptHandle }) => receiptHandle));
  expect(await lane.sweep()).toMatchObject({ deadLetters: 1, problems: [] });
  await using api = await startApi(lane);
  const { body } = await api.request('POST', '/v1/dead-letters/redrive', { all: true });
  expect(body).toMatchObject({ redriven: 1 });
  await lane.dispatchSentAgain();
  expect(paths()).toEqual(once);
  expect(await stateOf(behind)).toEqual([{ status: 'succeeded' }]);
});

it('finds them where they are, whatever the number of shards is by now', async () => {
  const { behind, paths } = await aChain();
  await lane.dispatch({ id: 'event-0' });
  lane.clock.advance(11_000);
  await lane.retryDue();
  await lane.dispatchSentAgain(() => ({ logShards: 4 }));
  expect(paths()).toEqual(once);
  expect(await stateOf(behind)).toEqual([{ status: 'succeeded' }]);
});

it('does not call again whose execution has expired, nor who was not there', async () => {
  const { halting, paths } = await aChain({ first: 410 });
  await lane.dispatch();
  lane.clock.advance(40 * dayMs);
  await deleteExpired();
  const { handler, sealedSecrets } = await lane.store.get(halting.id);
  await lane.store.replace({ handler: { ...handler, status: 'enabled', version: 3 }, sealedSecrets }, 2);
  await lane.register({ target: { url: 'http://127.0.0.1:9/new' } });
  const [held] = await lane.logOf(halting);
  if (held === undefined) throw new Error('It is kept for 90 days.');
  await createReopener({ mover: lane.mover(), scale: 1, now: lane.clock.now }).retryNow(held.key);
  await lane.retryDue();
  const report = await lane.dispatchSentAgain();
  expect(paths()).toEqual(once);
  expect(report.executions).toEqual({ succeeded: 1, failed: 0, waiting: 0, held: 0 });
});

it('reads the log consistently, or it would leave there what was held a moment ago', async () => {
  await aChain();
  await lane.dispatch();
  lane.clock.advance(11_000);
  await lane.retryDue();
  const reads: string[] = [];
  lane.wire.intercept(({ operation, text }) => {
    if (operation === 'BatchGetItem') reads.push(text);
    return null;
  });
  await lane.dispatchSentAgain();
  expect(reads).toHaveLength(1);
  expect(reads[0]).toContain('"ConsistentRead":true');
});

it('goes on with a handler whose filter has changed while it was held', async () => {
  const { behind, paths } = await aChain();
  await lane.dispatch();
  expect(await stateOf(behind)).toEqual([{ status: 'held', reason: 'halted' }]);
  const { handler, sealedSecrets } = await lane.store.get(behind.id);
  const filter = { detail: { data: { name: ['nobody'] } } };
  await lane.store.replace({ handler: { ...handler, filter, version: 2 }, sealedSecrets }, 1);
  lane.clock.advance(11_000);
  await lane.retryDue();
  await lane.dispatchSentAgain();
  expect(paths()).toEqual(once);
  expect(await stateOf(behind)).toEqual([{ status: 'succeeded' }]);
});

it('is not halted by a handler whose filter does not match', async () => {
  const receiver = await lane.startReceiver((_, response) => void response.writeHead(503).end());
  const filter = { detail: { data: { name: ['nobody'] } } };
  await lane.register({ priority: 1, onFailure: 'halt', filter, target: { url: receiver.url } });
  const other = await lane.startReceiver((_, response) => void response.writeHead(204).end());
  const behind = await lane.register({ priority: 2, target: { url: other.url } });
  await lane.dispatch();
  expect(receiver.requests).toEqual([]);
  expect(await stateOf(behind)).toEqual([{ status: 'succeeded' }]);
});
