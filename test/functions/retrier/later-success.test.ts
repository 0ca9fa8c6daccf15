import { afterAll, expect, it } from 'vitest';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from './lane.ts';

const lane = await startLane();
afterAll(() => lane[Symbol.asyncDispose]());

const dayMs = 86_400_000;

it('a target whose later attempts succeed is not disabled, although nobody else has seen that', async () => {
  const seen = new Set<string>();
  await using receiver = await startReceiver(({ headers }, response) => {
    const id = String(headers['webhook-id']);
    response.writeHead(seen.has(id) ? 204 : 503).end();
    seen.add(id);
  });
  const { id } = await lane.register({ target: { url: receiver.url } });
  const [dispatcher, retrier] = [lane.coldDispatcher(), lane.coldRetrier()];
  for (let week = 0; week < 2; week++) {
    // It has loaded everything within the last minute, and what the dispatcher tells the table does not reach it before the next one.
    await retrier.currentRegistry();
    await lane.dispatchAll([{}], dispatcher);
    lane.clock.advance(6000);
    expect((await lane.retryDue(retrier)).executions).toMatchObject({ succeeded: 1 });
    lane.clock.advance(7 * dayMs);
  }
  expect((await lane.store.get(id)).handler.status).toBe('enabled');
});
