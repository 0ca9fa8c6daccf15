import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compareMatchers, verdictOf } from './compare-matchers.ts';
import { startEventRuler, type EventRuler } from './event-ruler.ts';
import { explainDifference } from './known-differences.ts';

let ruler: EventRuler;
beforeAll(async () => {
  ruler = await startEventRuler();
}, 300_000);
afterAll(() => ruler.end());

describe("Handoff and AWS's matcher", () => {
  it('differ nowhere but by known defects of the matcher, and Handoff nowhere from the model', async () => {
    const { verdicts, unexplained, unlikeModel } = await compareMatchers(ruler, 10_000, 2026);
    expect(unexplained).toEqual([]);
    expect(unlikeModel).toEqual([]);
    // Or nothing was compared.
    expect(verdicts.true).toBeGreaterThan(2500);
    expect(verdicts.false).toBeGreaterThan(2500);
    expect(verdicts.invalid).toBeGreaterThan(500);
  });

  it.each([
    ['last-write-wins', { a: ['x'], $or: [{ a: ['y'] }, { b: [1] }] }, { a: 'y' }],
    ['numbers-by-value', '{"a":[300]}', '{"a":3.0e2}'],
    ['numbers-of-any-size', { a: [{ numeric: ['>', 0] }] }, { a: 6e9 }],
    ['numbers-of-17-digits', { a: [{ numeric: ['<', 1] }] }, '{"a":0.12345678901234567890}'],
    ['exists-by-order', { i: { a: [{ exists: false }], b: [1] } }, { i: [{ a: 2 }, { b: 1 }] }],
    ['address-by-first-digits', { a: [{ cidr: '0.0.0.0/1' }] }, { a: '2001:db8::1' }],
    ['surrogates-as-question-marks', { a: [{ 'equals-ignore-case': '😀' }] }, { a: '😀' }],
    ['beside-wildcard', { a: [{ wildcard: '*b' }, { 'equals-ignore-case': 'a' }] }, { a: 'zzz' }],
    [
      'beside-wildcard-missed',
      {
        a: [
          { wildcard: String.raw`*\*` },
          { 'anything-but': { 'equals-ignore-case': ['a', String.raw`éa\b`] } },
        ],
      },
      { a: '1:2:3:4:5:6:7::' },
    ],
    ['quote-marks', { a: [{ suffix: '"' }] }, { a: '' }],
    [
      'ways-disturb-one-another',
      { c: [{ exists: true }], $or: [{ b: [true] }, { b: ['FILE.PNG', true] }] },
      { b: 'FILE.PNG', c: 1 },
    ],
    ['number-beside-address', '{"a":[0.12345678901234567890,"10.1.2.3"]}', '{"a":0.12345678901234567890}'],
    ['empty-names', { detail: { '': ['x'] } }, { detail: { '': 'x' } }],
    ['size-of-operands', { a: [{ numeric: ['<', 1e10] }] }, { a: 1 }],
  ])('differ by %s as it is told', async (name, pattern, event) => {
    const text = (json: object | string) => (typeof json === 'string' ? json : JSON.stringify(json));
    const pair = { pattern: text(pattern), event: text(event) };
    const [theirs = ''] = await ruler.match([pair]);
    expect(await explainDifference(pair, verdictOf(pair), theirs, ruler.match)).toEqual([name]);
    expect(theirs).not.toBe(verdictOf(pair));
  });
});
