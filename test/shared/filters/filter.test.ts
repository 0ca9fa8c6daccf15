import { describe, expect, it } from 'vitest';
import { parseExact } from '../../../shared/filters/exact-json.ts';
import { compileFilter, filterLimits, filterPath } from '../../../shared/filters/filter.ts';

/** What is wrong with a filter, each fault behind its place; none when it is good. */
function faultsOf(pattern: unknown): string[] {
  const compiled = compileFilter(typeof pattern === 'string' ? parseExact(pattern) : pattern);
  return compiled.ok ? [] : compiled.faults.map(({ path, message }) => `${filterPath(path)}: ${message}`);
}
const placesOf = (pattern: unknown) => faultsOf(pattern).map((fault) => fault.slice(0, fault.indexOf(': ')));
/** The places in a list of one field. */
const inList = (...list: unknown[]) => placesOf({ a: list });

describe('compileFilter, what is a filter', () => {
  it.each<[string, unknown[]]>([
    ['exact values of each kind', ['x', '', 1, -1.5, true, false, null]],
    ['a prefix, also an empty one', [{ prefix: 'x' }, { prefix: '' }]],
    ['a suffix, also an empty one', [{ suffix: 'x' }, { suffix: '' }]],
    [
      'affixes in any case',
      [{ prefix: { 'equals-ignore-case': 'x' } }, { suffix: { 'equals-ignore-case': '' } }],
    ],
    ['a text in any case', [{ 'equals-ignore-case': 'x' }, { 'equals-ignore-case': '' }]],
    [
      'wildcards',
      ['*', 'a*', '*a*b*', String.raw`\*`, String.raw`\\`, String.raw`*\**`, ''].map((wildcard) => ({
        wildcard,
      })),
    ],
    [
      'anything but a text or a number',
      [{ 'anything-but': 'x' }, { 'anything-but': '' }, { 'anything-but': 1.5 }],
    ],
    ['anything but one of a list', [{ 'anything-but': ['x', 'y'] }, { 'anything-but': [1, 2] }]],
    [
      'anything but an operator',
      ['prefix', 'suffix', 'wildcard', 'equals-ignore-case'].flatMap((name) => [
        { 'anything-but': { [name]: 'x' } },
        { 'anything-but': { [name]: ['x', 'y'] } },
      ]),
    ],
    [
      'an empty text in any case, and an empty wildcard, under anything-but',
      [{ 'anything-but': { wildcard: '' } }, { 'anything-but': { 'equals-ignore-case': '' } }],
    ],
    ['comparisons', ['=', '<', '<=', '>', '>='].map((operator) => ({ numeric: [operator, 5] }))],
    ['ranges', [{ numeric: ['>', 0, '<=', 5] }, { numeric: ['>=', -5e9, '<', 5e9] }]],
    [
      'blocks of addresses',
      ['10.0.0.0/24', '10.0.0.77/8', '0.0.0.0/0', '1.2.3.4/31', '2001:db8::/32', '::/0', '::1/127'].map(
        (cidr) => ({ cidr }),
      ),
    ],
    ['exists', [{ exists: true }, { exists: false }]],
    ['exactly, which AWS takes too', [{ exactly: 'x' }]],
  ])('%s', (_, list) => {
    expect(faultsOf({ detail: { a: list } })).toEqual([]);
  });

  it('names that mean something elsewhere', () => {
    const names =
      '"__proto__":["x"],"constructor":{"length":[1],"0":[1]},"toString":[1],"a.b":[1],"":[1],"prefix":["x"]';
    expect(faultsOf(`{${names}}`)).toEqual([]);
  });

  it('$or at any level, with other fields beside it and $or in its ways', () => {
    const or = (...ways: object[]) => ({ $or: ways });
    expect(faultsOf({ a: [1], ...or({ b: [1] }, { c: { d: [1], ...or({ e: [1] }, { f: [1] }) } }) })).toEqual(
      [],
    );
    expect(faultsOf({ detail: or({ a: [1] }, { a: [2] }) })).toEqual([]);
  });
});

describe('compileFilter, what is none, with the place', () => {
  it.each([null, undefined, 1, 'x', true, []])('%j', (pattern) => {
    expect(compileFilter(pattern)).toMatchObject({ ok: false, faults: [{ path: [] }] });
  });

  it.each<[string, unknown, string[]]>([
    ['nothing', {}, ['']],
    ['an empty object', { detail: {} }, ['detail']],
    ['an empty list', { detail: { a: [] } }, ['detail.a']],
    [
      'a value that is not in a list',
      { detail: { a: 'x', b: 1, c: null, d: true } },
      ['detail.a', 'detail.b', 'detail.c', 'detail.d'],
    ],
    ['a number of which the spelling was kept', '{"a":3.0}', ['a']],
    ['an operator that is not in a list', { detail: { a: { prefix: 'x' } } }, ['detail.a.prefix']],
    ['odd names', { 'a.b': { 'c d': {} } }, ['["a.b"]["c d"]']],
    ['$or of one way', { $or: [{ a: [1] }] }, ['$or']],
    ['$or that is no list', { detail: { $or: { a: [1], b: [1] } } }, ['detail.$or']],
    ['$or of other things than objects', { $or: [{ a: [1] }, 'x', [], 1.5] }, ['$or[1]', '$or[2]', '$or[3]']],
    ['an empty way of $or', { $or: [{ a: [1] }, {}] }, ['$or[1]']],
    [
      'a fault in one way',
      { $or: [{ a: [1] }, { b: [{ numeric: ['>', 'x'] }] }] },
      ['$or[1].b[0].numeric[1]'],
    ],
    [
      'the name of an operator inside of $or',
      { $or: [{ a: { prefix: ['x'] } }, { '<': [1] }] },
      ['$or[0].a.prefix', '$or[1].<'],
    ],
  ])('%s', (_, pattern, places) => {
    expect(placesOf(pattern)).toEqual(places);
  });

  it.each<[string, unknown, string]>([
    ['a list in the list', ['x'], 'a[0]'],
    ['no operator', {}, 'a[0]'],
    ['two operators', { prefix: 'x', suffix: 'y' }, 'a[0]'],
    ['an unknown operator', { contains: 'x' }, 'a[0].contains'],
    ['an operator of JavaScript', { constructor: 'x' }, 'a[0].constructor'],
    ['a list of prefixes', { prefix: ['x'] }, 'a[0].prefix'],
    ['a prefix that is a number', { prefix: 1 }, 'a[0].prefix'],
    ['a prefix with another operator', { prefix: { wildcard: 'x' } }, 'a[0].prefix'],
    [
      'a suffix in any case that is no text',
      { suffix: { 'equals-ignore-case': ['x'] } },
      'a[0].suffix.equals-ignore-case',
    ],
    ['a list in any case', { 'equals-ignore-case': ['x'] }, 'a[0].equals-ignore-case'],
    ['a list of wildcards', { wildcard: ['x'] }, 'a[0].wildcard'],
    ['two stars in a row', { wildcard: 'a**b' }, 'a[0].wildcard'],
    ['a backslash before something else', { wildcard: String.raw`a\b` }, 'a[0].wildcard'],
    ['a backslash at the end', { wildcard: 'a\\' }, 'a[0].wildcard'],
    ['anything-but null', { 'anything-but': null }, 'a[0].anything-but'],
    ['anything-but true', { 'anything-but': true }, 'a[0].anything-but'],
    ['anything-but nothing', { 'anything-but': [] }, 'a[0].anything-but'],
    ['anything-but texts and numbers', { 'anything-but': ['x', 1] }, 'a[0].anything-but'],
    ['anything-but null in a list', { 'anything-but': [null] }, 'a[0].anything-but'],
    ['anything-but an object without an operator', { 'anything-but': {} }, 'a[0].anything-but'],
    ['anything-but a block', { 'anything-but': { cidr: '10.0.0.0/8' } }, 'a[0].anything-but'],
    ['anything-but a comparison', { 'anything-but': { numeric: ['>', 1] } }, 'a[0].anything-but'],
    ['anything-but two operators', { 'anything-but': { prefix: 'a', suffix: 'b' } }, 'a[0].anything-but'],
    ['anything-but an empty prefix', { 'anything-but': { prefix: '' } }, 'a[0].anything-but.prefix'],
    [
      'anything-but an empty suffix in a list',
      { 'anything-but': { suffix: ['x', ''] } },
      'a[0].anything-but.suffix[1]',
    ],
    [
      'anything-but an empty list of prefixes',
      { 'anything-but': { prefix: [] } },
      'a[0].anything-but.prefix',
    ],
    [
      'anything-but a prefix that is a number',
      { 'anything-but': { prefix: [1] } },
      'a[0].anything-but.prefix[0]',
    ],
    [
      'anything-but a bad wildcard',
      { 'anything-but': { wildcard: ['a', '**'] } },
      'a[0].anything-but.wildcard[1]',
    ],
    ['numeric that is no list', { numeric: '> 1' }, 'a[0].numeric'],
    ['numeric of nothing', { numeric: [] }, 'a[0].numeric'],
    ['a comparison without a number', { numeric: ['>'] }, 'a[0].numeric'],
    ['a comparison with a text', { numeric: ['>', '1'] }, 'a[0].numeric[1]'],
    ['a comparison that there is not', { numeric: ['!=', 1] }, 'a[0].numeric[0]'],
    ['an upper bound and then a lower one', { numeric: ['<', 5, '>', 1] }, 'a[0].numeric'],
    ['two lower bounds', { numeric: ['>', 1, '>', 2] }, 'a[0].numeric'],
    ['= and a bound', { numeric: ['=', 1, '<', 2] }, 'a[0].numeric'],
    ['an empty range', { numeric: ['>', 5, '<', 5] }, 'a[0].numeric'],
    ['a range of one number', { numeric: ['>=', 5, '<=', 5] }, 'a[0].numeric'],
    ['a range that is turned round', { numeric: ['>', 5, '<', 1] }, 'a[0].numeric'],
    ['three bounds', { numeric: ['>', 1, '<', 5, '<', 6] }, 'a[0].numeric'],
    ['a number that is too large', { numeric: ['>', 5_000_000_001] }, 'a[0].numeric[1]'],
    ['a number that is too small', { numeric: ['>', -5e9, '<', -5e10] }, 'a[0].numeric[3]'],
    ['a block of one address', { cidr: '10.0.0.1/32' }, 'a[0].cidr'],
    ['a block of one IPv6 address', { cidr: '::1/128' }, 'a[0].cidr'],
    ['an address', { cidr: '10.0.0.1' }, 'a[0].cidr'],
    ['a block that is no text', { cidr: 1 }, 'a[0].cidr'],
    ['a block of something else', { cidr: '10.0.256.0/8' }, 'a[0].cidr'],
    ['a mask that is no number', { cidr: '10.0.0.0/255.0.0.0' }, 'a[0].cidr'],
    ['exists with a text', { exists: 'true' }, 'a[0].exists'],
  ])('%s', (_, value, place) => {
    expect(inList(value)).toEqual([place]);
    expect(placesOf({ detail: { $or: [{ b: [1] }, { a: ['x', value] }] } })).toEqual([
      `detail.$or[1].${place.replace('a[0]', 'a[1]')}`,
    ]);
  });

  it.each([
    ['{"a":[{"numeric":["<",0.12345678901234567890]}]}', 'a[0].numeric[1]'],
    ['{"a":[{"anything-but":[1,12345678901234567890]}]}', 'a[0].anything-but'],
  ])('a number with more digits than are compared: %s', (pattern, place) => {
    expect(placesOf(pattern)).toEqual([place]);
  });

  it('says what would be right', () => {
    expect(faultsOf({ detail: { data: { balance: [{ numeric: ['<', '0'] }] } } })).toEqual([
      'detail.data.balance[0].numeric[1]: must be a number, not a text',
    ]);
    expect(faultsOf({ detail: { state: { prefix: 'run' } } })).toEqual([
      'detail.state.prefix: must be a list of values or an object of fields; an operator stands in a list: [{ "prefix": "run" }]',
    ]);
    expect(faultsOf({ source: 'billing' })).toEqual([
      'source: must be a list of values or an object of fields: ["billing"]',
    ]);
  });

  it('tells several faults at once, and of many the first twenty', () => {
    expect(placesOf({ a: [], b: { c: 1 }, d: [{ x: 1 }] })).toEqual(['a', 'b.c', 'd[0].x']);
    expect(
      faultsOf(Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`f${index}`, 1]))),
    ).toHaveLength(20);
  });
});

describe('the bounds of a filter', () => {
  const { characters, combinations, depth, wildcards } = filterLimits;
  const nested = (levels: number): unknown => (levels === 0 ? ['x'] : { a: nested(levels - 1) });
  const ors = (count: number) =>
    Object.fromEntries(
      Array.from({ length: count }, (_, index) => [`f${index}`, { $or: [{ a: [1] }, { b: [1] }] }]),
    );
  const ways = (count: number) => ({ $or: Array.from({ length: count }, (_, index) => ({ a: [index] })) });

  it.each<[string, unknown, RegExp]>([
    ['ten thousand ways', ways(10_000), /has \d+ characters as JSON, and at most 16384/u],
    ['ten thousand values', { a: Array.from({ length: 10_000 }, (_, index) => index) }, /characters/u],
    ['more ways than combinations', ways(combinations + 1), /more than 1000 combinations/u],
    ['ways that multiply', ors(10), /more than 1000 combinations/u],
    ['ways in ways that multiply beyond all numbers', ors(300), /more than 1000 combinations/u],
    [
      'five hundred wildcards',
      { a: Array.from({ length: 500 }, () => ({ wildcard: 'a*' })) },
      /has 500 wildcards, and at most 100/u,
    ],
    [
      'as many under anything-but',
      { a: [{ 'anything-but': { wildcard: Array.from({ length: 101 }, () => '*') } }] },
      /has 101 wildcards/u,
    ],
    ['too deep', nested(depth), /nested more than 50 levels/u],
    ['much too deep', nested(2000), /nested more than 50 levels/u],
  ])('%s are refused', (_, pattern, message) => {
    expect(faultsOf(pattern)).toEqual([expect.stringMatching(message)]);
  });

  it.each<[string, unknown]>([
    ['ways', ways(combinations)],
    ['ways that multiply', ors(9)],
    ['wildcards', { a: Array.from({ length: wildcards }, () => ({ wildcard: 'a*' })) }],
    ['levels', nested(depth - 1)],
    ['characters', { a: ['x'.repeat(characters - 10)] }],
    ['stars in one wildcard', { a: [{ wildcard: 'a*'.repeat(5000) }] }],
  ])('as many %s as there may be are taken', (_, pattern) => {
    expect(faultsOf(pattern)).toEqual([]);
  });
});
