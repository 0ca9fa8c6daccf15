/** How many calls of one handler may be under way at once in one environment, and who waits for room. */
export type CallWindow = ReturnType<typeof createCallWindow>;

/** What came of a call, as far as it says something about the target. */
export type Sign = 'alive' | 'failed' | 'neither';

// What nothing was under way to for so long may have died meanwhile: it begins anew.
const idleMs = 250;
const growth = 8;
// Three times what the target usually takes, not less than its `minMomentMs` and not more than this.
const maxMomentMs = 10_000;
const usualTimes = 3;
// How much a call counts for what is usual.
const usualShare = 0.3;

/**
 * A window begins with `firstCalls`, grows by eight with every success (so 1, 9, 81 at once) and is halved by a failure.
 *
 * No end of a call for a moment, while others wait for room, means that the target is slow: those are turned away, and all that come within
 * the next `slowForMs`. Then a single call asks whether that is over.
 */
export function createCallWindow({
  firstCalls,
  maxCalls,
  minMomentMs,
  slowForMs,
  patienceMs,
  mayAskWhileSlow,
  now,
}: {
  /** How many are called at once where nothing is known. */
  firstCalls: number;
  maxCalls: number;
  /** How long no call has to end, at least, for the target to be slow. */
  minMomentMs: number;
  slowForMs: number;
  /** The longest that a call waits for room, however fast the others are. */
  patienceMs: number;
  /** Whether a slow target is called all the same where nothing else is under way to it. */
  mayAskWhileSlow: boolean;
  now: () => Date;
}) {
  let size = firstCalls;
  let entered = 0;
  let running = 0;
  let emptySince = Number.NEGATIVE_INFINITY;
  let isHeld = false;
  let isSuspect = false;
  let slowUntil = Number.NEGATIVE_INFINITY;
  let usualMs: number | null = null;
  let waiting: { turnAway: () => void; letIn: () => void }[] = [];
  let timer: NodeJS.Timeout | undefined;

  const momentMs = (): number => Math.min(maxMomentMs, Math.max(minMomentMs, usualTimes * (usualMs ?? 0)));

  /** Takes a place, if there is one now. `busy`: do not wait for it either. */
  function enter(): 'entered' | 'full' | 'busy' {
    const at = now().getTime();
    if (entered === 0 && Math.abs(at - emptySince) >= idleMs) size = firstCalls;
    const isFull = isHeld || waiting.length > 0 || entered >= size;
    // In the first lane nobody but the one call that asks. In the other one as many as get an answer, and nobody waits.
    // What lasts for longer was noted by a clock that has been set back since.
    const isSlowStill = at < slowUntil && slowUntil - at <= slowForMs;
    const isToBeSpared = mayAskWhileSlow ? isFull : isFull || entered > 0 || isSlowStill;
    if (isSuspect && isToBeSpared) return 'busy';
    if (isFull) return 'full';
    entered += 1;
    return 'entered';
  }

  /** Waits for a place. False when it takes too long. */
  function wait(): Promise<boolean> {
    return new Promise((resolve) => {
      const patience = setTimeout(() => {
        waiting = waiting.filter((other) => other !== waiter);
        resolve(false);
      }, patienceMs);
      const waiter = {
        turnAway() {
          clearTimeout(patience);
          resolve(false);
        },
        letIn() {
          clearTimeout(patience);
          entered += 1;
          resolve(true);
        },
      };
      waiting.push(waiter);
      timer ??= watch();
    });
  }

  /** Gives a place back. */
  function leave(): void {
    entered -= 1;
    if (entered === 0) emptySince = now().getTime();
    letIn();
  }

  function letIn(): void {
    const room = isHeld ? 0 : Math.max(0, size - entered);
    for (const waiter of waiting.splice(0, room)) waiter.letIn();
  }

  function turnAllAway(): void {
    for (const { turnAway } of waiting.splice(0)) turnAway();
  }

  // By the timer and not by the clock: a call counts as slow by the time that really passes.
  const watch = (): NodeJS.Timeout | undefined =>
    waiting.length > 0 && running > 0 ? setTimeout(seeSlow, momentMs()) : undefined;

  function seeSlow(): void {
    timer = undefined;
    markSlow();
    turnAllAway();
  }

  function markSlow(): void {
    isSuspect = true;
    slowUntil = now().getTime() + slowForMs;
  }

  function begin(): void {
    running += 1;
    timer ??= watch();
  }

  function end(sign: Sign, durationMs: number): void {
    running -= 1;
    if (sign === 'alive') {
      size = Math.min(maxCalls, size + growth);
      usualMs = usualMs === null ? durationMs : usualMs + usualShare * (durationMs - usualMs);
      isSuspect = false;
    }
    if (sign === 'failed') {
      size = Math.max(1, Math.floor(size / 2));
      if (durationMs >= momentMs()) markSlow();
    }
    clearTimeout(timer);
    timer = watch();
    letIn();
  }

  return {
    enter,
    wait,
    leave,
    begin,
    end,
    turnAllAway,
    /** Lets nobody in until it is released: what came of a failure is not known yet. */
    hold: () => void (isHeld = true),
    release() {
      isHeld = false;
      letIn();
    },
  };
}
