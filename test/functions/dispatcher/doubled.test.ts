import { afterAll, afterEach, expect, it } from 'vitest';
import { createReopener } from '../../../shared/executions/reopen.ts';
import { startReceiver } from '../../support/http-server.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { startLane } from '../retrier/lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

it('a message that the queue has handed out twice does not take back what a person has asked for since', async () => {
  const gate = Promise.withResolvers<void>();
  await using receiver = await startReceiver(async (_, response) => {
    if (receiver.requests.length === 1) await gate.promise;
    response.writeHead(204).end();
  });
  const handler = await lane.register({ target: { url: receiver.url } });
  const slow = lane.dispatch({ id: 'doubled' });
  await receiver.waitForRequests(1);
  await lane.dispatch({ id: 'doubled' });
  const [record] = await lane.logOf(handler);
  if (record === undefined) throw new Error('It has succeeded.');
  await createReopener({ mover: lane.mover(), scale: 1, now: lane.clock.now }).retryNow(record.key);
  lane.clock.advance(2000);
  gate.resolve();
  await slow;
  expect(await lane.logOf(handler)).toMatchObject([{ generation: 2, state: { status: 'waiting' } }]);
});

it('what one dispatcher has held behind a halting handler runs, when that succeeds for another one which has the message too', async () => {
  const gate = Promise.withResolvers<void>();
  await using receiver = await startReceiver(async ({ path }, response) => {
    const calls = receiver.requests.filter((request) => request.path === path).length;
    if (path === '/halting' && calls === 1) await gate.promise;
    response.writeHead((path === '/halting') === (calls === 1) ? 204 : 503).end();
  });
  const register = (path: string, priority: number, more: Partial<Handler>) =>
    lane.register({ priority, target: { url: receiver.url + path }, ...more });
  const halting = await register('/halting', 1, { onFailure: 'halt', retry: { schedule: 'none' } });
  const behind = await register('/behind', 2, { retry: { schedule: [10] } });
  const slow = lane.dispatch({ id: 'doubled' });
  await receiver.waitForRequests(1);
  await lane.dispatch({ id: 'doubled' });
  expect(await lane.logOf(halting)).toMatchObject([{ state: { status: 'failed' } }]);
  expect(await lane.logOf(behind)).toMatchObject([{ state: { status: 'held', reason: 'halted' } }]);

  gate.resolve();
  await slow;
  expect(await lane.logOf(halting)).toMatchObject([{ state: { status: 'succeeded' } }]);
  await lane.dispatchSentAgain();
  expect(await lane.logOf(behind)).toMatchObject([{ state: { status: 'succeeded' } }]);
  expect(lane.queues.events.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
});
