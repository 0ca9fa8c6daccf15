import type { KeyObject } from 'node:crypto';
import { signingKeyOf } from '../delivery/signature.ts';
import type { DomainEvent } from '../events/envelope.ts';
import type { EventTypeStore, StoredEventType } from '../catalogue/event-types.ts';
import { compileFilter, filterPath, type CompiledFilter } from '../filters/filter.ts';
import {
  filteredEvent,
  matchesFilter,
  TooManyStepsError,
  type FilteredEvent,
} from '../filters/match-filter.ts';
import type { OpenAuth } from '../delivery/authorize.ts';
import { withSecret } from './auth.ts';
import type { DataKey } from '../secrets/data-key.ts';
import type { Handler } from './handler.ts';
import type { Health } from './health.ts';
import { openSecret } from '../secrets/secret-envelope.ts';
import { targetVersionOf, type HandlerStore, type StoredHandler } from './store.ts';

/** The keys that sign a handler's deliveries (two while a rotation overlaps), or why there are none. */
export type Signing = { keys: readonly KeyObject[] } | { problem: string };

/** What a handler's filter asks of events; null when it has none. Or why that cannot be told. */
export type Filtering = CompiledFilter | { problem: string } | null;

/** A handler that events can be matched to. */
export type RegisteredHandler = {
  handler: Handler;
  filter: Filtering;
  signing: Signing;
  auth: OpenAuth;
  /** The version that brought its target, or enabled it. */
  targetVersion: number;
  /** Of its target as it is now; null when nothing is wrong. Circuits as of a second ago, streaks as of a minute. */
  health: Health | null;
};

/** The handlers as one dispatcher environment sees them, at most a second old. */
export type Registry = {
  /**
   * The enabled and disabled handlers that asked for this event: groups of equal priority, first one first. Where nobody can tell whether a
   * filter matches, its handler is among them, and `filter` says why: its execution fails, and is not lost.
   */
  matching(event: MatchableEvent): RegisteredHandler[][];
  /** Those that asked for events of this type, whatever their filters. */
  askedFor(event: Pick<DomainEvent, 'type'>): RegisteredHandler[][];
  /** The handler with this id, enabled or disabled; `archived` when that is what it is; null when there is none. */
  find(id: string): RegisteredHandler | 'archived' | null;
  /** What is stored of this event type; null when nothing is. */
  eventType(name: string): StoredEventType | null;
};

/** What has to be known of an event to find its handlers. */
export type MatchableEvent = Pick<DomainEvent, 'type' | 'raw' | 'json'>;

const revisionMaxAgeMs = 1000;
const registryMaxAgeMs = 60_000;

/**
 * Keeps the handlers in memory. The revision is read at most once a second and everything once a minute, so
 * an edit works for every event that arrives a second after the API said yes, and an event costs no read.
 *
 * @param eventTypes where what is stored of event types is of use; they are read when one of them has changed
 * @returns a function that gives the registry as it was no more than a second before it is called
 */
export function createRegistry({
  store,
  eventTypes,
  dataKey,
  now,
}: {
  store: HandlerStore;
  eventTypes?: Pick<EventTypeStore, 'readAll'>;
  dataKey: DataKey;
  now: () => Date;
}): () => Promise<Registry> {
  let registry: Registry = buildRegistry([], []);
  let revision = Number.NaN;
  // Who has no event types yet reads none.
  let storedTypes: { revision: number; types: readonly StoredEventType[] } = { revision: 0, types: [] };
  let checkedAt = Number.NEGATIVE_INFINITY;
  let loadedAt = Number.NEGATIVE_INFINITY;
  let refreshing: Promise<void> | undefined;

  return async () => {
    const notBefore = now().getTime() - revisionMaxAgeMs;
    // A clock that was set back must not keep an old view alive.
    if (checkedAt > now().getTime()) checkedAt = loadedAt = Number.NEGATIVE_INFINITY;
    // A refresh that is under way may have begun before an edit that this caller must see: only its start counts.
    while (checkedAt <= notBefore) {
      refreshing ??= refresh().finally(() => {
        refreshing = undefined;
      });
      await refreshing;
    }
    return registry;
  };

  async function refresh(): Promise<void> {
    const startedAt = now().getTime();
    const isOld = startedAt - loadedAt >= registryMaxAgeMs;
    if (isOld || (await store.revision()) !== revision) {
      const all = await store.readAll();
      const isArchived = ({ handler }: StoredHandler) => handler.status === 'archived';
      if (eventTypes !== undefined && all.eventTypesRevision !== storedTypes.revision) {
        storedTypes = { revision: all.eventTypesRevision, types: await eventTypes.readAll() };
      }
      registry = buildRegistry(
        await openHandlers(
          all.handlers.filter((stored) => !isArchived(stored)),
          all.health,
        ),
        all.handlers.filter(isArchived).map(({ handler }) => handler.id),
        storedTypes.types,
      );
      revision = all.revision;
      loadedAt = startedAt;
    }
    checkedAt = startedAt;
  }

  async function openHandlers(
    live: readonly StoredHandler[],
    health: ReadonlyMap<string, Health>,
  ): Promise<RegisteredHandler[]> {
    if (live.length === 0) return []; // A deployment without handlers has no data key yet.
    const key = await dataKey();
    return live.map((stored) => ({
      handler: stored.handler,
      filter: openFilter(stored.handler),
      signing: openSigning(key, stored, now()),
      auth: openAuth(key, stored),
      targetVersion: targetVersionOf(stored),
      health: healthOf(stored, health),
    }));
  }
}

/** What is known about the target that a handler has now. */
export function healthOf(stored: StoredHandler, health: ReadonlyMap<string, Health>): Health | null {
  const found = health.get(stored.handler.id);
  return found?.targetVersion === targetVersionOf(stored) ? found : null;
}

/** One envelope that does not open is the trouble of its handler, and must not stop the others. */
export function openSigning(
  dataKey: Buffer,
  { handler, sealedSecrets, retiredSecrets = [] }: StoredHandler,
  now: Date,
): Signing {
  const overlapping = retiredSecrets.filter(({ until }) => until > now.toISOString());
  const all = [...sealedSecrets, ...overlapping.map(({ sealed }) => sealed)];
  try {
    return { keys: all.map((sealed) => signingKeyOf(openSecret(dataKey, handler.id, sealed))) };
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

/** The credentials of a target with their secret in them. */
export function openAuth(
  dataKey: Buffer,
  { handler: { id, target }, sealedAuth }: Pick<StoredHandler, 'handler' | 'sealedAuth'>,
): OpenAuth {
  if (target.type !== 'http' || target.auth === null) return null;
  try {
    return withSecret(target.auth, openSecret(dataKey, id, sealedAuth ?? ''));
  } catch (error) {
    return { problem: (error as Error).message };
  }
}

/** Indexes handlers by what they ask for, so that an event looks at those alone. */
export function buildRegistry(
  handlers: readonly RegisteredHandler[],
  archivedIds: readonly string[],
  eventTypes: readonly StoredEventType[] = [],
): Registry {
  const byId = new Map<string, RegisteredHandler | 'archived'>([
    ...archivedIds.map((id) => [id, 'archived'] as const),
    ...handlers.map((registered) => [registered.handler.id, registered] as const),
  ]);
  const typesByName = new Map(eventTypes.map((type) => [type.name, type]));
  const byPattern = new Map<string, RegisteredHandler[]>();
  for (const registered of handlers) {
    for (const pattern of registered.handler.events) {
      const same = byPattern.get(pattern);
      if (same === undefined) byPattern.set(pattern, [registered]);
      else same.push(registered);
    }
  }
  const byType = ({ type }: Pick<DomainEvent, 'type'>): RegisteredHandler[] => [
    ...new Set(patternsFor(type).flatMap((pattern) => byPattern.get(pattern) ?? [])),
  ];
  return {
    matching(event) {
      const filtered = filteredEvent(event);
      return byPriority(byType(event).flatMap((registered) => heldAgainst(registered, filtered) ?? []));
    },
    askedFor: (event) => byPriority(byType(event)),
    find: (id) => byId.get(id) ?? null,
    eventType: (name) => typesByName.get(name) ?? null,
  };
}

function byPriority(handlers: readonly RegisteredHandler[]): RegisteredHandler[][] {
  const groups = Map.groupBy(handlers, ({ handler }) => handler.priority);
  return [...groups].toSorted(([a], [b]) => a - b).map(([, group]) => group);
}

/** Null when its filter does not let the event through. */
function heldAgainst(registered: RegisteredHandler, event: FilteredEvent): RegisteredHandler | null {
  const { filter } = registered;
  if (filter === null || 'problem' in filter) return registered;
  const answer = matchesOrProblem(filter, event);
  if (typeof answer !== 'boolean') return { ...registered, filter: answer };
  return answer ? registered : null;
}

/** Whether a filter lets an event through, or why nobody can tell. */
export function matchesOrProblem(
  filter: Exclude<Filtering, null>,
  event: FilteredEvent,
): boolean | { problem: string } {
  if ('problem' in filter) return filter;
  try {
    return matchesFilter(filter, event);
  } catch (error) {
    if (error instanceof TooManyStepsError) return { problem: error.message };
    throw error;
  }
}

/** A filter of an older version that is not good any more is the trouble of its handler, and must not stop the others. */
export function openFilter({ filter }: Pick<Handler, 'filter'>): Filtering {
  if (filter === null) return null;
  const opened = compileFilter(filter);
  if (opened.ok) return opened.filter;
  const [fault] = opened.faults;
  return { problem: `filter.${filterPath(fault?.path ?? [])} ${fault?.message}` };
}

/**
 * Whether a handler wants events of a type. Its filter is another question: `matching` asks both. The index of the registry comes to the
 * same.
 */
export const asksFor = ({ events }: Pick<Handler, 'events'>, { type }: Pick<DomainEvent, 'type'>): boolean =>
  patternsFor(type).some((pattern) => events.includes(pattern));

/**
 * The patterns that match an event type: `a.b.c` itself, `a.b.*`, `a.*` and `*`.
 * Events about Handoff's own life are not matched by `*`: who wants them asks for them by name.
 */
export function patternsFor(type: string): string[] {
  const patterns = [type];
  for (let dot = type.lastIndexOf('.'); dot > 0; dot = type.lastIndexOf('.', dot - 1)) {
    patterns.push(`${type.slice(0, dot)}.*`);
  }
  if (!type.startsWith('handoff.')) patterns.push('*');
  return patterns;
}
