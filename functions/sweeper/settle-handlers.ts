import pLimit from 'p-limit';
import { eventsQueue, retriesQueue } from '../../shared/aws/queues.ts';
import type { Settling } from '../../shared/handlers/store.ts';
import { stopExecution } from '../../shared/executions/settle.ts';
import type { Services } from './services.ts';

/** What became of the executions of stopped handlers. */
export type SettleReport = {
  /** Wake-up calls that were sent for them: the retrier holds or ends what they wait for. */
  hurried: number;
  /** Held executions that were ended, because their handler is archived or deleted. */
  ended: number;
  unfinished: boolean;
  problems: unknown[];
};

const atOnce = 25;
// A batch that began before the handler was stopped may end this long after it, and write down that something waits or is held.
const { dispatcherTimeoutSeconds } = eventsQueue;
const { retrierTimeoutSeconds } = retriesQueue;
const afterglowMs = Math.max(dispatcherTimeoutSeconds, retrierTimeoutSeconds) * 1000 + 30_000;

/**
 * Sees to what waits for handlers that do not run any more. What waits for its time is woken now, for the retrier to hold it or to end
 * it; what is held is ended here when there is nobody left to recover it. Again at every run, until no call of before can be under way.
 */
export async function settleHandlers(services: Services, until: Date): Promise<SettleReport> {
  const { handlers, findSettling, now, scale } = services;
  const report: SettleReport = { hurried: 0, ended: 0, unfinished: false, problems: [] };
  try {
    const settling = await findSettling();
    if (settling.length === 0) return report;
    await hurryWaiting(services, settling, until, report);
    for (const stopped of settling) {
      if (stopped.status !== 'disabled') await endHeld(services, stopped, until, report);
    }
    if (report.unfinished || report.problems.length > 0) return report;
    for (const stopped of settling) {
      if (Date.parse(stopped.stoppedAt) + afterglowMs * scale < now().getTime())
        await handlers.settled(stopped);
    }
  } catch (error) {
    report.problems.push(error);
  }
  return report;
}

async function hurryWaiting(
  { attention, wakeUps, now }: Services,
  settling: readonly Settling[],
  until: Date,
  report: SettleReport,
): Promise<void> {
  for await (const page of attention.readWaitingOf(new Set(settling.map(({ id }) => id)))) {
    if (now() > until) {
      report.unfinished = true;
      return;
    }
    await Promise.all(page.map((key) => wakeUps.send({ ...key, generation: null }, now())));
    report.hurried += page.length;
  }
}

async function endHeld(
  { attention, mover, now }: Services,
  stopped: Settling,
  until: Date,
  report: SettleReport,
): Promise<void> {
  const inTurn = pLimit(atOnce);
  const { status } = stopped;
  if (status === 'disabled') return;
  for await (const page of attention.readOf('held', stopped.id)) {
    if (now() > until) {
      report.unfinished = true;
      return;
    }
    const moved = await Promise.all(
      page.map((key) =>
        inTurn(() =>
          mover.move(key, (record) =>
            record.state.status === 'held' ? stopExecution(record, status) : null,
          ),
        ),
      ),
    );
    report.ended += moved.filter(({ kind }) => kind === 'moved').length;
  }
}
