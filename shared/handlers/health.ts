import type { Handler } from './handler.ts';

/** How a handler's target is, as all environments have seen it together. One that nothing is wrong with has none. */
export type Health = {
  /** The version of the handler that brought this target, or enabled it: what was seen of another one does not count. */
  targetVersion: number;
  /** Failures in a row. */
  streak: number;
  /** When the first of them was reported, ISO 8601. */
  streakSince: string;
  lastFailureAt: string;
  /** Since when there has been no success; longer than the streak, which ends when nothing happens for a while. */
  failingSince: string;
  /** What waits is parked, and one probe at a time asks whether the target is back. */
  circuit: OpenCircuit | null;
};

export type OpenCircuit = {
  openedAt: string;
  /** When the next probe may begin. */
  probeAt: string;
  failedProbes: number;
  /** The probe that is under way, and until when it counts as one. */
  probe: { token: string; until: string } | null;
};

/** A circuit opens after so many failures in a row, over all environments ... */
export const failuresToOpen = 5;
/** ... each of which began at most so long after the one before had ended, milliseconds. */
const maxGapMs = 60_000;
/** It also opens when so many of the last calls of one environment failed. */
export const failureRate = { failures: 16, calls: 20 } as const;

/** From the end of a failure to the end of the next one, both of one streak. Retries at another scale come at another pace. */
export const maxFailureGapMs = ({ target }: Pick<Handler, 'target'>, scale: number): number =>
  Math.ceil(maxGapMs * scale) + target.timeoutMs;

const minuteMs = 60_000;
// The last one again and again: 37 probes in the first day, 32 in each one after it.
const probeWaitsMinutes = [1, 2, 4, 8, 16, 32, 45] as const;
// Later only, so that handlers whose circuits opened together are not probed together for ever.
const jitterShare = 0.1;

/** When the target may be probed next. */
export function nextProbeAt(
  failedProbes: number,
  { now, random, scale }: { now: Date; random: number; scale: number },
): string {
  const minutes = probeWaitsMinutes[Math.min(failedProbes, probeWaitsMinutes.length - 1)] ?? 0;
  return new Date(
    now.getTime() + Math.ceil(minutes * minuteMs * (1 + jitterShare * random) * scale),
  ).toISOString();
}

/** Whether a probe is under way. */
export const isProbing = ({ probe }: OpenCircuit, now: Date): boolean =>
  probe !== null && Date.parse(probe.until) > now.getTime();
