import { decimalKey, readDecimal } from '../../shared/filters/exact-number.ts';
import { numberText, parseExact } from '../../shared/filters/exact-json.ts';
import { holdsFor, readCondition } from '../../shared/filters/filter-condition.ts';

/** How AWS's matcher differs from the user guide, each as it can be put into the model. */
export type Defect =
  | 'last-write-wins'
  | 'numbers-by-value'
  | 'numbers-of-any-size'
  | 'numbers-of-17-digits'
  | 'exists-by-order'
  | 'address-by-first-digits'
  | 'surrogates-as-question-marks'
  | 'beside-wildcard'
  | 'beside-wildcard-missed'
  | 'quote-marks'
  | 'number-beside-address'
  | 'empty-names';

type Json = unknown;
type Fields = Record<string, Json>;
type Asked = { path: readonly string[]; list: readonly Json[] };
type Membership = ReadonlyMap<number, number>;
type Leaf = { value: Json; membership: Membership };

/**
 * Whether an event matches a valid pattern, by brute force and another way than the matcher of Handoff: the pattern becomes rules without `$or`,
 * the event a list of leaves, each with the elements of lists that it is in, and then all is tried.
 */
export function modelMatches(
  pattern: string,
  event: string,
  defects: ReadonlySet<Defect> = new Set(),
): boolean {
  const all = leavesOf(parseExact(event));
  const written = expand(parseExact(pattern) as Fields, []);
  const isJoined = defects.has('empty-names');
  const rules = isJoined ? written.map((rule) => rule.map(joinedName)) : written;
  const leaves = isJoined ? joinNames(all, rules.flat()) : all;
  return rules.some((rule) => {
    const asked = defects.has('last-write-wins') ? lastOfEach(rule) : rule;
    return matchesRule(inOrder(asked), leaves, new Map(), defects, []);
  });
}

/** The rules without `$or` that AWS's matcher makes of a pattern, each as a pattern. Null when that is the pattern itself. */
export function rulesOf(pattern: string): string[] | null {
  const rules = expand(parseExact(pattern) as Fields, []);
  if (rules.length < 2) return null;
  return rules.map((rule) => {
    const fields: Fields = {};
    for (const { path, list } of lastOfEach(rule)) {
      let parent = fields;
      for (const name of path.slice(0, -1)) {
        if (!Object.hasOwn(parent, name)) define(parent, name, {});
        parent = parent[name] as Fields;
      }
      define(parent, path.at(-1) ?? '', list);
    }
    return JSON.stringify(fields);
  });
}

// `fields[name] = value` would set the prototype of an object for the name `__proto__`.
const define = (fields: Fields, name: string, value: Json): void =>
  void Object.defineProperty(fields, name, { value, enumerable: true, configurable: true, writable: true });

function expand(pattern: Fields, path: readonly string[]): Asked[][] {
  let rules: Asked[][] = [[]];
  for (const [name, value] of Object.entries(pattern)) {
    let more: Asked[][];
    if (name === '$or') more = (value as Fields[]).flatMap((way) => expand(way, path));
    else if (Array.isArray(value)) more = [[{ path: [...path, name], list: value as Json[] }]];
    else more = expand(value as Fields, [...path, name]);
    rules = rules.flatMap((rule) => more.map((one) => [...rule, ...one]));
  }
  return rules;
}

// The matcher joins names with dots, but puts none behind what is empty.
const joinedName = ({ path, list }: Asked): Asked => {
  const parent = path.slice(0, -1).join('.');
  return { path: [parent === '' ? (path.at(-1) ?? '') : path.join('.')], list };
};

/** The leaves as the matcher finds them: it skips each field of which no pattern has the name, and splits those names at their dots again. */
function joinNames(leaves: ReadonlyMap<string, Leaf[]>, asked: readonly Asked[]): Map<string, Leaf[]> {
  // Java leaves out what is empty at the end.
  const used = new Set(
    asked.flatMap(({ path: [name = ''] }) => (name === '' ? [''] : name.replace(/\.$/u, '').split('.'))),
  );
  const joinedLeaves = new Map<string, Leaf[]>();
  for (const [key, found] of leaves) {
    const path = JSON.parse(key) as string[];
    if (!path.every((name) => used.has(name))) continue;
    const name = keyOf([path.join('.')]);
    joinedLeaves.set(name, [...(joinedLeaves.get(name) ?? []), ...found]);
  }
  return joinedLeaves;
}

const keyOf = (path: readonly string[]): string => JSON.stringify(path);

const lastOfEach = (rule: readonly Asked[]): Asked[] => [
  ...new Map(rule.map((asked) => [keyOf(asked.path), asked])).values(),
];

const inOrder = (rule: readonly Asked[]): Asked[] =>
  rule.toSorted((a, b) => {
    const [left, right] = [a.path.join('.'), b.path.join('.')];
    return left < right ? -1 : Number(left > right);
  });

function leavesOf(event: Json): Map<string, Leaf[]> {
  const leaves = new Map<string, Leaf[]>();
  let lists = 0;
  const walk = (value: Json, path: readonly string[], membership: Membership): void => {
    if (Array.isArray(value)) {
      const id = lists++;
      for (const [index, element] of value.entries())
        walk(element, path, isPart(element) ? new Map([...membership, [id, index]]) : membership);
    } else if (isPart(value)) {
      for (const [name, member] of Object.entries(value)) walk(member, [...path, name], membership);
    } else {
      const key = keyOf(path);
      leaves.set(key, [...(leaves.get(key) ?? []), { value, membership }]);
    }
  };
  walk(event, [], new Map());
  return leaves;
}

const isPart = (value: Json): value is object =>
  typeof value === 'object' && value !== null && numberText(value) === null;

/** @param missing what must not be there, given the elements that all the rest is in */
function matchesRule(
  rule: readonly Asked[],
  leaves: ReadonlyMap<string, Leaf[]>,
  membership: Membership,
  defects: ReadonlySet<Defect>,
  missing: readonly Asked[],
): boolean {
  const isMissing = ({ path }: Asked) =>
    !(leaves.get(keyOf(path)) ?? []).some((leaf) => joined(membership, leaf.membership) !== null);
  const [asked, ...rest] = rule;
  if (asked === undefined) return missing.every(isMissing);
  const next = (found: Membership, absent = missing) => matchesRule(rest, leaves, found, defects, absent);
  for (const { value, membership: own } of leaves.get(keyOf(asked.path)) ?? []) {
    const together = joined(membership, own);
    if (together !== null && holdsByModel(asked.list, value, defects) && next(together)) return true;
  }
  if (!asked.list.some((one) => isPart(one) && (one as Fields)['exists'] === false)) return false;
  return defects.has('exists-by-order')
    ? isMissing(asked) && next(membership)
    : next(membership, [...missing, asked]);
}

function joined(a: Membership, b: Membership): Membership | null {
  for (const [list, index] of b) if (a.has(list) && a.get(list) !== index) return null;
  return new Map([...a, ...b]);
}

function holdsByModel(list: readonly Json[], value: Json, defects: ReadonlySet<Defect>): boolean {
  const text = numberText(value);
  const isText = typeof value === 'string';
  if (
    text !== null &&
    defects.has('numbers-of-17-digits') &&
    !isDouble(text) &&
    JSON.stringify(list).includes('numeric')
  )
    return list.some((one) => !JSON.stringify(one).includes('numeric') && holds([one], value));
  if (text !== null && defects.has('numbers-by-value')) {
    const key = decimalKey(readDecimal(text));
    if (
      list.some((one) => decimalKey(readDecimal(numberText(one) ?? 'x')) === key && numberText(one) !== null)
    )
      return true;
  }
  if (text !== null && defects.has('numbers-of-any-size')) {
    for (const one of list) {
      const bounds = isPart(one) ? (one as Fields)['numeric'] : undefined;
      if (Array.isArray(bounds) && isWithin(Number(text), bounds)) return true;
    }
  }
  if (defects.has('address-by-first-digits')) {
    const digits = isText ? digitsOf(value) : text;
    if (digits !== null && list.some((one) => lies(digits, one, isText))) return true;
  }
  if (text !== null && defects.has('number-beside-address') && list.some(isAddress)) return false;
  if (isText && isBesideWildcard(list)) {
    if (defects.has('beside-wildcard')) return true;
    if (defects.has('beside-wildcard-missed')) return false;
  }
  if (isText && defects.has('quote-marks')) {
    if (list.some((one) => isAffix(one, value))) return true;
    return list.some((one) => !isOtherAffix(one, value) && holds([one], value));
  }
  if (isText && defects.has('surrogates-as-question-marks')) {
    const replaced = JSON.parse(JSON.stringify(list).replaceAll(/[\u{10000}-\u{10ffff}]/gu, '??')) as Json[];
    return holds(replaced, value);
  }
  return holds(list, value);
}

function isBesideWildcard(list: readonly Json[]): boolean {
  const written = JSON.stringify(list);
  return written.includes('"wildcard"') && /"(?:equals-ignore-case|suffix)"/u.test(written);
}

/** Whether an affix is a text and a quotation mark: that of the matcher, which puts each text into such. */
function isAffix(asked: Json, value: string): boolean {
  const [[name, operand] = ['', undefined]] = isPart(asked) ? Object.entries(asked) : [];
  const isNested = isPart(operand) && !Array.isArray(operand);
  const affix = isNested ? (operand as Fields)['equals-ignore-case'] : operand;
  const quoted = name === 'prefix' ? `${value}"` : `"${value}`;
  return (
    (name === 'prefix' || name === 'suffix') &&
    [affix].flat().some((one) => typeof one === 'string' && one.toLowerCase() === quoted.toLowerCase())
  );
}

const isOtherAffix = (asked: Json, value: string): boolean =>
  isPart(asked) && isAffix((asked as Fields)['anything-but'], value);

const holds = (list: readonly Json[], value: Json): boolean =>
  holdsFor(readCondition(list, [], { faults: [], wildcards: 0, readsNumbers: false }), value);

/** Whether a double has all digits of a number: what AWS's matcher can compare. */
export const isDouble = (text: string): boolean =>
  Number.isFinite(Number(text)) &&
  decimalKey(readDecimal(String(Number(text)))) === decimalKey(readDecimal(text));

function isWithin(value: number, bounds: readonly Json[]): boolean {
  for (let index = 0; index < bounds.length; index += 2) {
    const bound = Number(numberText(bounds[index + 1]));
    const isMet = {
      '=': value === bound,
      '<': value < bound,
      '<=': value <= bound,
      '>': value > bound,
      '>=': value >= bound,
    };
    if (!isMet[bounds[index] as keyof typeof isMet]) return false;
  }
  return true;
}

/** The bytes of an address as the matcher writes them; null when it is none. */
function digitsOf(address: string): string | null {
  if (/^\d+\.\d+\.\d+\.\d+$/u.test(address)) {
    const parts = address.split('.').map(Number);
    return parts.some((part) => part > 255) ? null : parts.map((part) => hex(part, 2)).join('');
  }
  if (!address.includes(':') || !URL.canParse(`http://[${address}]`)) return null;
  const { hostname } = new URL(`http://[${address}]`);
  const [before = '', after] = hostname.slice(1, -1).split('::');
  const groups = (half: string) => (half === '' ? [] : half.split(':'));
  const [left, right] = [groups(before), groups(after ?? '')];
  const all = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right];
  const digits = all.map((group) => group.padStart(4, '0').toUpperCase()).join('');
  return digits.startsWith('00000000000000000000FFFF') ? digits.slice(-8) : digits;
}

const hex = (value: number, length: number): string => value.toString(16).toUpperCase().padStart(length, '0');

const isAddress = (asked: Json): boolean =>
  (typeof asked === 'string' && digitsOf(asked) !== null) || (isPart(asked) && Object.hasOwn(asked, 'cidr'));

/** Whether digits lie in a block, looked at from the left as the matcher does: what comes behind the first one inside is not read. */
function lies(digits: string, asked: Json, isText: boolean): boolean {
  const block = isPart(asked) ? (asked as Fields)['cidr'] : asked;
  if (typeof block !== 'string' || (!isText && block === asked)) return false;
  const [address = '', mask] = block.split('/');
  const base = digitsOf(address);
  if (base === null) return false;
  const bits = base.length * 4;
  const hosts = (1n << BigInt(bits - Number(mask ?? bits))) - 1n;
  const value = BigInt(`0x${base}`);
  const low = ((value | hosts) - hosts).toString(16).toUpperCase().padStart(base.length, '0');
  const high = (value | hosts).toString(16).toUpperCase().padStart(base.length, '0');
  let [atLow, atHigh] = [true, true];
  for (let index = 0; index < base.length; index++) {
    const digit = digits[index];
    if (
      digit === undefined ||
      (atLow && digit < (low[index] ?? '')) ||
      (atHigh && digit > (high[index] ?? ''))
    )
      return false;
    atLow &&= digit === low[index];
    atHigh &&= digit === high[index];
    if (!atLow && !atHigh) return true;
  }
  return true;
}
