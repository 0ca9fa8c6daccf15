import { expect, it } from 'vitest';
import { parseExact } from '../../../shared/filters/exact-json.ts';
import { explainMismatch } from '../../../shared/filters/explain-mismatch.ts';
import { compileFilter } from '../../../shared/filters/filter.ts';
import { filteredEvent } from '../../../shared/filters/match-filter.ts';

function reasons(pattern: unknown, event: unknown): string[] {
  const [filter, raw] = [pattern, event].map((json) =>
    typeof json === 'string' ? json : JSON.stringify(json),
  );
  const compiled = compileFilter(parseExact(filter ?? ''));
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.faults));
  return explainMismatch(compiled.filter, filteredEvent({ raw: raw ?? '', json: JSON.parse(raw ?? '') }));
}

it.each<[string, unknown, unknown, string[]]>([
  [
    'a text',
    { detail: { state: ['stopped', { prefix: 'term' }] } },
    { detail: { state: 'running' } },
    ['detail.state is "running", but must be "stopped" or text that begins with "term"'],
  ],
  [
    'what is not there',
    { detail: { data: { a: [1] } } },
    { detail: {} },
    ['detail.data.a is absent, but must be 1'],
  ],
  ['what must not be there', { a: [{ exists: false }] }, { a: null }, ['a is null, but must be absent']],
  [
    'what must be there',
    { a: [{ exists: true }] },
    { a: { b: 1 } },
    ['a is an object, but must be there, with any value'],
  ],
  ['an empty list', { a: ['x'] }, { a: [] }, ['a has no value, but must be "x"']],
  [
    'a text that looks like a number',
    { a: [{ numeric: ['<', 0] }] },
    { a: '-12.5000' },
    ['a is "-12.5000", but must be a number < 0'],
  ],
  [
    'a number that is written otherwise',
    '{"a":[300]}',
    '{"a":300.0}',
    [
      'a is 300.0, but must be 300. Numbers are compared as they are written; { "numeric": ["=", ...] } compares their values',
    ],
  ],
  [
    'values of a list',
    { a: ['x'] },
    { a: ['a', 'b', ['c', 4], true] },
    ['a has the values "a", "b", "c" and 2 more, but must be "x"'],
  ],
  [
    'all conditions that fail, and no other',
    { a: [1], b: [2], c: { d: [{ cidr: '10.0.0.0/8' }], e: [{ wildcard: '*x' }] } },
    { a: 1, b: 3, c: { d: '1.2.3.4', e: 'y' } },
    [
      'b is 3, but must be 2',
      'c.d is "1.2.3.4", but must be an address in 10.0.0.0/8',
      'c.e is "y", but must be text like "*x"',
    ],
  ],
  [
    'anything but',
    { a: [{ 'anything-but': ['x', 'y'] }], b: [{ 'anything-but': { prefix: 'x' } }] },
    { a: 'y', b: 'xy' },
    [
      'a is "y", but must be anything but "x" or "y"',
      'b is "xy", but must be anything but text that begins with "x"',
    ],
  ],
  [
    'each way of $or',
    { detail: { $or: [{ a: [1] }, { b: ['x'], c: ['y'] }] } },
    { detail: { a: 2, b: 'x' } },
    [
      'none of the 2 ways of detail.$or: (1) detail.a is 2, but must be 1; (2) detail.c is absent, but must be "y"',
    ],
  ],
  [
    'elements of a list, one condition',
    { items: { sku: ['x'], n: [1] } },
    { items: [{ sku: 'a', n: 1 }, { sku: 'b' }] },
    ['items.sku has the values "a", "b", but must be "x"'],
  ],
  [
    'elements of a list that have one condition each',
    { detail: { items: { sku: ['a'], n: [1] } } },
    {
      detail: {
        items: [
          { sku: 'a', n: 2 },
          { sku: 'b', n: 1 },
        ],
      },
    },
    [
      'detail.items.sku, detail.items.n: each condition holds by itself, but no element of a list in detail.items meets all of them together',
    ],
  ],
  [
    'inside and beside $or',
    { items: { sku: ['a'] }, $or: [{ items: { n: [1] } }, { x: [1] }] },
    { items: [{ sku: 'a' }, { n: 1 }] },
    [
      'items, x: each condition holds by itself, but no element of a list in the event meets all of them together',
    ],
  ],
  ['odd names', '{"a.b":{"__proto__":[1]}}', {}, ['["a.b"].__proto__ is absent, but must be 1']],
  ['nothing, where it matches', { a: [1] }, { a: 1 }, []],
])('%s', (_, pattern, event, expected) => {
  expect(reasons(pattern, event)).toEqual(expected);
});

it('stays short', () => {
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`f${index}`, ['x'.repeat(50)]]));
  const long = reasons(many, Object.fromEntries(Object.keys(many).map((name) => [name, 'y'.repeat(10_000)])));
  expect(long).toHaveLength(20);
  for (const reason of long) expect(reason.length).toBeLessThan(300);
  const ways = { $or: Array.from({ length: 500 }, (_, index) => ({ a: [`value ${index}`] })) };
  expect(reasons(ways, { a: 'x' })[0]?.length).toBeLessThan(1010);
});

it('says so when it would take too long to find out', () => {
  const ways = { $or: Array.from({ length: 400 }, (_, index) => ({ x: { a: [index + 2], b: [3] } })) };
  const event = { x: Array.from({ length: 2000 }, () => ({ a: 1 })) };
  expect(reasons(ways, event)).toEqual([
    'it does not match; to find out which condition fails would take too long',
  ]);
});
