import { isOwnEvent, type Announce, type OwnEvent } from '../events/own-events.ts';
import type { DisableHandler } from '../handlers/disable-handler.ts';
import type { Handler } from '../handlers/handler.ts';
import type { HealthStore, Subject } from '../handlers/health-store.ts';
import { failureRate, failuresToOpen, maxFailureGapMs } from '../handlers/health.ts';
import type { RegisteredHandler, Registry } from '../handlers/registry.ts';
import { createCallWindow, type CallWindow, type Sign } from './call-window.ts';
import type { Outcome } from './outcome.ts';

/** The right to make one call. To be given back, however the call ends. */
export type Place = { leave: () => void };

/** `open`: the call is not to be made, because the circuit is. `busy`: it is not to be made here and now. */
export type Refusal = 'open' | 'busy';

/**
 * Makes a call and learns from it how the target is. `isLater`: not the first one of its execution, so that the table may have failures
 * which another environment has told it of.
 */
export type Observe = (
  registered: RegisteredHandler,
  { event, isLater }: { event: { source: string }; isLater: boolean },
  call: () => Promise<Outcome>,
) => Promise<Outcome>;

/** What one environment knows about one target. */
type View = {
  subject: Subject;
  /** As it was last called. */
  handler: Handler;
  /** The event that it was last called with. */
  event: { source: string };
  window: CallWindow;
  maxGapMs: number;
  /** Failures in a row that the table does not have yet. */
  failures: { count: number; since: string } | null;
  /** The last calls, whether they failed; those that follow one another closely. */
  calls: boolean[];
  lastEndedAt: number;
  aliveAt: string | null;
  /** Whether the table has failures, as far as is known here. */
  hasReported: boolean;
  /** The success that the table has to forget them for. */
  forgetAt: string | null;
  /** When it last did, milliseconds. */
  lastForgetAt: number;
  /** Failures until then have been ended by this environment, whatever its registry still shows. */
  forgottenUntil: string;
  /** The circuit is known to be open although the registry may not show it yet: until then. */
  openUntil: number;
  /** The circuit that an answer has shown to be none any more. */
  answered: { calledAt: Date } | null;
  telling: Promise<void> | null;
};

// The registry is a second old at most, and knows it then.
const registryMaxAgeMs = 1000;
// Failures that have opened nothing are no reason to read it anew.
const healthMaxAgeMs = 60_000;
const dayMs = 86_400_000;
/** How long a slow target is kept out of the first lane. */
const slowForMs = 30_000;
// An endpoint that has just died should cost little. A script has to start first: on Lambda that takes seconds, and it is no reason to turn
// the others away.
const beginnings = {
  http: { firstCalls: 1, minMomentMs: 1000 },
  script: { firstCalls: 8, minMomentMs: 5000 },
} as const;

/**
 * Whether a handler may be called now, and what its calls say about its target: to this environment at once, to the others through the
 * table, once for all failures that are there to be told.
 */
export function createCircuits({
  health,
  currentRegistry,
  isOn,
  autoDisableDays,
  disableHandler,
  announce,
  lane,
  maxCalls,
  scale,
  now,
  random,
}: {
  health: HealthStore;
  currentRegistry: () => Promise<Registry>;
  /** Off: nothing is counted, and no circuit is open. */
  isOn: boolean;
  /** A handler whose target has answered nothing but failures for so long is disabled; 0: none ever is. */
  autoDisableDays: number;
  disableHandler: DisableHandler;
  announce: Announce;
  lane: 'first' | 'later';
  /** Calls of one handler under way at once. */
  maxCalls: number;
  scale: number;
  now: () => Date;
  random: () => number;
}) {
  const views = new Map<string, View>();
  const problems: unknown[] = [];

  function viewOf({ handler, targetVersion }: RegisteredHandler): View {
    const known = views.get(handler.id);
    if (known?.subject.targetVersion === targetVersion) return known;
    const view: View = {
      subject: { handlerId: handler.id, targetVersion },
      handler,
      event: { source: '' },
      window: createCallWindow({
        ...beginnings[handler.target.type],
        maxCalls,
        slowForMs: slowForMs * scale,
        patienceMs: lane === 'first' ? 10_000 : 60_000,
        mayAskWhileSlow: lane === 'later',
        now,
      }),
      maxGapMs: maxFailureGapMs(handler, scale),
      failures: null,
      calls: [],
      lastEndedAt: Number.NEGATIVE_INFINITY,
      aliveAt: null,
      hasReported: false,
      forgetAt: null,
      lastForgetAt: Number.NEGATIVE_INFINITY,
      forgottenUntil: '',
      openUntil: Number.NEGATIVE_INFINITY,
      answered: null,
      telling: null,
    };
    views.set(handler.id, view);
    return view;
  }

  const isOpen = (registered: RegisteredHandler, view: View): boolean =>
    isOn && ((registered.health?.circuit ?? null) !== null || isKnownToBeOpen(view));

  // What would be known for longer was noted by a clock that has been set back since.
  function isKnownToBeOpen({ openUntil }: View): boolean {
    const leftMs = openUntil - now().getTime();
    return leftMs > 0 && leftMs <= registryMaxAgeMs;
  }

  const placeIn = (view: View): Place => ({ leave: () => view.window.leave() });

  /** A place for one call, if there is one now; `full` where it has to be waited for. */
  function admitNow(registered: RegisteredHandler): Place | Refusal | 'full' {
    const view = viewOf(registered);
    if (isOpen(registered, view)) return 'open';
    const entered = view.window.enter();
    return entered === 'entered' ? placeIn(view) : entered;
  }

  /** A place for one call; waits for a moment where there is none. */
  async function admit(registered: RegisteredHandler): Promise<Place | Refusal> {
    const admitted = admitNow(registered);
    if (admitted !== 'full') return admitted;
    const view = viewOf(registered);
    const isIn = await view.window.wait();
    // Somebody else may have found out meanwhile.
    const current = (await currentRegistry()).find(registered.handler.id);
    if (isOpen(current === null || current === 'archived' ? registered : current, view)) {
      if (isIn) view.window.leave();
      return 'open';
    }
    return isIn ? placeIn(view) : 'busy';
  }

  /** Makes a call and notes what it says about the target. */
  async function observe(
    registered: RegisteredHandler,
    { event, isLater }: { event: { source: string }; isLater: boolean },
    call: () => Promise<Outcome>,
  ): Promise<Outcome> {
    const view = viewOf(registered);
    Object.assign(view, { handler: registered.handler, event });
    const calledAt = now();
    const startedMs = performance.now();
    let sign: Sign = 'neither';
    view.window.begin();
    try {
      const outcome = await call();
      sign = signOf(outcome);
      if (isOn) note(view, registered, { sign, calledAt, isLater });
      // Where failures open nothing, they would keep the window of a target small that answers as fast as any.
      else if (outcome.kind === 'failed' && outcome.statusCode !== null) sign = 'alive';
      return outcome;
    } finally {
      view.window.end(sign, performance.now() - startedMs);
    }
  }

  function note(
    view: View,
    registered: RegisteredHandler,
    { sign, calledAt, isLater }: { sign: Sign; calledAt: Date; isLater: boolean },
  ): void {
    if (sign === 'neither') return;
    const at = now();
    const endedAt = at.toISOString();
    if (at.getTime() - view.lastEndedAt > view.maxGapMs) view.calls = [];
    view.lastEndedAt = at.getTime();
    view.calls.push(sign === 'failed');
    if (view.calls.length > failureRate.calls) view.calls.shift();
    if (sign === 'failed') {
      view.failures = { count: (view.failures?.count ?? 0) + 1, since: view.failures?.since ?? endedAt };
      view.forgetAt = null;
      view.window.hold();
    } else {
      view.failures = null;
      view.aliveAt = endedAt;
      const { circuit, lastFailureAt } = registered.health ?? { circuit: null, lastFailureAt: '' };
      if (lastFailureAt > view.forgottenUntil) {
        view.hasReported = true;
        view.forgottenUntil = lastFailureAt;
      }
      // The registry shows it only after a minute, and a failure that nobody forgets would be the beginning of the next one, days later.
      const isUnsure = isLater && Math.abs(at.getTime() - view.lastForgetAt) >= healthMaxAgeMs;
      if (view.hasReported || isUnsure) view.forgetAt = endedAt;
      if (circuit !== null && circuit.openedAt <= calledAt.toISOString()) view.answered = { calledAt };
      view.window.release();
    }
    beginTelling(view);
  }

  const hasNews = ({ failures, answered, forgetAt }: View): boolean =>
    failures !== null || answered !== null || forgetAt !== null;

  function beginTelling(view: View): void {
    if (view.telling !== null || !hasNews(view)) return;
    view.telling = tell(view).finally(() => {
      view.telling = null;
      view.window.release();
      beginTelling(view);
    });
  }

  /** Tells the table what it does not know, until there is nothing left to tell. */
  async function tell(view: View): Promise<void> {
    try {
      while (hasNews(view)) {
        if (view.failures !== null) await tellFailures(view, view.failures);
        else if (view.answered !== null) {
          const { calledAt } = view.answered;
          view.answered = null;
          view.openUntil = Number.NEGATIVE_INFINITY;
          await closeCircuit(view, calledAt);
        } else if (view.forgetAt !== null) {
          const { forgetAt } = view;
          view.forgetAt = null;
          view.hasReported = false;
          view.lastForgetAt = now().getTime();
          await health.forgetFailures(view.subject, forgetAt);
        }
      }
    } catch (error) {
      // It is said again with the next failure.
      problems.push(error);
    }
  }

  async function tellFailures(view: View, { count, since }: NonNullable<View['failures']>): Promise<void> {
    view.failures = null;
    view.hasReported = true;
    const { subject, maxGapMs } = view;
    // A success that is later than the failures behind it was noted by a clock that has been set back since: it would end every streak.
    const aliveAt = view.aliveAt !== null && view.aliveAt > since ? since : view.aliveAt;
    const known = await health.reportFailures(subject, { count, since, aliveAt, maxGapMs });
    if (known === null) return;
    if (hasFailedTooLong(known.failingSince)) await disableHandler(view.handler, 'failing', view.event);
    const isFailing = view.calls.filter(Boolean).length >= failureRate.failures;
    if (known.circuit === null) {
      if (known.streak < failuresToOpen && !isFailing) return;
      const opened = await health.open(subject, {
        random: random(),
        ...(isFailing && { streak: 1 }),
      });
      if (opened) await tellAbout(view, 'handoff.circuit.opened', now().toISOString());
      // Not opened by us: by somebody else most likely, and else it will be at the next failure.
      if (!opened && known.streak < failuresToOpen) return;
    }
    view.calls = [];
    view.openUntil = now().getTime() + registryMaxAgeMs;
    view.window.turnAllAway();
  }

  async function closeCircuit(
    view: Pick<View, 'subject' | 'handler' | 'event'>,
    calledAt: Date,
  ): Promise<void> {
    const closed = await health.close(view.subject, calledAt);
    if (closed) await tellAbout(view, 'handoff.circuit.closed', now().toISOString());
  }

  async function tellAbout(
    { handler: { id, name }, event }: Pick<View, 'handler' | 'event'>,
    type: Extract<OwnEvent['type'], `handoff.circuit.${string}`>,
    since: string,
  ): Promise<void> {
    if (isOwnEvent(event)) return;
    const data = { handlerId: id, handlerName: name, since };
    problems.push(...(await announce([{ type, objectId: id, data }])));
  }

  /** Whether there has been nothing but failures for so long that somebody has to look. */
  const hasFailedTooLong = (failingSince: string): boolean =>
    autoDisableDays > 0 && now().getTime() - Date.parse(failingSince) >= autoDisableDays * dayMs;

  /** Resolves when the table knows what this environment knows. Answers what went wrong with that since the last time. */
  async function flush(): Promise<unknown[]> {
    for (;;) {
      const telling = [...views.values()].flatMap((view) => view.telling ?? []);
      if (telling.length === 0) return problems.splice(0);
      await Promise.all(telling);
    }
  }

  /** Whether no call is to be made, whatever room there is. */
  const isOpenFor = (registered: RegisteredHandler): boolean => isOpen(registered, viewOf(registered));

  return { admit, admitNow, isOpenFor, observe, closeCircuit, hasFailedTooLong, flush };
}

/** What an outcome says about a target: any answer that would be the same another time says that it is alive. */
export function signOf(outcome: Outcome): Sign {
  if (outcome.kind === 'put-off' || (outcome.kind === 'failed' && outcome.isUnsent)) return 'neither';
  // Who asks for something is alive.
  return outcome.kind === 'failed' && outcome.retryable && outcome.demand === undefined ? 'failed' : 'alive';
}
