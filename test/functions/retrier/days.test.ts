import { afterAll, afterEach, expect, it } from 'vitest';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { defaultSchedule } from '../../../shared/executions/retry-decision.ts';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from './lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

// The sweeper runs every minute. Here it runs every five, which is a third of what it has to be early for.
const sweepEveryMs = 5 * 60_000;
const fourDaysMs = 4 * 86_400_000;

/** Lets time pass: the sweeper runs at its times, the retrier when the queue has something for it. */
async function live(forMs: number, look: () => Promise<ExecutionRecord>): Promise<ExecutionRecord> {
  const endsAt = lane.clock.now().getTime() + forMs;
  let nextSweepAt = lane.clock.now().getTime();
  for (;;) {
    const record = await look();
    const now = lane.clock.now().getTime();
    if (record.state.status !== 'waiting' || now >= endsAt) return record;
    // Nobody looks at the clock in between: where it stops next is the sweep, or the second in which a call is delivered.
    const due = Math.floor(Date.parse(record.state.nextAttemptAt) / 1000) * 1000;
    const isDelayed = lane.queues.retries.counts().delayed > 0;
    lane.clock.set(new Date(isDelayed && due > now ? Math.min(due, nextSweepAt) : nextSweepAt).toISOString());
    await lane.retryDue(retrier);
    if (lane.clock.now().getTime() >= nextSweepAt) {
      await lane.sweep();
      nextSweepAt += sweepEveryMs;
      await lane.retryDue(retrier);
    }
  }
}

const retrier = lane.coldRetrier();

it('tries ten times over three days, each at its time, and then fails', async () => {
  await using receiver = await startReceiver((_, response) => void response.writeHead(503).end());
  const handler = await lane.register({ target: { url: receiver.url } });
  await lane.dispatch();
  const only = async () => (await lane.logOf(handler))[0] as ExecutionRecord;

  const record = await live(fourDaysMs, only);

  expect(record).toMatchObject({ state: { status: 'failed' }, attemptCount: 10, generation: 1 });
  const waits = record.attempts
    .slice(1)
    .map(({ at }, index) => (Date.parse(at) - Date.parse(record.attempts[index]?.at ?? '')) / 1000);
  for (const [index, wait] of waits.entries()) {
    const planned = defaultSchedule[index] ?? Number.NaN;
    // The jitter of this test is half of a tenth. Never early, and not more than a second late.
    expect(wait).toBeGreaterThanOrEqual(planned * 1.05);
    expect(wait).toBeLessThanOrEqual(planned * 1.05 + 1.1);
  }
  expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  expect(lane.queues.retries.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
}, 60_000);

it('goes on after a day in which nothing ran at all', async () => {
  let up = false;
  await using receiver = await startReceiver((_, response) => void response.writeHead(up ? 200 : 503).end());
  const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [3600, 7200] } });
  await lane.dispatch();
  lane.clock.advance(86_400_000);
  up = true;
  expect(await lane.sweep()).toMatchObject({ woken: 1 });
  await lane.retryDue(retrier);
  expect((await lane.logOf(handler))[0]).toMatchObject({ state: { status: 'succeeded' }, attemptCount: 2 });
});
