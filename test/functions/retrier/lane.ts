import { randomUUID } from 'node:crypto';
import { DispatcherEnv } from '../../../functions/dispatcher/env.ts';
import { dispatchBatch, type BatchReport } from '../../../functions/dispatcher/dispatch.ts';
import { buildServices as buildDispatcher } from '../../../functions/dispatcher/services.ts';
import { RetrierEnv } from '../../../functions/retrier/env.ts';
import { retryBatch, type RetryReport } from '../../../functions/retrier/retry.ts';
import { buildServices as buildRetrier, type Services } from '../../../functions/retrier/services.ts';
import { SweeperEnv } from '../../../functions/sweeper/env.ts';
import { buildServices as buildSweeper } from '../../../functions/sweeper/services.ts';
import { sweep, type SweepReport } from '../../../functions/sweeper/sweep.ts';
import { parseEnv } from '../../../shared/env.ts';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { anEvent } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { startEnvironment } from '../environment.ts';

/**
 * The dispatcher, the retrier and the sweeper on real parts, and the queue between them, all by one clock.
 *
 * @param settings of the sweeper, and of the others where a test does not say otherwise
 */
export async function startLane(start = '2026-11-23T10:00:01.000Z', common: Record<string, string> = {}) {
  const clock = createClock(start);
  const { now } = clock;
  const environment = await startEnvironment({ now });
  const variables = { ...environment.variables, ...common };
  const retriers: Services[] = [];

  /** A fresh environment of the retrier. It waits by the clock. */
  function coldRetrier(settings: Record<string, string> = {}): Services {
    const services = buildRetrier(parseEnv(RetrierEnv, { ...variables, ...settings }), {
      now,
      random: () => 0.5,
      delay: async (ms) => clock.advance(ms),
    });
    retriers.push(services);
    return services;
  }
  const coldSweeper = (settings: Record<string, string> = {}) =>
    buildSweeper(parseEnv(SweeperEnv, { ...variables, ...settings }), { now });
  const sweeper = coldSweeper();
  const inMs = (ms: number): Date => new Date(now().getTime() + ms);

  /** Dispatches an event, as its first delivery, in a fresh environment. */
  const dispatch = (
    event: Parameters<typeof anEvent>[0] = {},
    settings: Record<string, string> = {},
  ): Promise<BatchReport> => dispatchSome(1, event, settings);

  /** The same for a batch of several. */
  async function dispatchSome(
    count: number,
    event: Parameters<typeof anEvent>[0] = {},
    settings: Record<string, string> = {},
  ): Promise<BatchReport> {
    const dispatcher = buildDispatcher(parseEnv(DispatcherEnv, { ...variables, ...settings }), {
      now,
      random: () => 0.5,
    });
    const report = await dispatchBatch(
      dispatcher,
      Array.from({ length: count }, () => ({
        id: randomUUID(),
        body: anEvent({ time: now().toISOString(), ...event }),
        sentAt: now(),
        receives: 1,
        sentAgain: false,
      })),
      inMs(180_000),
    );
    await dispatcher.targets.agent.close();
    return report;
  }

  /** Hands the retrier what the queue has for it now; what it has worked off is gone from there. */
  async function retryDue(
    services: Services = coldRetrier(),
    { deadline = inMs(180_000) }: { deadline?: Date } = {},
  ): Promise<RetryReport> {
    const received = environment.queues.retries.receive(50);
    const report = await retryBatch(
      services,
      received.map(({ messageId, body, sentAt }) => ({ id: messageId, body, sentAt: new Date(sentAt) })),
      deadline,
    );
    const done = received.filter(({ messageId }) => !report.failedMessageIds.includes(messageId));
    environment.queues.retries.delete(done.map(({ receiptHandle }) => receiptHandle));
    return report;
  }

  /** Puts a wake-up call into the queue, as anybody may at any time. */
  const wake = ({ key, generation }: Pick<ExecutionRecord, 'key' | 'generation'>) =>
    environment.queues.retries.send([{ body: JSON.stringify({ ...key, generation }) }]);

  return {
    ...environment,
    clock,
    coldRetrier,
    coldSweeper,
    dispatch,
    dispatchSome,
    retryDue,
    wake,
    sweep: (services = sweeper): Promise<SweepReport> => sweep(services, inMs(60_000)),
    /** After each test. */
    async clear() {
      await Promise.all(retriers.splice(0).map(({ targets }) => targets.agent.destroy()));
      await environment.clear();
      clock.set(start);
    },
    async [Symbol.asyncDispose]() {
      await environment[Symbol.asyncDispose]();
    },
  };
}
