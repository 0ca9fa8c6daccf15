// Pure core: imports nothing but its own kind.
import { compareDecimals, readDecimal } from './exact-number.ts';
import { numberText } from './exact-json.ts';
import { filterPath, type CompiledFilter, type Field, type Or, type Shape } from './filter.ts';
import { either, quote, type Condition } from './filter-condition.ts';
import {
  createMeter,
  evaluateCondition,
  evaluateShape,
  isFields,
  memberOf,
  TooManyStepsError,
  type FilteredEvent,
  type Meter,
} from './match-filter.ts';

const mostReasons = 20;
const longestReason = 1000;
const mostLeaves = 3;

/**
 * Why an event does not match a filter, in sentences for the person who wrote it: each condition that fails, with what is asked for and what is
 * there. For an event that does match there is nothing to say. Throws TooManyStepsError, when not even that can be told.
 */
export function explainMismatch({ shape }: CompiledFilter, event: FilteredEvent): string[] {
  const json = event.exact();
  if (evaluateShape(shape, json, createMeter()) !== 0) return [];
  try {
    return reasonsOf(shape, json, [], createMeter())
      .slice(0, mostReasons)
      .map((reason) => (reason.length > longestReason ? `${reason.slice(0, longestReason)}...` : reason));
  } catch (error) {
    if (error instanceof TooManyStepsError)
      return ['it does not match; to find out which condition fails would take too long'];
    throw error;
  }
}

type Path = readonly string[];

/** Of a shape that does not hold for a value. */
function reasonsOf(shape: Shape, value: unknown, path: Path, meter: Meter): string[] {
  const ors = [...shape.ors, ...shape.jointOrs];
  const alone = [
    ...shape.fields.flatMap((field) => fieldReasons(field, value, path, meter)),
    ...ors.flatMap((or) => orReasons(or, value, path, meter)),
  ];
  if (alone.length > 0) return alone;
  // Each of them holds by itself.
  const names = [
    ...new Set([...shape.fields.map(({ name }) => name), ...ors.flatMap((or) => [...or.names])]),
  ];
  const where = path.length === 0 ? 'the event' : filterPath(path);
  return [
    `${names.map((name) => filterPath([...path, name])).join(', ')}: each condition holds by itself, but no element of a list in ${where} meets all of them together`,
  ];
}

function fieldReasons(
  { name, conditions, shapes }: Field,
  value: unknown,
  path: Path,
  meter: Meter,
): string[] {
  const at = [...path, name];
  const members = membersOf(value, name);
  return [
    ...conditions.flatMap((condition) =>
      evaluateCondition(condition, members, meter) === 0 ? [conditionReason(condition, members, at)] : [],
    ),
    ...shapes.flatMap((shape) =>
      evaluateShape(shape, members, meter) === 0 ? reasonsOf(shape, members, at, meter) : [],
    ),
  ];
}

function orReasons({ ways }: Or, value: unknown, path: Path, meter: Meter): string[] {
  if (ways.some((way) => evaluateShape(way, value, meter) !== 0)) return [];
  const all = ways.map((way) => reasonsOf(way, value, path, meter).join('; '));
  return [
    `none of the ${ways.length} ways of ${filterPath([...path, '$or'])}: ${all.map((why, index) => `(${index + 1}) ${why}`).join('; ')}`,
  ];
}

/** The field of an object, or of all objects in a list, as the list that a filter sees. */
function membersOf(value: unknown, name: string): unknown {
  if (!Array.isArray(value)) return isFields(value) ? memberOf(value, name) : undefined;
  // Which element each comes from is kept: it is a list of lists.
  return value.map((element: unknown) => {
    const member = membersOf(element, name);
    return member === undefined ? [] : [member];
  });
}

function conditionReason({ asked, numbers }: Condition, value: unknown, path: Path): string {
  const leaves = leavesOf(value);
  const reason = `${filterPath(path)} ${found(value, leaves)}, but must be ${either(asked)}`;
  return leaves.some((leaf) => isSpeltOtherwise(leaf, numbers))
    ? `${reason}. Numbers are compared as they are written; { "numeric": ["=", ...] } compares their values`
    : reason;
}

function isSpeltOtherwise(leaf: unknown, numbers: ReadonlySet<string>): boolean {
  const text = numberText(leaf);
  if (text === null) return false;
  const decimal = readDecimal(text);
  return [...numbers].some((number) => compareDecimals(readDecimal(number), decimal) === 0);
}

function leavesOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value.flatMap(leavesOf);
  return value === undefined || isFields(value) ? [] : [value];
}

function found(value: unknown, leaves: readonly unknown[]): string {
  if (value === undefined) return 'is absent';
  if (leaves.length === 0) return hasFields(value) ? 'is an object' : 'has no value';
  const shown = leaves.slice(0, mostLeaves).map(showLeaf);
  const more = leaves.length - shown.length;
  if (leaves.length === 1) return `is ${shown[0]}`;
  return `has the values ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

const hasFields = (value: unknown): boolean =>
  Array.isArray(value) ? value.some(hasFields) : isFields(value);

function showLeaf(leaf: unknown): string {
  if (typeof leaf === 'string') return quote(leaf);
  const text = numberText(leaf) ?? String(leaf);
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}
