import pLimit from 'p-limit';
import type { DueEntry } from '../../shared/executions/due.ts';
import { drainQueues } from './drain-queues.ts';
import { runRecoveries } from './run-recoveries.ts';
import type { Services } from './services.ts';
import { settleHandlers } from './settle-handlers.ts';
import { tendParked } from './tend-parked.ts';

/** What a run did: one wide log line. */
export type SweepReport = {
  /** Wake-up calls that were sent. */
  woken: number;
  /** Of stopped handlers: wake-up calls that were sent before their time, held and parked executions that were ended or held. */
  hurried: number;
  ended: number;
  /** Executions that were let go: by recoveries, and parked ones whose circuit is closed. They are tried within a minute. */
  released: number;
  /** Of open circuits: attempts that ask whether the target is back. */
  probes: number;
  /** Whether time ran out: the rest is for the next run. */
  unfinished: boolean;
  /** Events out of the dead-letter queues that were recorded, and wake-up calls that were thrown away there. */
  deadLetters: number;
  deadWakeUps: number;
  /** What went wrong, each thing once. */
  problems: string[];
};

const wakesAtOnce = 25;
// As many as one request has.
const refusalsOfNoQueue = 10;
// Is left for draining, and for the last calls.
const marginMs = 10_000;

/**
 * One run, every minute: wakes what is due, sees to what waits for stopped handlers and to what is parked, goes on with the recoveries, and
 * drains the dead-letter queues. None of it keeps the rest from being done.
 *
 * @param deadline when the invocation ends; what is left then is for the next run
 */
export async function sweep(services: Services, deadline: Date): Promise<SweepReport> {
  const until = new Date(deadline.getTime() - marginMs);
  const woken = await wakeDue(services, until);
  const settled = await settleHandlers(services, until);
  const parked = await tendParked(services, until);
  const recovered = await runRecoveries(services, until);
  const drained = await drainQueues(services);
  const uncounted = await services.hours.flush().then(
    (): unknown[] => [],
    (error: unknown) => [error],
  );
  const problems = [
    ...woken.problems,
    ...settled.problems,
    ...parked.problems,
    ...recovered.problems,
    ...drained.problems,
    ...uncounted,
  ];
  return {
    woken: woken.count,
    hurried: settled.hurried,
    ended: settled.ended + parked.ended,
    released: parked.released + recovered.released,
    probes: parked.probes,
    unfinished: woken.unfinished || settled.unfinished || parked.unfinished || recovered.unfinished,
    deadLetters: drained.deadLetters,
    deadWakeUps: drained.deadWakeUps,
    problems: [...new Set(problems.map(String))],
  };
}

/** Sends a wake-up call for everything that is due, in pages. */
async function wakeDue(
  { dueIndex, wakeUps, now }: Services,
  until: Date,
): Promise<{ count: number; unfinished: boolean; problems: unknown[] }> {
  const inTurn = pLimit(wakesAtOnce);
  const problems: unknown[] = [];
  let count = 0;
  const wake = async (entry: DueEntry): Promise<'sent' | 'refused' | 'left'> => {
    try {
      // First the lease, then the call: a call that is lost is sent again when the lease is over, and one that two runs
      // would send is sent once.
      const leased = await dueIndex.lease(entry);
      if (leased === null) return 'left';
      try {
        await wakeUps.send(leased.wakeUp, leased.due);
        count += 1;
        return 'sent';
      } catch (error) {
        problems.push(error);
        await leased.giveBack();
        return 'refused';
      }
    } catch (error) {
      problems.push(error);
      return 'left';
    }
  };
  try {
    for await (const page of dueIndex.readDue()) {
      if (now() > until) return { count, unfinished: true, problems };
      const ends = await Promise.all(page.map((entry) => inTurn(() => wake(entry))));
      // Each more would cost two writes, every minute for as long as the queue takes nothing.
      const refused = ends.filter((end) => end === 'refused').length;
      if (refused >= refusalsOfNoQueue && !ends.includes('sent'))
        return { count, unfinished: true, problems };
    }
  } catch (error) {
    problems.push(error);
  }
  return { count, unfinished: false, problems };
}
