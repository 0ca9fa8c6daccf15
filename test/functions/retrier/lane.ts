import { randomUUID } from 'node:crypto';
import { DispatcherEnv } from '../../../functions/dispatcher/env.ts';
import { dispatchBatch, type BatchReport } from '../../../functions/dispatcher/dispatch.ts';
import {
  buildServices as buildDispatcher,
  type Services as DispatcherServices,
} from '../../../functions/dispatcher/services.ts';
import { RetrierEnv } from '../../../functions/retrier/env.ts';
import { retryBatch, type RetryReport } from '../../../functions/retrier/retry.ts';
import { buildServices as buildRetrier, type Services } from '../../../functions/retrier/services.ts';
import { SweeperEnv } from '../../../functions/sweeper/env.ts';
import {
  buildServices as buildSweeper,
  type Services as Sweeper,
} from '../../../functions/sweeper/services.ts';
import { sweep, type SweepReport } from '../../../functions/sweeper/sweep.ts';
import type { Queue } from '../../../local/queue.ts';
import { parseEnv } from '../../../shared/env.ts';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { anEvent } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { startReceiver, type Receiver, type Respond } from '../../support/http-server.ts';
import { startEnvironment } from '../environment.ts';
import { messageFrom } from '../message.ts';

type Received = ReturnType<Queue['receive']>;

export type Lane = Awaited<ReturnType<typeof startLane>>;

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
  const receivers: Receiver[] = [];
  const retriers: Services[] = [];
  const dispatchers: DispatcherServices[] = [];
  // Unless a test has a way of its own, the clock is moved by what is waited for. Several wait at once, each for a time of its own.
  const advance = async (ms: number): Promise<unknown> => clock.reach(new Date(now().getTime() + ms));

  /** A fresh environment of the dispatcher. It waits by the clock. */
  function coldDispatcher(settings: Record<string, string> = {}, delay = advance): DispatcherServices {
    const services = buildDispatcher(parseEnv(DispatcherEnv, { ...variables, ...settings }), {
      now,
      random: () => 0.5,
      delay,
    });
    dispatchers.push(services);
    return services;
  }

  /** A fresh environment of the retrier. It waits by the clock. */
  function coldRetrier(settings: Record<string, string> = {}, delay = advance): Services {
    const services = buildRetrier(parseEnv(RetrierEnv, { ...variables, ...settings }), {
      now,
      random: () => 0.5,
      delay,
    });
    retriers.push(services);
    return services;
  }
  /** A fresh environment of the sweeper. */
  const coldSweeper = (settings: Record<string, string> = {}): Sweeper =>
    buildSweeper(parseEnv(SweeperEnv, { ...variables, ...settings }), { now });
  let sweeper = coldSweeper();
  const inMs = (ms: number): Date => new Date(now().getTime() + ms);

  /** Dispatches an event, as its first delivery, in a fresh environment. */
  const dispatch = (
    event: Parameters<typeof anEvent>[0] = {},
    settings: Record<string, string> = {},
  ): Promise<BatchReport> => dispatchAll([event], coldDispatcher(settings));

  /** Dispatches a batch of several that are alike, but for their ids. */
  const dispatchSome = (
    count: number,
    event: Parameters<typeof anEvent>[0] = {},
    settings: Record<string, string> = {},
  ): Promise<BatchReport> =>
    dispatchAll(
      Array.from({ length: count }, () => event),
      coldDispatcher(settings),
    );

  /** Dispatches events in one batch, each as its first delivery. */
  const dispatchAll = (
    events: readonly Parameters<typeof anEvent>[0][],
    services: DispatcherServices = coldDispatcher(),
    { deadline = inMs(180_000) }: { deadline?: Date } = {},
  ): Promise<BatchReport> =>
    dispatchBatch(
      services,
      events.map((event) => ({
        id: randomUUID(),
        body: anEvent({ time: now().toISOString(), ...event }),
        sentAt: now(),
        receives: 1,
        sentAgain: false,
        goesOnAt: null,
      })),
      deadline,
    );

  /**
   * Dispatches what was sent to the events queue again, in a fresh environment.
   *
   * @param change what is to be otherwise in it
   */
  async function dispatchSentAgain(
    change: (services: DispatcherServices) => Partial<DispatcherServices> = () => ({}),
  ): Promise<BatchReport> {
    const dispatcher = coldDispatcher();
    const received = environment.queues.events.receive(50);
    const report = await dispatchBatch(
      { ...dispatcher, ...change(dispatcher) },
      received.map((message) => ({ ...messageFrom(message), receives: 1 })),
      inMs(180_000),
    );
    const done = received.filter(({ messageId }) => !report.failedMessageIds.includes(messageId));
    environment.queues.events.delete(done.map(({ receiptHandle }) => receiptHandle));
    return report;
  }

  /** Hands the retrier what the queue has for it now; what it has worked off is gone from there. */
  async function retryDue(
    services: Services = coldRetrier(),
    {
      deadline = inMs(180_000),
      received = environment.queues.retries.receive(50),
    }: { deadline?: Date; received?: Received } = {},
  ): Promise<RetryReport> {
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
    /** An endpoint, until the end of the test. */
    async startReceiver(respond: Respond): Promise<Receiver> {
      const receiver = await startReceiver(respond);
      receivers.push(receiver);
      return receiver;
    },
    coldDispatcher,
    coldRetrier,
    coldSweeper,
    dispatch,
    dispatchSome,
    dispatchSentAgain,
    dispatchAll,
    retryDue,
    wake,
    /** Changes executions as the API and the sweeper do. */
    mover: () => sweeper.mover,
    sweep: (services = sweeper): Promise<SweepReport> => sweep(services, inMs(60_000)),
    /** After each test. */
    async clear() {
      await Promise.all(receivers.splice(0).map((receiver) => receiver.close()));
      const built = [...dispatchers.splice(0), ...retriers.splice(0)];
      await Promise.all(built.map(({ targets }) => targets.agent.destroy()));
      await environment.clear();
      // It remembers the revision of tables that are empty now.
      sweeper = coldSweeper();
      clock.set(start);
    },
    async [Symbol.asyncDispose]() {
      await environment[Symbol.asyncDispose]();
    },
  };
}
