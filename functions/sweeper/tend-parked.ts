import pLimit from 'p-limit';
import type { Attention } from '../../shared/executions/attention.ts';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import { isParked } from '../../shared/executions/life-cycle.ts';
import { releaseExecution, stopExecution } from '../../shared/executions/settle.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import type { Health } from '../../shared/handlers/health.ts';
import { healthOf } from '../../shared/handlers/registry.ts';
import type { StoredHandler, StoredHandlers } from '../../shared/handlers/store.ts';
import type { Services } from './services.ts';

/** What became of parked executions. */
export type ParkedReport = {
  /** Those whose circuit is closed: they are tried within a minute. */
  released: number;
  /** Those whose handler does not run any more: held or failed. */
  ended: number;
  /** Probes that were sent, one for each open circuit whose time had come. */
  probes: number;
  unfinished: boolean;
  problems: unknown[];
};

const atOnce = 20;
const minuteMs = 60_000;
// Of one handler, in the first minute after its circuit has closed, in the second, and in each one after those.
const releasedAMinute = [50, 200, 1000] as const;
// Beyond the timeout of its call: to come through the queue, behind a backlog maybe, and to be settled.
const probeMarginMs = 5 * minuteMs;
const minProbeMarginMs = 1000;

/**
 * Sees to what is parked, by how its handler is now: what is open is probed, what is closed released, what is stopped held or ended.
 * Again at every run, so that whatever a crash left is found.
 */
export async function tendParked(services: Services, until: Date): Promise<ParkedReport> {
  const { attention, handlers } = services;
  const report: ParkedReport = { released: 0, ended: 0, probes: 0, unfinished: false, problems: [] };
  try {
    const handlerIds = await attention.findHandlers('parked');
    if (handlerIds.size === 0) return report;
    const all = await handlers.readAll();
    const storedById = new Map(all.handlers.map((stored) => [stored.handler.id, stored]));
    for (const handlerId of handlerIds) {
      const known = { stored: storedById.get(handlerId), all };
      // The others are seen to whatever becomes of this one.
      await tend(services, handlerId, known, until, report).catch((error: unknown) =>
        report.problems.push(error),
      );
    }
  } catch (error) {
    report.problems.push(error);
  }
  return report;
}

async function tend(
  services: Services,
  handlerId: string,
  { stored, all }: { stored: StoredHandler | undefined; all: StoredHandlers },
  until: Date,
  report: ParkedReport,
): Promise<void> {
  if (stored === undefined) return stopParked(services, handlerId, 'deleted', until, report);
  const { status } = stored.handler;
  if (status !== 'enabled') return stopParked(services, handlerId, status, until, report);
  const health = healthOf(stored, all.health);
  if (services.circuitsAreOn && health !== null && health.circuit !== null)
    return probe(services, stored, health, report);
  return release(services, stored, all.closedAt.get(handlerId), until, report);
}

/** Sends a probe, if it is time for one: the attempt of one execution. */
async function probe(
  { attention, health: healthStore, wakeUps, now, random, scale }: Services,
  { handler }: StoredHandler,
  health: Health,
  report: ParkedReport,
): Promise<void> {
  const failedProbes = health.circuit?.failedProbes ?? 0;
  const subject = { handlerId: handler.id, targetVersion: health.targetVersion };
  const leaseMs = handler.target.timeoutMs + Math.max(minProbeMarginMs, probeMarginMs * scale);
  const token = await healthStore.takeProbe(subject, health, leaseMs);
  if (token === null) return;
  try {
    const key = await pickForProbe(attention, handler.id, failedProbes);
    if (key !== undefined) {
      await wakeUps.send({ ...key, generation: null, probe: token }, now());
      report.probes += 1;
      return;
    }
  } catch (error) {
    report.problems.push(error);
  }
  // Nobody asks now, and nobody is to wait for the end of the lease.
  await healthStore.endProbe(handler.id, token, { failedProbes, isSoon: true, random: random() });
}

/**
 * The oldest and the newest in turn, and not always the same: what the target cannot stand must not keep the circuit open for all others, be it
 * one event or all of an hour.
 */
async function pickForProbe(
  attention: Attention,
  handlerId: string,
  failedProbes: number,
): Promise<ExecutionKey | undefined> {
  const ends = await attention.readEnds('parked', handlerId, failedProbes % 2 === 0 ? 'oldest' : 'newest');
  return ends[Math.floor(failedProbes / 2) % Math.max(1, ends.length)];
}

/** Lets some of what is parked be tried, spread over as much time as has passed since the last run. */
async function release(
  services: Services,
  { handler }: StoredHandler,
  closedAt: string | undefined,
  until: Date,
  report: ParkedReport,
): Promise<void> {
  const { attention, releasedAt, now, scale } = services;
  const startedAt = now().getTime();
  const closedMs = startedAt - Date.parse(closedAt ?? handler.updatedAt);
  // Where the sweeper comes more often, each run releases its share of what a minute may.
  const share = Math.min(1, Math.max(0, startedAt - (releasedAt.get(handler.id) ?? 0)) / (minuteMs * scale));
  const limit = Math.ceil(releaseLimit(closedMs, scale) * share);
  if (limit === 0) return;
  releasedAt.set(handler.id, startedAt);
  let taken = 0;
  for await (const page of attention.readOf('parked', handler.id)) {
    if (now() > until) {
      report.unfinished = true;
      return;
    }
    const keys = page.slice(0, limit - taken);
    const first = taken;
    taken += keys.length;
    report.released += await moveParked(services, keys, report, (record, index) => {
      const due = new Date(startedAt + Math.floor(((first + index) / limit) * share * minuteMs * scale));
      return releaseExecution(record, due, { now: now(), scale });
    });
    if (taken >= limit) return;
  }
}

/** How many may be released in a minute. */
function releaseLimit(closedMs: number, scale: number): number {
  const minutes = Math.max(0, Math.floor(closedMs / (minuteMs * scale)));
  return releasedAMinute[Math.min(minutes, releasedAMinute.length - 1)] ?? 0;
}

/** Holds or ends all that is parked of a handler that does not run any more. */
async function stopParked(
  services: Services,
  handlerId: string,
  reason: 'disabled' | 'archived' | 'deleted',
  until: Date,
  report: ParkedReport,
): Promise<void> {
  const { attention, now } = services;
  for await (const page of attention.readOf('parked', handlerId)) {
    if (now() > until) {
      report.unfinished = true;
      return;
    }
    report.ended += await moveParked(services, page, report, (record) => stopExecution(record, reason));
  }
}

/** Answers how many were moved. What could not be is for the next run. */
async function moveParked(
  { mover }: Services,
  keys: readonly ExecutionKey[],
  report: ParkedReport,
  change: (record: ExecutionRecord, index: number) => ExecutionRecord,
): Promise<number> {
  const inTurn = pLimit(atOnce);
  const moved = await Promise.all(
    keys.map((key, index) =>
      inTurn(async () => {
        try {
          const { kind } = await mover.move(key, (record) =>
            isParked(record.state) ? change(record, index) : null,
          );
          return kind === 'moved';
        } catch (error) {
          report.problems.push(error);
          return false;
        }
      }),
    ),
  );
  return moved.filter(Boolean).length;
}
