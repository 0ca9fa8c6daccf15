import pLimit from 'p-limit';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import type { RunningRecovery } from '../../shared/executions/recoveries.ts';
import type { Turn } from '../../shared/executions/recovery-turn.ts';
import { isWantedBy } from '../../shared/executions/recovery.ts';
import { reopenExecution } from '../../shared/executions/settle.ts';
import { createHaltCheck, type HaltCheck } from './halt-check.ts';
import type { Services } from './services.ts';

/** What a run did for the recoveries. */
export type RecoveryReport = {
  /** Executions that were let go. */
  released: number;
  unfinished: boolean;
  problems: unknown[];
};

const pageSize = 100;
const atOnce = 25;

/**
 * Goes on with the recoveries, a page of each in turn, as far as their pace allows. What a page has done is noted behind it: a run that
 * dies repeats that page, and finds what it had released gone on.
 */
export async function runRecoveries(services: Services, until: Date): Promise<RecoveryReport> {
  const { recoveries, recoveryTurns } = services;
  const report: RecoveryReport = { released: 0, unfinished: false, problems: [] };
  try {
    const ids = await recoveries.findRunning();
    if (ids.length === 0) return report;
    const turn = await recoveryTurns.take();
    if (turn === null) return report;
    try {
      const isHeldBack = createHaltCheck(services);
      await takeTurns(services, await recoveries.readRunning(ids), { turn, until, isHeldBack, report });
    } finally {
      await turn.end();
    }
  } catch (error) {
    report.problems.push(error);
  }
  return report;
}

async function takeTurns(
  services: Services,
  waiting: readonly RunningRecovery[],
  {
    turn,
    until,
    isHeldBack,
    report,
  }: { turn: Turn; until: Date; isHeldBack: HaltCheck; report: RecoveryReport },
): Promise<void> {
  const queue = [...waiting];
  for (let running = queue.shift(); running !== undefined; running = queue.shift()) {
    const size = Math.min(pageSize, turn.room());
    if (size === 0) return;
    if (services.now() > until) {
      report.unfinished = true;
      return;
    }
    if (!(await turn.reserve(size))) return;
    try {
      const next = await releasePage(services, running, { turn, size, isHeldBack, report });
      if (next !== null) queue.push(next);
    } catch (error) {
      // It goes on at the next run, the others now.
      report.problems.push(error);
    }
  }
}

/** Null when that was the end of it, for this run at least. */
async function releasePage(
  { handlers, recoveries, recoverables, mover, now, scale }: Services,
  running: RunningRecovery,
  {
    turn,
    size,
    isHeldBack,
    report,
  }: { turn: Turn; size: number; isHeldBack: HaltCheck; report: RecoveryReport },
): Promise<RunningRecovery | null> {
  const { recovery, position } = running;
  const status = await handlers.statusOf(recovery.handlerId);
  if (status !== 'enabled') {
    const { found, released } = recovery;
    await recoveries.end(running, { status: 'cancelled', reason: status, found, released });
    return null;
  }
  const { keys, next } = await recoverables.readPage(recovery, position, size);
  const inTurn = pLimit(atOnce);
  const release = (key: ExecutionKey) =>
    mover.move(key, async (record) => {
      if (!isWantedBy(recovery, record, now())) return null;
      if (hasNotRun(record) && (await isHeldBack(record))) return null;
      return reopenExecution(record, { due: turn.nextDue(), now: now(), scale });
    });
  // All of them, whatever becomes of one: the page is over when nothing of it is under way any more.
  const moves = await Promise.allSettled(keys.map((key) => inTurn(() => release(key))));
  const failures = moves.filter((move) => move.status === 'rejected').map(({ reason }) => reason as unknown);
  const released = moves.filter((move) => move.status === 'fulfilled' && move.value.kind === 'moved').length;
  report.released += released;
  report.problems.push(...failures);
  const counts = {
    found: recovery.found + (failures.length === 0 ? keys.length : released),
    released: recovery.released + released,
  };
  if (failures.length > 0) {
    // What is left of the page is found again at the next run.
    await recoveries.advance(running, { ...counts, position });
    return null;
  }
  if (next !== null) return recoveries.advance(running, { ...counts, position: next });
  await recoveries.end(running, { ...counts, status: 'done' });
  return null;
}

// What is held as `disabled` was not asked whether it would be halted, too.
const hasNotRun = ({ state, attemptCount }: ExecutionRecord): boolean =>
  state.status === 'held' && attemptCount === 0;
