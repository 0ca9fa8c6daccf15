// Pure core: imports nothing but its own kind.
import { isObject } from '../json-object.ts';
import { numberText } from './exact-json.ts';
import { readCondition, type Condition, type FilterFault, type Reading } from './filter-condition.ts';

/** An EventBridge event pattern, as JSON. Numbers as `parseExact` leaves them. */
export type Filter = Readonly<Record<string, unknown>>;

/** What is asked of one value. More than one thing only where `$or` names a field that is named beside it, too. */
export type Asked = { conditions: readonly Condition[]; shapes: readonly Shape[] };

/** A field that a filter names, with one thing that it asks: of its value, or of the fields in it. */
export type Field = Asked & { name: string };

/** What a filter asks of an object: all of the fields, and of each `$or` one of its ways. */
export type Shape = {
  fields: readonly Field[];
  /** Those that name other fields than all else here: they can be looked at by themselves. */
  ors: readonly Or[];
  /** Those that share a field with something here: what they ask of it must hold together. */
  jointOrs: readonly Or[];
  /** Whether it holds where there is no such object. */
  takesAbsence: boolean;
};

/** One of them must hold. */
export type Or = { ways: readonly Shape[]; names: ReadonlySet<string> };

/** A filter, ready to be held against events. */
export type CompiledFilter = {
  shape: Shape;
  /** Whether it matters how a number was written: then it wants events as `parseExact` has them. */
  readsNumbers: boolean;
};

/** The bounds of a filter, which `docs/filters.md` tells. AWS takes 2,048 characters. */
export const filterLimits = { characters: 16_384, depth: 50, combinations: 1000, wildcards: 100 };

const mostFaults = 20;

// AWS keeps these names from fields inside of $or: https://github.com/aws/event-ruler#the-or-primitive
const reservedInOr = new Set(
  `exactly equals-ignore-case prefix suffix anything-but exists wildcard numeric cidr = < <= > >= regex not-wildcard
   not-equals-ignore-case date-after date-on-or-after date-before date-on-or-before in-date-range ip-address-in-range
   ip-address-not-in-range`.split(/\s+/u),
);

/** Reads an event pattern: what is wrong with it, with the place of each fault, or how it is held against events. */
export function compileFilter(
  pattern: unknown,
): { ok: true; filter: CompiledFilter } | { ok: false; faults: FilterFault[] } {
  if (!isObject(pattern) || numberText(pattern) !== null)
    return { ok: false, faults: [{ path: [], message: 'must be an event pattern, an object, or null' }] };
  const { characters, combinations, wildcards } = filterLimits;
  const size = sizeOf(pattern);
  if (typeof size === 'string') return { ok: false, faults: [{ path: [], message: size }] };
  if (size > characters) {
    const message = `has ${size} characters as JSON, and at most ${characters} are allowed`;
    return { ok: false, faults: [{ path: [], message }] };
  }
  const reading: Reading = { faults: [], wildcards: 0, readsNumbers: false };
  const shape = readShape(pattern, [], reading, { inOr: false });
  const { faults, readsNumbers } = reading;
  if (faults.length === 0) {
    const count = combinationsOf(shape);
    if (count > combinations) {
      const message = `has more than ${combinations} combinations of the ways in its $or, which multiply`;
      faults.push({ path: [], message });
    }
    if (reading.wildcards > wildcards) {
      faults.push({
        path: [],
        message: `has ${reading.wildcards} wildcards, and at most ${wildcards} are allowed`,
      });
    }
  }
  return faults.length === 0
    ? { ok: true, filter: { shape, readsNumbers } }
    : { ok: false, faults: faults.slice(0, mostFaults) };
}

/** `detail.items[0].prefix`: where a fault is. */
export const filterPath = (path: FilterFault['path']): string =>
  path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    if (!/^[^.[\]"\s]+$/u.test(step)) return `${text}[${JSON.stringify(step)}]`;
    return text === '' ? step : `${text}.${step}`;
  }, '');

// JSON.stringify would follow any depth until the stack is full.
function sizeOf(pattern: unknown): number | string {
  const { depth } = filterLimits;
  const isDeeper = (value: unknown, levels: number): boolean =>
    typeof value === 'object' &&
    value !== null &&
    (levels === 0 || Object.values(value).some((member) => isDeeper(member, levels - 1)));
  if (isDeeper(pattern, depth)) return `is nested more than ${depth} levels deep`;
  return JSON.stringify(pattern).length;
}

function readShape(
  pattern: Record<string, unknown>,
  path: FilterFault['path'],
  reading: Reading,
  { inOr }: { inOr: boolean },
): Shape {
  const { faults } = reading;
  const fields: Field[] = [];
  const ors: Or[] = [];
  const entries = Object.entries(pattern);
  if (entries.length === 0) faults.push({ path, message: 'must not be empty: name at least one field' });
  for (const [name, value] of entries) {
    const at = [...path, name];
    if (name === '$or') {
      const or = readOr(value, at, reading);
      if (or !== null) ors.push(or);
    } else if (inOr && reservedInOr.has(name)) {
      faults.push({ path: at, message: 'is the name of an operator, which no field inside of $or may have' });
    } else if (Array.isArray(value)) {
      if (value.length === 0)
        faults.push({ path: at, message: 'must not be empty: name at least one value' });
      fields.push({ name, conditions: [readCondition(value as unknown[], at, reading)], shapes: [] });
    } else if (isObject(value) && numberText(value) === null) {
      fields.push({ name, conditions: [], shapes: [readShape(value, at, reading, { inOr })] });
    } else {
      faults.push({ path: at, message: howToWrite(name, value) });
    }
  }
  return shapeOf(fields, ors);
}

function howToWrite(name: string, value: unknown): string {
  const shown = numberText(value) ?? JSON.stringify(value);
  const short = shown.length > 60 ? '...' : shown;
  return reservedInOr.has(name)
    ? `must be a list of values or an object of fields; an operator stands in a list: [{ "${name}": ${short} }]`
    : `must be a list of values or an object of fields: [${short}]`;
}

function readOr(value: unknown, path: FilterFault['path'], reading: Reading): Or | null {
  const { faults } = reading;
  if (!Array.isArray(value) || value.length < 2) {
    faults.push({ path, message: 'must be a list of at least two objects' });
    return null;
  }
  const ways: Shape[] = [];
  for (const [index, way] of (value as unknown[]).entries()) {
    const at = [...path, index];
    if (isObject(way) && numberText(way) === null) ways.push(readShape(way, at, reading, { inOr: true }));
    else faults.push({ path: at, message: 'must be an object of fields' });
  }
  return { ways, names: new Set(ways.flatMap(namesIn)) };
}

function shapeOf(fields: readonly Field[], all: readonly Or[]): Shape {
  const uses = new Map<string, number>();
  for (const name of [...fields.map((field) => field.name), ...all.flatMap(({ names }) => [...names])])
    uses.set(name, (uses.get(name) ?? 0) + 1);
  const isJoint = ({ names }: Or): boolean => [...names].some((name) => (uses.get(name) ?? 0) > 1);
  return {
    fields,
    ors: all.filter((or) => !isJoint(or)),
    jointOrs: all.filter(isJoint),
    takesAbsence:
      fields.every(({ conditions, shapes }) =>
        [...conditions, ...shapes].every(({ takesAbsence }) => takesAbsence),
      ) && all.every(({ ways }) => ways.some(({ takesAbsence }) => takesAbsence)),
  };
}

/** The fields that a shape names, in each of its ways. */
const namesIn = ({ fields, ors, jointOrs }: Shape): string[] => [
  ...fields.map(({ name }) => name),
  ...[...ors, ...jointOrs].flatMap(({ names }) => [...names]),
];

/** Into how many rules without `$or` AWS makes it, and what it costs at most where lists are in the way. */
function combinationsOf({ fields, ors, jointOrs }: Shape): number {
  let count = 1;
  for (const shape of fields.flatMap(({ shapes }) => shapes)) count *= combinationsOf(shape);
  for (const { ways } of [...ors, ...jointOrs])
    count *= ways.reduce((sum, way) => sum + combinationsOf(way), 0);
  return count;
}
