import { afterAll, afterEach, expect, it } from 'vitest';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { defaultSchedule } from '../../../shared/executions/retry-decision.ts';
import { startReceiver } from '../../support/http-server.ts';
import { startLane } from './lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const fourDaysMs = 4 * 86_400_000;
const minuteMs = 60_000;

/**
 * Lets time pass until an execution has ended. The sweeper runs every minute, and nearly always finds nothing: the clock stops
 * at the minute before its time, in which it must leave the execution alone, and at the one in which it must not.
 */
async function live(forMs: number, look: () => Promise<ExecutionRecord>): Promise<ExecutionRecord> {
  const retrier = lane.coldRetrier();
  const endsAt = lane.clock.now().getTime() + forMs;
  for (;;) {
    const record = await look();
    if (!('sweepAt' in record.state) || lane.clock.now().getTime() >= endsAt) return record;
    const { nextAttemptAt, sweepAt } = record.state;
    if (lane.queues.retries.counts().delayed === 0) {
      const sweepMinute = Math.ceil(Date.parse(sweepAt) / minuteMs) * minuteMs;
      lane.clock.set(new Date(sweepMinute - minuteMs).toISOString());
      expect(await lane.sweep()).toMatchObject({ woken: 0, problems: [] });
      lane.clock.set(new Date(sweepMinute).toISOString());
      expect(await lane.sweep()).toMatchObject({ woken: 1, problems: [] });
      expect(await lane.retryDue(retrier)).toMatchObject({ messages: 0 });
    }
    lane.clock.set(nextAttemptAt);
    expect(await lane.retryDue(retrier)).toMatchObject({ messages: 1 });
  }
}

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
  await lane.retryDue();
  expect((await lane.logOf(handler))[0]).toMatchObject({ state: { status: 'succeeded' }, attemptCount: 2 });
});
