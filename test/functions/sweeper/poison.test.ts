import { afterAll, expect, it } from 'vitest';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from '../retrier/lane.ts';

const lane = await startLane();
afterAll(() => lane[Symbol.asyncDispose]());

it('events that the target cannot stand do not keep the circuit open for the others', async () => {
  await using receiver = await startReceiver(({ body }, response) => {
    response.writeHead(body.includes('"poison"') ? 500 : 204).end();
  });
  const good = () => receiver.requests.filter(({ body }) => !body.includes('"poison"'));
  await lane.register({ target: { url: receiver.url } });
  // More than the probes would come through in their turns.
  await lane.dispatchSome(40, { detail: { objectId: 'poison', data: {} } });
  lane.clock.advance(60_000);
  await lane.dispatchSome(20);
  const retrier = lane.coldRetrier();
  expect(good()).toEqual([]);
  for (let hours = 0; hours < 4; hours++) {
    lane.clock.advance(3_600_000);
    await lane.sweep();
    await lane.retryDue(retrier);
  }
  expect(good()).not.toEqual([]);
});
