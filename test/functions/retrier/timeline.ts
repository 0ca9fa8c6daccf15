import { vi } from 'vitest';
import type { BatchReport } from '../../../functions/dispatcher/dispatch.ts';
import type { RetryReport } from '../../../functions/retrier/retry.ts';
import type { ReceivedRequest } from '../../support/http-server.ts';
import { startReceiver } from '../../support/http-server.ts';
import type { Lane } from './lane.ts';

/**
 * Time for several environments at once: it stands still while any of them works, and moves on to the next one that waits for
 * its time, or to the next wake-up call. What is sent to the retries queue and what arrives at the endpoint has been worked off;
 * so all events have to be for handlers with a rate limit, and every delivery has to succeed.
 */
export async function startTimeline(lane: Lane) {
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
    response.writeHead(204).end();
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

  function dispatch(
    events: Parameters<Lane['dispatchAll']>[0],
    services = dispatcher(),
  ): Promise<BatchReport> {
    handedOut += events.length;
    return track(lane.dispatchAll(events, services));
  }
  const dispatcher = () => lane.coldDispatcher({}, delay);
  const retrier = () => lane.coldRetrier({}, delay);

  /** Hands the wake-up calls that the queue has now to a retrier. Answers how many. */
  function wake(services = retrier(), atMost = 50): number {
    const received = lane.queues.retries.receive(atMost);
    if (received.length === 0) return 0;
    handedOut += received.length;
    void track(
      lane.retryDue(services, { received }).then((report) => {
        deleted += received.length - report.failedMessageIds.length;
        reports.push(report);
      }),
    );
    return received.length;
  }

  /** Lets time pass until nobody waits any more and the queue is empty. */
  async function pass({ retriers = [retrier(), retrier()] } = {}): Promise<void> {
    for (let turn = 0; ; turn++) {
      await quiet();
      if (wake(retriers[turn % retriers.length]) > 0) continue;
      const next = sleepers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined && lane.queues.retries.counts().delayed === 0) break;
      // The queue is looked at ten times a second.
      const poll = nowMs() + 100;
      if (next === undefined || next.at > poll) {
        clock.advance(100);
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
    reports,
    dispatcher,
    retrier,
    dispatch,
    wake,
    quiet,
    pass,
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
  const inside = sorted.filter((at) => at + windowMs <= last);
  return {
    most: Math.max(...sorted.map(countFrom)),
    // The emptiest window begins just after a delivery.
    fewest: Math.min(...inside.map((at) => countFrom(at + 1))),
  };
}
