import { afterAll, expect, it } from 'vitest';
import { createReopener } from '../../../shared/executions/reopen.ts';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from '../retrier/lane.ts';

const lane = await startLane();
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
