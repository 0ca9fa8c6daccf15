// Pure core: imports nothing but its own kind.
import { numberText, parseExact } from './exact-json.ts';
import type { Asked, CompiledFilter, Field, Or, Shape } from './filter.ts';
import { holdsFor, type Condition } from './filter-condition.ts';

/** The JSON of an event, as filters want it. */
export type FilteredEvent = {
  /** Its values, however their numbers were written. */
  plain: () => unknown;
  /** Its values by `parseExact`. */
  exact: () => unknown;
};

/** An event that is parsed already. By `parseExact` it is parsed when a filter asks how its numbers were written, once for all filters. */
export function filteredEvent({ raw, json }: { raw: string; json: unknown }): FilteredEvent {
  let exact: { json: unknown } | undefined;
  return { plain: () => json, exact: () => (exact ??= { json: parseExact(raw) }).json };
}

/**
 * What it may cost to hold one filter against one event, in steps of about 20 ns: a step for each value that is looked at, more where a text has
 * to be read to its end. The largest event with 100,000 values in lists takes a filter of ten conditions about a million.
 */
export const maxSteps = 5_000_000;

/** A filter and an event were made for each other: to tell whether they match would take too long. */
export class TooManyStepsError extends Error {
  override name = 'TooManyStepsError' as const;
}

/**
 * Whether an event matches a filter, as EventBridge has it. Throws TooManyStepsError.
 *
 * In a list of objects all that is asked of its elements must hold for one of them. Where a field is asked to be absent, the element counts
 * that the rest is found in, or all elements when there is no rest.
 */
export const matchesFilter = ({ shape, readsNumbers }: CompiledFilter, event: FilteredEvent): boolean =>
  evaluateShape(shape, readsNumbers ? event.exact() : event.plain(), createMeter()) !== no;

/** Counts steps, and throws when there are too many. */
export type Meter = { steps: number; limit: number };

export const createMeter = (limit: number = maxSteps): Meter => ({ steps: 0, limit });

function spend(meter: Meter, steps: number): void {
  meter.steps += steps;
  if (meter.steps > meter.limit) {
    throw new TooManyStepsError(
      `To tell whether the filter matches this event would take more than ${meter.limit} steps.`,
    );
  }
}

/**
 * How something that is asked of a value holds: not at all; because there is nothing, where that is asked for; or because something is there,
 * which ties all else that is asked of the same list to the element that it is in.
 */
export type Answer = 0 | 1 | 2;
const no = 0;
const absent = 1;
const present = 2;

const both = (a: Answer, b: Answer): Answer => (a === no || b === no ? no : a > b ? a : b);

/** How a shape by itself holds for a value, which may be missing. */
export const evaluateShape = (shape: Shape, value: unknown, meter: Meter): Answer =>
  evaluate({ conditions: [], shapes: [shape] }, value, false, meter);

/** How a condition by itself holds for a value, which may be missing. */
export const evaluateCondition = (condition: Condition, value: unknown, meter: Meter): Answer =>
  evaluate({ conditions: [condition], shapes: [] }, value, false, meter);

/** @param isSeen whether there is a value beside this one in a list that is part of the same field */
function evaluate(asked: Asked, value: unknown, isSeen: boolean, meter: Meter): Answer {
  spend(meter, 1);
  if (Array.isArray(value)) return evaluateList(asked, value, isSeen, meter);
  const { conditions, shapes } = asked;
  if (isFields(value)) {
    if (conditions.length > 0 && !canBeAbsent(conditions, isSeen)) return no;
    return shapes.length === 0 ? absent : evaluateFields(shapes, value, meter);
  }
  if (!shapes.every(({ takesAbsence }) => takesAbsence)) return no;
  if (value === undefined) return canBeAbsent(conditions, isSeen) ? absent : no;
  if (!conditions.every((condition) => holds(condition, value, meter))) return no;
  return conditions.length === 0 ? absent : present;
}

const canBeAbsent = (conditions: readonly Condition[], isSeen: boolean): boolean =>
  conditions.length === 0 || (!isSeen && conditions.every(({ takesAbsence }) => takesAbsence));

/** Whether it is an object of JSON: no list, and no number that `parseExact` has kept. */
export const isFields = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && numberText(value) === null;

// Texts and numbers in a list are no elements that anything else could be in: each condition may have another one. Lists in it and objects are.
function evaluateList(
  { conditions, shapes }: Asked,
  list: readonly unknown[],
  isSeen: boolean,
  meter: Meter,
): Answer {
  let open = conditions;
  let hasLeaf = false;
  let hasParts = false;
  for (const element of list) {
    spend(meter, 1);
    if (Array.isArray(element) || isFields(element)) {
      hasParts = true;
      continue;
    }
    hasLeaf = true;
    if (open.some((condition) => holds(condition, element, meter)))
      open = open.filter((condition) => !holds(condition, element, meter));
  }
  if (conditions.length > 0 && open.length === 0 && shapes.length === 0) return present;
  const isClosed = open.length < conditions.length;
  const isSeenHere = isSeen || hasLeaf;
  let isAbsent = canBeAbsent(open, isSeenHere) && shapes.every(({ takesAbsence }) => takesAbsence);
  if (hasParts) {
    const rest = isClosed ? { conditions: open, shapes } : { conditions, shapes };
    for (const element of list) {
      if (!Array.isArray(element) && !isFields(element)) continue;
      const answer = evaluate(rest, element, isSeenHere, meter);
      if (answer === present) return present;
      if (answer === no) isAbsent = false;
    }
  }
  if (!isAbsent) return no;
  return isClosed ? present : absent;
}

function holds(condition: Condition, leaf: unknown, meter: Meter): boolean {
  const { tests, scans } = condition;
  spend(meter, 1 + tests.length);
  // About four characters in the time of a step.
  if (scans > 0) spend(meter, scans * (lengthOf(leaf) >> 2));
  return holdsFor(condition, leaf);
}

const lengthOf = (leaf: unknown): number =>
  typeof leaf === 'string' ? leaf.length : (numberText(leaf)?.length ?? 0);

function evaluateFields(shapes: readonly Shape[], object: Record<string, unknown>, meter: Meter): Answer {
  const [shape] = shapes;
  if (shape === undefined || shapes.length > 1) {
    return evaluateTogether(shapes, mergedShapes(shapes).ors, object, meter);
  }
  let answer = evaluateTogether(shapes, shape.jointOrs, object, meter);
  for (const { ways } of shape.ors) {
    if (answer === no) return no;
    answer = both(answer, evaluateWays(ways, object, meter));
  }
  return answer;
}

function evaluateWays(ways: readonly Shape[], object: Record<string, unknown>, meter: Meter): Answer {
  let best: Answer = no;
  for (const way of ways) {
    const answer = evaluateFields([way], object, meter);
    if (answer === present) return present;
    if (answer > best) best = answer;
  }
  return best;
}

/** Tries the ways of each `$or` together with all that is asked for beside it. */
function evaluateTogether(
  shapes: readonly Shape[],
  ors: readonly Or[],
  object: Record<string, unknown>,
  meter: Meter,
): Answer {
  const [or, ...others] = ors;
  if (or === undefined) return evaluateNamed(shapes, object, meter);
  let best: Answer = no;
  const named = shapes.reduce((sum, { fields }) => sum + fields.length, 1);
  for (const way of or.ways) {
    spend(meter, named + way.fields.length);
    const answer = evaluateTogether(
      [...shapes, way],
      [...others, ...way.ors, ...way.jointOrs],
      object,
      meter,
    );
    if (answer === present) return present;
    if (answer > best) best = answer;
  }
  return best;
}

function evaluateNamed(shapes: readonly Shape[], object: Record<string, unknown>, meter: Meter): Answer {
  const [shape] = shapes;
  const fields = shape !== undefined && shapes.length === 1 ? shape.fields : mergedShapes(shapes).fields;
  let answer: Answer = absent;
  for (const field of fields) {
    answer = both(answer, evaluate(field, memberOf(object, field.name), false, meter));
    if (answer === no) return no;
  }
  return answer;
}

type Merged = { fields: readonly Field[]; ors: readonly Or[] };
const merged = new WeakMap<readonly Shape[], Merged>();

/** All that several shapes ask of one object. The same list of them is asked of every element of a list. */
function mergedShapes(shapes: readonly Shape[]): Merged {
  const known = merged.get(shapes);
  if (known !== undefined) return known;
  const byName = Map.groupBy(
    shapes.flatMap(({ fields }) => fields),
    ({ name }) => name,
  );
  const made = {
    fields: [...byName].map(([name, same]) => ({
      name,
      conditions: same.flatMap(({ conditions }) => conditions),
      shapes: same.flatMap((field) => field.shapes),
    })),
    ors: shapes.flatMap(({ ors, jointOrs }) => [...ors, ...jointOrs]),
  };
  merged.set(shapes, made);
  return made;
}

/** Undefined when there is none: what objects inherit is nobody's field. */
export const memberOf = (object: Record<string, unknown>, name: string): unknown =>
  Object.hasOwn(object, name) ? object[name] : undefined;
