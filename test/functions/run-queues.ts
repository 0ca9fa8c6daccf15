import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { dispatchBatch } from '../../functions/dispatcher/dispatch.ts';
import { retryBatch } from '../../functions/retrier/retry.ts';
import type { Queue } from '../../local/queue.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { keyToString } from '../../shared/executions/key.ts';
import { anEvent } from '../support/builders.ts';
import type { Lane } from './retrier/lane.ts';
import { messageFrom } from './message.ts';

const maxMinutes = 180;

type Received = ReturnType<Queue['receive']>[number];

/** Both queues of a lane as they are worked off everywhere: what fails is handed back, and waits for longer each time. */
export function runQueues(lane: Lane) {
  const { clock } = lane;
  const dispatcher = lane.coldDispatcher();
  const retrier = lane.coldRetrier();
  const seen = new Map<string, ExecutionRecord>();
  const problems = new Set<string>();
  const deadline = () => new Date(clock.now().getTime() + 180_000);

  async function publish(count: number, type = 'client.create'): Promise<string[]> {
    const ids = Array.from({ length: count }, () => randomUUID());
    const time = `${clock.now().toISOString().slice(0, 19)}Z`;
    await lane.queues.events.send(ids.map((id) => ({ body: anEvent({ id, type, time }) })));
    return ids;
  }

  function settle(queue: Queue, received: readonly Received[], failedIds: readonly string[]): void {
    const isFailed = ({ messageId }: Received) => failedIds.includes(messageId);
    queue.delete(received.filter((message) => !isFailed(message)).map(({ receiptHandle }) => receiptHandle));
    for (const { receiptHandle, receiveCount } of received.filter(isFailed))
      queue.changeVisibility([receiptHandle], Math.min(900, 5 * 2 ** (receiveCount - 1)));
  }

  async function dispatch(): Promise<number> {
    const received = lane.queues.events.receive(50);
    if (received.length === 0) return 0;
    const report = await dispatchBatch(dispatcher, received.map(messageFrom), deadline());
    for (const problem of report.problems) problems.add(problem);
    settle(lane.queues.events, received, report.failedMessageIds);
    return received.length;
  }

  async function retry(): Promise<number> {
    const received = lane.queues.retries.receive(50);
    if (received.length === 0) return 0;
    const report = await retryBatch(
      retrier,
      received.map(({ messageId, body, sentAt }) => ({ id: messageId, body, sentAt: new Date(sentAt) })),
      deadline(),
    );
    for (const problem of report.problems) problems.add(problem);
    settle(lane.queues.retries, received, report.failedMessageIds);
    return received.length;
  }

  /** Lets the sweeper run, and works off what is in the queues now. */
  async function step(): Promise<void> {
    const report = await lane.sweep();
    for (const problem of report.problems) problems.add(problem);
    while ((await dispatch()) > 0);
    while ((await retry()) > 0);
  }

  /** All executions of these handlers. Fails where one is gone or has gone back. */
  async function look(handlers: readonly { id: string }[]): Promise<ExecutionRecord[]> {
    const records = (await Promise.all(handlers.map(lane.logOf))).flat();
    const now = new Map(records.map((record) => [keyToString(record.key), record]));
    for (const [key, before] of seen) {
      const after = now.get(key);
      const what = `${key} was ${JSON.stringify(before.state)}`;
      if (after === undefined) throw new Error(`${what} and is gone`);
      expect(after.generation, what).toBeGreaterThanOrEqual(before.generation);
      expect(after.attemptCount, what).toBeGreaterThanOrEqual(before.attemptCount);
      if (before.state.status === 'succeeded' && after.generation === before.generation)
        expect(after.state.status, what).toBe('succeeded');
    }
    for (const record of records) seen.set(keyToString(record.key), record);
    return records;
  }

  /**
   * Lets minutes pass until all of these have ended and nothing is in the events queue.
   *
   * @returns how many minutes that took
   */
  async function untilEnded(handlers: readonly { id: string }[], sweepEveryMinutes = 1): Promise<number> {
    for (let minutes = sweepEveryMinutes; minutes <= maxMinutes; minutes += sweepEveryMinutes) {
      clock.advance(sweepEveryMinutes * 60_000);
      await step();
      const records = await look(handlers);
      const { visible, inFlight, delayed } = lane.queues.events.counts();
      const isWaiting = records.some(({ state }) => state.status === 'waiting');
      if (!isWaiting && visible + inFlight + delayed === 0) return minutes;
    }
    throw new Error(`After ${maxMinutes} minutes not all has ended.`);
  }

  return {
    publish,
    dispatch,
    retry,
    step,
    look,
    untilEnded,
    /** What went wrong so far, each thing once. */
    problems,
  };
}
