import { closest } from 'fastest-levenshtein';
import { domainEvents, type DescribedEvent } from './domain-events.ts';

/** An event type of the billing domain. */
export type BuiltInEventType = DescribedEvent & {
  name: BuiltInName;
  /** The part of the label before its colon: `Clients`. */
  group: string;
  oldId: string;
};

export type BuiltInName = (typeof domainEvents)[number]['name'];

/** The event types of the billing domain. Names that begin like one of these must be one of these. */
export const builtInEventTypes: readonly BuiltInEventType[] = domainEvents.map((type) => ({
  ...type,
  group: type.label.slice(0, type.label.indexOf(':')),
}));

const builtInNames: readonly string[] = builtInEventTypes.map(({ name }) => name);
const builtInPrefixes = new Set(builtInNames.map((name) => name.slice(0, name.indexOf('.') + 1)));

// All that could have been meant by a mistyped pattern: `client.*`, `client.balance.*` and the names themselves.
const builtInPatterns = [
  ...builtInNames,
  ...builtInNames.flatMap((name) =>
    [...name.matchAll(/\./gu)].map(({ index }) => `${name.slice(0, index)}.*`),
  ),
];

/** The built-in name nearest to a name that begins like one of them; null for all other names. */
export const nearestBuiltIn = (name: string): string | null =>
  builtInPrefixes.has(name.slice(0, name.indexOf('.') + 1)) ? closest(name, builtInNames) : null;

const notBefore = 'handlers only run after the fact, there are no "before" events';

// Lower-case dotted names: client.create, crm.contact_merged. EventBridge allows 128 characters.
const dottedName = /^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$/u;
const dotted = dottedName.source.slice(1, -1);
const maxNameLength = 128;

/** What a description of the API can say about the name of an event type, and of a pattern; the two functions below know it all. */
export const eventTypeForm = { pattern: dottedName.source, maxLength: maxNameLength };
export const eventPatternForm = {
  pattern: String.raw`^(\*|${dotted}(\.\*)?)$`,
  maxLength: maxNameLength,
};

/** Why `name` cannot be an event type, as a sentence; null when it can. */
export function eventTypeProblem(name: string): string | null {
  if (name.length > maxNameLength) return `is longer than ${maxNameLength} characters`;
  if (!dottedName.test(name)) return 'must be a lower-case dotted name such as client.create';
  if (name.startsWith('before.')) return notBefore;
  const nearest = nearestBuiltIn(name);
  return nearest === null || nearest === name
    ? null
    : `there is no event type "${name}"; did you mean "${nearest}"?`;
}

/**
 * Why `pattern` cannot stand in a handler's `events`, as a sentence; null when it can.
 * A pattern is an exact name, a prefix and a star (`client.*`), or `*`.
 */
export function eventPatternProblem(pattern: string): string | null {
  if (pattern === '*') return null;
  if (!pattern.endsWith('.*')) return eventTypeProblem(pattern);
  const stem = pattern.slice(0, -2);
  if (pattern.length > maxNameLength) return `is longer than ${maxNameLength} characters`;
  if (!dottedName.test(stem)) return 'must be a name, a name with ".*" at its end, or "*"';
  if (`${stem}.`.startsWith('before.')) return notBefore;
  const prefix = `${stem}.`;
  const startsLikeBuiltIn = [...builtInPrefixes].some((known) => prefix.startsWith(known));
  if (startsLikeBuiltIn && !builtInNames.some((name) => name.startsWith(prefix))) {
    return `no event type begins with "${prefix}"; did you mean "${closest(pattern, builtInPatterns)}"?`;
  }
  return null;
}
