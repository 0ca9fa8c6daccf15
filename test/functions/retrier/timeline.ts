import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { vi } from 'vitest';
import type { BatchReport } from '../../../functions/dispatcher/dispatch.ts';
import type { RetryReport } from '../../../functions/retrier/retry.ts';
import type { Services } from '../../../functions/retrier/services.ts';
import type { Queue } from '../../../local/queue.ts';
import { startReceiver, type ReceivedRequest } from '../../support/http-server.ts';
import type { Lane } from './lane.ts';

type Received = ReturnType<Queue['receive']>;

const sweepEveryMs = 60_000;

/**
 * Time for several environments at once: it stands still while any of them works, and moves on to the next one that waits for
 * its time, or to the next wake-up call. What has arrived at the endpoint or in the retries queue is worked off; so no wake-up call may
 * be stale, and what fails has to be tried again within 15 minutes.
 *
 * @param isUp whether a delivery succeeds
 */
export async function startTimeline(lane: Lane, isUp: (request: ReceivedRequest) => boolean = () => true) {
  const { clock } = lane;
  const nowMs = () => clock.now().getTime();
  let sleepers: { at: number; wake: () => void }[] = [];
  let handedOut = 0;
  let deleted = 0;
  const running = new Set<Promise<unknown>>();
  const reports: RetryReport[] = [];
  const deliveries: { at: number; request: ReceivedRequest }[] = [];
  const receiver = await startReceiver((request, response) => {
    deliveries.push({ at: nowMs(), request });
    const succeeds = isUp(request);
    // Beside its arrival, there will be its wake-up call.
    if (!succeeds) handedOut += 1;
    response.writeHead(succeeds ? 204 : 503).end();
  });

  const delay = (ms: number): Promise<unknown> =>
    new Promise<void>((resolve) => sleepers.push({ at: nowMs() + ms, wake: resolve }));

  function sent(): number {
    const { visible, inFlight, delayed } = lane.queues.retries.counts();
    return visible + inFlight + delayed + deleted;
  }

  /** Until everything is done that can be done at this time. */
  const quiet = () =>
    vi.waitFor(
      () => {
        const done = deliveries.length + sent() + sleepers.length;
        if (done !== handedOut) throw new Error(`${done} of ${handedOut} are done or wait.`);
      },
      { timeout: 20_000, interval: 2 },
    );

  function track<Report>(report: Promise<Report>): Promise<Report> {
    const tracked = report.finally(() => running.delete(tracked));
    running.add(tracked);
    return tracked;
  }

  /** Begins a batch, in a fresh environment. Resolves when it has ended, for which time may have to pass. */
  function dispatch(
    events: Parameters<Lane['dispatchAll']>[0],
    { handlers = 1 }: { handlers?: number } = {},
  ): Promise<BatchReport> {
    handedOut += events.length * handlers;
    return track(lane.dispatchAll(events, lane.coldDispatcher({}, delay)));
  }

  function retry(services: Services, received: Received): void {
    handedOut += received.length;
    void track(
      lane.retryDue(services, { received }).then((report) => {
        deleted += received.length - report.failedMessageIds.length;
        reports.push(report);
      }),
    );
  }

  /** What somebody else has put into the retries queue is no work that was done. */
  const noteSent = (count: number): void => void (handedOut += count);

  /** Whether something waits that nobody is at now. */
  async function isWaiting(): Promise<boolean> {
    if (lane.queues.retries.counts().delayed > 0) return true;
    const { Items = [] } = await lane.dynamo.send(
      new ScanCommand({ TableName: lane.executionsTable, IndexName: 'attention' }),
    );
    return Items.some(({ attention }) => String(attention).startsWith('waiting#'));
  }

  /**
   * Lets time pass until nothing waits any more.
   *
   * @param lagMs how long a wake-up call is on its way from the queue to a retrier
   * @param pollMs how often the queue is looked at
   */
  async function pass({ lagMs = 0, pollMs = 100 }: { lagMs?: number; pollMs?: number } = {}): Promise<void> {
    const coldRetrier = () => lane.coldRetrier({}, delay);
    const retriers = [coldRetrier(), coldRetrier()] as const;
    let onTheirWay: { at: number; received: Received }[] = [];
    let sweptAt = nowMs();
    for (let turn = 0; ; turn++) {
      await quiet();
      const received = lane.queues.retries.receive(25);
      if (received.length > 0) onTheirWay.push({ at: nowMs() + lagMs, received });
      const arrived = onTheirWay.find(({ at }) => at <= nowMs());
      if (arrived !== undefined) {
        onTheirWay = onTheirWay.filter((batch) => batch !== arrived);
        retry(retriers[turn % 2 === 0 ? 0 : 1], arrived.received);
        continue;
      }
      if (nowMs() - sweptAt >= sweepEveryMs) {
        sweptAt = nowMs();
        noteSent((await lane.sweep()).woken);
        continue;
      }
      const next = sleepers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined && onTheirWay.length === 0 && !(await isWaiting())) break;
      if (next === undefined || next.at > nowMs() + pollMs) {
        clock.advance(pollMs);
        continue;
      }
      clock.advance(Math.max(0, next.at - nowMs()));
      sleepers = sleepers.filter((sleeper) => sleeper !== next);
      next.wake();
    }
    await Promise.all(running);
  }

  return {
    url: receiver.url,
    /** In the order of their arrival, with their time. */
    deliveries,
    /** Of the retriers. */
    reports,
    dispatch,
    noteSent,
    quiet,
    pass,
    /** When something arrived, at a path or at all. */
    times: (path?: string) =>
      deliveries.filter(({ request }) => path === undefined || request.path === path).map(({ at }) => at),
    [Symbol.asyncDispose]: receiver.close,
  };
}

/** The most and the fewest of these times that lie in any `windowMs` between the first and the last. */
export function countsInWindows(
  times: readonly number[],
  windowMs: number,
): { most: number; fewest: number } {
  const sorted = times.toSorted((a, b) => a - b);
  const last = sorted.at(-1) ?? 0;
  const countFrom = (from: number) => sorted.filter((at) => at >= from && at < from + windowMs).length;
  return {
    most: Math.max(...sorted.map(countFrom)),
    // The emptiest one begins just after one of them.
    fewest: Math.min(...sorted.filter((at) => at + windowMs < last).map((at) => countFrom(at + 1))),
  };
}
