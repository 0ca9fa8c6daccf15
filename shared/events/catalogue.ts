import { closest } from 'fastest-levenshtein';

/** The event types of the billing domain. Names that begin like one of these must be one of these. */
export const builtInEventTypes = [
  'client.create',
  'client.update',
  'client.delete',
  'client.archive',
  'client.custom_fields.update',
  'client.balance.nonnegative',
  'client.balance.nonpositive',
  'account.create',
  'account.update',
  'account.delete',
  'subscription.assign',
  'subscription.activate',
  'subscription.deactivate',
  'subscription.renew',
  'subscription.close',
  'email_rates.import',
  'import.failed',
  'import.success',
] as const;

const builtInPrefixes = new Set(builtInEventTypes.map((name) => name.slice(0, name.indexOf('.') + 1)));

const notBefore = 'handlers only run after the fact, there are no "before" events';

// Lower-case dotted names: client.create, crm.contact_merged. EventBridge allows 128 characters.
const dottedName = /^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$/u;

/** Why `name` cannot be an event type, as a sentence; null when it can. */
export function eventTypeProblem(name: string): string | null {
  if (name.length > 128) return 'is longer than 128 characters';
  if (!dottedName.test(name)) return 'must be a lower-case dotted name such as client.create';
  if (name.startsWith('before.')) return notBefore;
  const startsLikeBuiltIn = builtInPrefixes.has(name.slice(0, name.indexOf('.') + 1));
  if (startsLikeBuiltIn && !builtInEventTypes.some((known) => known === name)) {
    return `there is no event type "${name}"; did you mean "${closest(name, builtInEventTypes)}"?`;
  }
  return null;
}

/**
 * Why `pattern` cannot stand in a handler's `events`, as a sentence; null when it can.
 * A pattern is an exact name, a prefix and a star (`client.*`), or `*`.
 */
export function eventPatternProblem(pattern: string): string | null {
  if (pattern === '*') return null;
  if (!pattern.endsWith('.*')) return eventTypeProblem(pattern);
  const stem = pattern.slice(0, -2);
  if (pattern.length > 128) return 'is longer than 128 characters';
  if (!dottedName.test(stem)) return 'must be a name, a name with ".*" at its end, or "*"';
  if (`${stem}.`.startsWith('before.')) return notBefore;
  const prefix = `${stem}.`;
  const startsLikeBuiltIn = [...builtInPrefixes].some((known) => prefix.startsWith(known));
  if (startsLikeBuiltIn && !builtInEventTypes.some((name) => name.startsWith(prefix))) {
    return `no event type begins with "${prefix}"; did you mean "${closest(stem, builtInEventTypes)}"?`;
  }
  return null;
}
