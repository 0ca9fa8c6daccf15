import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, expect, it } from 'vitest';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from './lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const since = (start: number): number => (lane.clock.now().getTime() - start) / 1000;

// Slots that are more than a quarter of an hour away are woken by the sweeper, which has to know how late the last call was.
it.each([1, 3])('with a queue that is %i s behind, all come to their slots', async (lagSeconds) => {
  const start = lane.clock.now().getTime();
  await using receiver = await startReceiver((_, response) => void response.writeHead(204).end());
  await lane.register({ target: { url: receiver.url }, rateLimit: { perSecond: 0.01 } });
  await lane.dispatchSome(14);
  const retrier = lane.coldRetrier();
  const late: { at: number; received: ReturnType<typeof lane.queues.retries.receive> }[] = [];
  for (let second = 1; second <= 3600 && receiver.requests.length < 14; second++) {
    lane.clock.reach(new Date(start + second * 1000));
    const received = lane.queues.retries.receive(50);
    if (received.length > 0) late.push({ at: since(start) + lagSeconds, received });
    for (let next = late[0]; next !== undefined && next.at <= since(start); next = late[0]) {
      late.shift();
      await lane.retryDue(retrier, next);
    }
    if (second % 60 === 0) await lane.sweep();
  }
  expect(receiver.requests).toHaveLength(14);
});

it('with a table that is slow for three seconds, the rate is held', { timeout: 120_000 }, async () => {
  const start = lane.clock.now().getTime();
  const times: number[] = [];
  await using receiver = await startReceiver((_, response) => {
    times.push(since(start));
    response.writeHead(204).end();
  });
  await lane.register({ target: { url: receiver.url }, rateLimit: { perSecond: 10 } });
  let sleepers: { at: number; wake: () => void }[] = [];
  const delay = (ms: number) =>
    new Promise<void>((wake) => sleepers.push({ at: lane.clock.now().getTime() + ms, wake }));
  const gate = Promise.withResolvers<void>();
  let held = 0;
  lane.wire.intercept(async ({ operation, text }) => {
    const isClaim = operation === 'UpdateItem' && text.includes('claimToken = :token');
    if (!isClaim || since(start) < 8 || since(start) >= 11) return null;
    held += 1;
    await gate.promise;
    return null;
  });
  const work: Promise<unknown>[] = [
    lane.dispatchAll(
      Array.from({ length: 150 }, () => ({})),
      lane.coldDispatcher({}, delay),
    ),
  ];
  const retrier = lane.coldRetrier({}, delay);
  while (since(start) < 40 && times.length < 150) {
    await sleep(15);
    lane.clock.advance(50);
    const nowMs = lane.clock.now().getTime();
    for (const { at, wake } of sleepers) if (at <= nowMs) wake();
    sleepers = sleepers.filter(({ at }) => at > nowMs);
    const received = lane.queues.retries.receive(50);
    if (received.length > 0) work.push(lane.retryDue(retrier, { received }));
    if (since(start) >= 11) gate.resolve();
  }
  gate.resolve();
  for (const { wake } of sleepers) wake();
  await Promise.all(work);
  expect(held).toBeGreaterThan(1);
  expect(times).toHaveLength(150);
  const mostIn = (seconds: number): number =>
    Math.max(...times.map((time) => times.filter((at) => at >= time && at < time + seconds).length));
  expect(mostIn(10)).toBeLessThanOrEqual(105);
  // The claims that were held up would all be called at once: 14.
  expect(mostIn(0.5)).toBeLessThanOrEqual(10);
});
