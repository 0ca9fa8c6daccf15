import { numberText, parseExact } from '../../shared/filters/exact-json.ts';

/** An event pattern and an event, as JSON. */
export type Pair = { pattern: string; event: string };

type Json = unknown;
type Fields = Record<string, Json>;

/** Numbers from 0 up to 1 that only look like chance: the same for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const names = ['a', 'b', 'c', 'items', 'sub', 'x-y'];
const oddNames = ['length', '0', 'constructor', '__proto__', 'toString', '$or2', '', 'ключ', 'prefix2'];
const texts = [
  '',
  'a',
  'b',
  'ab',
  'aba',
  'aab',
  'abc',
  'zzz',
  'A',
  'AB',
  'aBc',
  ' a',
  'a ',
  'a\nb',
  '300',
  'true',
  'null',
  'é',
  'e\u0301',
  'É',
  'straße',
  'STRASSE',
  'İ',
  'ı',
  'ΰ',
  'Σ',
  'ς',
  'K',
  'a*b',
  'a\\b',
  '*',
  '\\',
  '"',
  'a"',
  '"a',
  'running',
  'Running',
  'stopped',
  'init',
  'initializing',
  'file.png',
  'FILE.PNG',
  'x'.repeat(70),
  '日本語',
];
const wildcardParts = ['*', '*', '*', 'a', 'b', '*a', 'ab', '\\*', '\\\\', '\n', 'é', 'ing', 'z', '.', ''];
const emoji = ['😀', '🎉a'];
const addresses = [
  '10.0.0.1',
  '10.0.0.255',
  '10.1.2.3',
  '192.168.0.1',
  '0.0.0.0',
  '255.255.255.255',
  '127.255.255.255',
  '128.0.0.0',
  '2001:db8::1',
  '2001:db8:0:0:0:0:0:2',
  '::',
  '::1',
  'ffff::',
  '10.0.0.256',
  '1.2.3',
  '::ffff:a00:1',
  '1:2:3:4:5:6:7::',
];
const blocks = [
  '10.0.0.0/24',
  '10.0.0.77/8',
  '0.0.0.0/0',
  '0.0.0.0/1',
  '128.0.0.0/1',
  '10.0.0.1/31',
  '192.168.0.0/16',
  '2001:db8::/32',
  '::/0',
  '::/1',
  '2001:db8::1/127',
];
const badBlocks = [
  '10.0.0.0/32',
  '::1/128',
  '10.0.0.0/33',
  '10.0.0/8',
  '10.0.0.0',
  'x/8',
  '10.0.0.0/8/8',
  '10.0.0.0/a',
];
const numbers = [
  '0',
  '-0',
  '0.0',
  '1',
  '-1',
  '2',
  '3',
  '10',
  '300',
  '300.0',
  '3.0e2',
  '3e2',
  '3E+2',
  '0.1',
  '0.10',
  '1e-1',
  '1.5',
  '-2.5',
  '5e9',
  '-5e9',
  '5000000000',
  '4999999999.999999',
  '123456.789',
  '0.000001',
  '1e-7',
  '99.99',
  '100',
  '-300',
];
const hugeNumbers = [
  '5000000001',
  '-5e10',
  '1e300',
  '12345678901234567890',
  '0.12345678901234567890',
  '9007199254740993',
];

/** Makes one pair after another. About half of them match: most events are made for their pattern, and then a little is changed. */
export function createPairs(seed: number): () => Pair {
  const random = createRandom(seed);
  const chance = (probability: number): boolean => random() < probability;
  const below = (count: number): number => Math.floor(random() * count);
  const pick = <Element>(list: readonly Element[]): Element => list[below(list.length)] as Element;
  const times = <Element>(least: number, most: number, make: () => Element): Element[] =>
    Array.from({ length: least + below(most - least + 1) }, make);

  const aName = (): string => (chance(0.05) ? pick(oddNames) : pick(names));
  const aText = (): string => {
    if (chance(0.01)) return pick(emoji);
    if (chance(0.12)) return pick(addresses);
    return chance(0.15) ? pick(texts) + pick(texts) : pick(texts);
  };
  const aNumber = (): Json => parseExact(chance(0.02) ? pick(hugeNumbers) : pick(numbers));
  const aLeaf = (): Json => {
    const kind = random();
    if (kind < 0.55) return aText();
    if (kind < 0.8) return aNumber();
    return pick([true, false, null]);
  };
  const aWildcard = (): string =>
    times(1, 4, () => pick(wildcardParts))
      .join('')
      .replaceAll(/\*{2,}/gu, (stars) => (chance(0.04) ? stars : '*'));
  const oneOrMore = (make: () => Json): Json => (chance(0.3) ? times(1, 3, make) : make());

  function anOperator(): Json {
    switch (below(12)) {
      case 0:
        return { prefix: aText().slice(0, 3) };
      case 1:
        return { suffix: aText().slice(-2) };
      case 2:
        return { [pick(['prefix', 'suffix'])]: { 'equals-ignore-case': aText().slice(0, 3) } };
      case 3:
        return { 'equals-ignore-case': aText() };
      case 4:
      case 5:
        return { wildcard: aWildcard() };
      case 6:
        return { 'anything-but': chance(0.6) ? oneOrMore(aText) : oneOrMore(aNumber) };
      case 7:
        return { 'anything-but': aNestedOperator() };
      case 8:
        return { numeric: someBounds() };
      case 9:
        return { cidr: pick(chance(0.04) ? badBlocks : blocks) };
      default:
        return { exists: chance(0.6) };
    }
  }

  function aNestedOperator(): Json {
    switch (below(4)) {
      case 0:
        return { prefix: oneOrMore(() => aText().slice(0, 2)) };
      case 1:
        return { suffix: oneOrMore(() => aText().slice(-2)) };
      case 2:
        return { wildcard: oneOrMore(aWildcard) };
      default:
        return { 'equals-ignore-case': oneOrMore(aText) };
    }
  }

  function someBounds(): Json[] {
    const [a, b] = [aNumber(), aNumber()];
    if (chance(0.5)) return [pick(['=', '<', '<=', '>', '>=']), a];
    const ordered = Number(numberText(a)) < Number(numberText(b)) || chance(0.1) ? [a, b] : [b, a];
    return [pick(['>', '>=']), ordered[0], pick(['<', '<=']), ordered[1]];
  }

  const aCondition = (): Json[] => times(1, 2, () => (chance(0.45) ? aLeaf() : anOperator()));

  function aPattern(depth: number): Fields {
    const fields: Fields = {};
    for (const name of chance(0.2) ? times(3, 3, aName) : times(1, 2, aName)) {
      const isParent = depth > 0 && (name === 'items' || name === 'sub' || chance(0.25));
      define(fields, name, isParent ? aPattern(depth - 1) : aCondition());
    }
    if (chance([0.04, 0.12, 0.25][depth] ?? 0))
      fields['$or'] = times(2, 3, () => aPattern(Math.max(0, depth - 1)));
    return fields;
  }

  /** A leaf that is what a condition asks for, as far as that is easily found. */
  function leafFor(condition: readonly Json[]): Json {
    const wanted = pick(condition);
    if (typeof wanted !== 'object' || wanted === null || numberText(wanted) !== null) return wanted;
    const [[name, operand] = ['', undefined]] = Object.entries(wanted) as [string, Json][];
    const inner = textIn(operand);
    switch (name) {
      case 'prefix':
        return inner + (chance(0.5) ? aText() : '');
      case 'suffix':
        return (chance(0.5) ? aText() : '') + inner;
      case 'equals-ignore-case':
        return chance(0.5) ? inner.toUpperCase() : inner.toLowerCase();
      case 'wildcard':
        return inner.replaceAll(/\\?\*/gu, () => (chance(0.5) ? '' : aText()));
      case 'numeric':
        return pick([...(operand as Json[]).filter((value) => numberText(value) !== null), aNumber()]);
      case 'cidr':
        return chance(0.5) ? inner.split('/')[0] : pick(addresses);
      case 'exists':
        return operand === true || chance(0.3) ? aLeaf() : absent;
      default:
        return aLeaf();
    }
  }

  /** The object that a pattern asks for, in one of its ways. */
  function fieldsFor(pattern: Fields): Fields {
    const fields: Fields = {};
    for (const [name, asked] of Object.entries(pattern)) {
      if (name === '$or') {
        mergeInto(fields, fieldsFor(pick(asked as Fields[])));
        continue;
      }
      const value = Array.isArray(asked) ? leafFor(asked as Json[]) : fieldsFor(asked as Fields);
      if (value !== absent) define(fields, name, value);
    }
    return fields;
  }

  /** The same, with a little of everything that could go wrong. */
  function vary(value: Json, depth: number): Json {
    if (chance(0.04)) return depth > 0 ? something(depth - 1) : aLeaf();
    if (Array.isArray(value)) return value.map((element: Json) => vary(element, depth - 1));
    if (!isFields(value)) return inLists(value, depth);
    const fields: Fields = {};
    for (const [name, member] of Object.entries(value))
      if (!chance(0.03)) define(fields, name, vary(member, depth - 1));
    if (chance(0.15)) define(fields, aName(), something(depth - 1));
    return chance(0.3) ? amongOthers(fields, depth) : fields;
  }

  function inLists(leaf: Json, depth: number): Json {
    if (!chance(0.25)) return leaf;
    const others = times(0, 2, () => (chance(0.75) ? aLeaf() : something(depth - 1)));
    return shuffled([chance(0.2) ? [leaf] : leaf, ...others]);
  }

  /** A list of objects, of which one is as it should be, or each has a part of that. */
  function amongOthers(fields: Fields, depth: number): Json[] {
    const parts = times(1, 3, (): Fields => ({}));
    const isSplit = chance(0.4);
    const home = pick(parts);
    for (const [name, value] of Object.entries(fields)) define(isSplit ? pick(parts) : home, name, value);
    for (const part of parts) if (chance(0.4)) define(part, aName(), aLeaf());
    const list: Json[] = chance(0.15) ? [...parts, something(depth - 1)] : parts;
    return chance(0.12) ? [list, ...times(0, 1, () => something(depth - 1))] : list;
  }

  function something(depth: number): Json {
    if (depth <= 0 || chance(0.55)) return aLeaf();
    if (chance(0.4)) return times(0, 2, () => something(depth - 1));
    const fields: Fields = {};
    for (const name of times(0, 2, aName)) define(fields, name, something(depth - 1));
    return fields;
  }

  function shuffled(list: readonly Json[]): Json[] {
    return list
      .map((element) => ({ element, place: random() }))
      .toSorted((a, b) => a.place - b.place)
      .map(({ element }) => element);
  }

  /** Breaks a pattern, in a way that somebody could break it. */
  function broken(value: Json): Json {
    const replacement = () =>
      pick<Json>([
        1,
        'a',
        null,
        {},
        [],
        [[]],
        [{}],
        { contains: 'a' },
        [{ contains: 'a' }],
        [{ prefix: ['a'] }],
        [{ prefix: 1 }],
        [{ exists: 'true' }],
        [{ 'anything-but': [] }],
        [{ 'anything-but': [1, 'a'] }],
        [{ 'anything-but': { prefix: '' } }],
        [{ 'anything-but': { suffix: [''] } }],
        [{ 'anything-but': null }],
        [{ 'anything-but': { cidr: '10.0.0.0/8' } }],
        [{ numeric: ['=', 1, '<', 2] }],
        [{ numeric: ['<', 2, '>', 1] }],
        [{ numeric: ['>', 1, '<', 1] }],
        [{ numeric: [] }],
        [{ numeric: ['>', '1'] }],
        [{ numeric: ['!=', 1] }],
        [{ numeric: '>1' }],
        [{ numeric: ['>', 1, '<='] }],
        [{ numeric: ['>', 1, '<', 2, '<', 3] }],
        [{ prefix: 'a', suffix: 'b' }],
        [{ wildcard: 'a**' }],
        [{ wildcard: '\\a' }],
        [{ wildcard: 5 }],
        [{ 'equals-ignore-case': ['a'] }],
        [{ suffix: { 'equals-ignore-case': 1 } }],
        [{ prefix: { wildcard: 'a' } }],
        [['a']],
        [{ cidr: 1 }],
        [{ cidr: '10.0.0.0/-1' }],
      ]);
    if (!isFields(value) || chance(0.3)) return replacement();
    const entries = Object.entries(value);
    const target = below(entries.length);
    const copy: Fields = {};
    for (const [index, [name, member]] of entries.entries()) {
      if (index !== target) define(copy, name, member);
      else if (name === '$or' && Array.isArray(member)) {
        copy['$or'] = pick<Json>([
          {},
          [],
          member.slice(0, 1),
          [...member, 'a'],
          [...member, {}],
          member.map((way: Json) => broken(way)),
        ]);
      } else define(copy, name, broken(member));
    }
    return copy;
  }

  return () => {
    const pattern = aPattern(2);
    const asked = chance(0.08) ? broken(pattern) : pattern;
    const made = chance(0.9) ? fieldsFor(pattern) : something(3);
    const detail = vary(made, 4);
    return chance(0.5)
      ? { pattern: JSON.stringify({ detail: asked }), event: JSON.stringify({ id: '1', detail }) }
      : { pattern: JSON.stringify(asked), event: JSON.stringify(isFields(detail) ? detail : { detail }) };
  };
}

const absent = Symbol('absent');

const isFields = (value: Json): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && numberText(value) === null;

// `fields[name] = value` would set the prototype of an object for the name `__proto__`.
const define = (fields: Fields, name: string, value: Json): void =>
  void Object.defineProperty(fields, name, { value, enumerable: true, configurable: true, writable: true });

function mergeInto(fields: Fields, others: Fields): void {
  for (const [name, value] of Object.entries(others)) {
    const own = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (isFields(own) && isFields(value)) mergeInto(own, value);
    else define(fields, name, value);
  }
}

/** Some text in what an operator is given. */
const textIn = (operand: Json): string => {
  if (typeof operand === 'string') return operand;
  return isFields(operand) ? textIn(Object.values(operand)[0]) : '';
};
