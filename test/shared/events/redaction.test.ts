import { assert, jsonValue, nat, property, stringMatching } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redact, RedactedPaths, restore, wordsIn } from '../../../shared/events/redaction.ts';

const textOf = (text: string, ...paths: string[]) => redact(text, paths)?.text ?? null;

describe('redact', () => {
  it.each([
    [
      'a text',
      '{"detail":{"data":{"iban":"DE02"}}}',
      ['detail.data.iban'],
      '{"detail":{"data":{"iban":"***"}}}',
    ],
    ['a number', '{"detail":{"pin":1234}}', ['detail.pin'], '{"detail":{"pin":"***"}}'],
    [
      'null, true',
      '{"detail":{"a":null,"b":true}}',
      ['detail.a', 'detail.b'],
      '{"detail":{"a":"***","b":"***"}}',
    ],
    [
      'a whole object',
      '{"detail":{"card":{"no":1,"cvc":2},"x":1}}',
      ['detail.card'],
      '{"detail":{"card":"***","x":1}}',
    ],
    [
      'every element',
      '{"detail":{"cards":[{"no":1,"y":2},{"no":3}]}}',
      ['detail.cards.*.no'],
      '{"detail":{"cards":[{"no":"***","y":2},{"no":"***"}]}}',
    ],
    ['one element', '{"detail":{"a":[1,2,3]}}', ['detail.a.1'], '{"detail":{"a":[1,"***",3]}}'],
    [
      'every member',
      '{"detail":{"a":{"b":1,"c":2}}}',
      ['detail.a.*'],
      '{"detail":{"a":{"b":"***","c":"***"}}}',
    ],
    ['what stands there twice', '{"detail":{"a":1,"a":2}}', ['detail.a'], '{"detail":{"a":"***","a":"***"}}'],
    [
      'what is inside of another',
      '{"detail":{"a":{"b":1}}}',
      ['detail.a.b', 'detail.a'],
      '{"detail":{"a":"***"}}',
    ],
    [
      'an escaped name',
      String.raw`{"detail":{"ib\u0061n":"DE"}}`,
      ['detail.iban'],
      String.raw`{"detail":{"ib\u0061n":"***"}}`,
    ],
    [
      'nothing else',
      ' { "detail" : { "a" : 1.50e3 , "b":"x" } } ',
      ['detail.b'],
      ' { "detail" : { "a" : 1.50e3 , "b":"***" } } ',
    ],
  ] as [string, string, string[], string][])('takes out %s', (_, text, paths, redacted) => {
    expect(textOf(text, ...paths)).toBe(redacted);
  });

  it.each([
    ['no such member', '{"detail":{"a":1}}', 'detail.b'],
    ['a member of a text', '{"detail":{"a":"xy"}}', 'detail.a.length'],
    ['a prototype', '{"detail":{}}', 'detail.__proto__'],
    ['no JSON', '{"detail":{"a":1}', 'detail.a'],
    ['comments', '{"detail":{"a":1 /* c */}}', 'detail.a'],
    ['nothing', '', 'detail.a'],
    ['no end of nesting', '['.repeat(200_000), 'detail.a'],
  ])('finds nothing in %s', (_, text, path) => {
    expect(textOf(text, path)).toBeNull();
  });

  it('takes out all of what is nested too deeply to find anything in it', () => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    const text = `{"detail":{"iban":"DE02","deep":${deep}}}`;
    const redacted = redact(text, ['detail.iban']);
    expect(redacted?.text).toBe('"***"');
    expect(restore('"***"', redacted?.cuts ?? [])).toBe(text);
  });

  it('is undone to the last character, and leaves JSON behind in which nothing of it is', () => {
    const value = jsonValue({ maxDepth: 3 });
    const secret = stringMatching(/^S[0-9a-z]{12}$/u);
    assert(
      property(value, secret, value, nat(4), (before, hidden, after, indent) => {
        const text = JSON.stringify({ detail: { before, data: { hidden }, after } }, null, indent);
        const redacted = redact(text, ['detail.data.hidden', 'detail.data.nothing']);
        expect(redacted).not.toBeNull();
        if (redacted === null) return;
        expect(redacted.text).not.toContain(hidden);
        expect(JSON.parse(redacted.text)).toEqual({
          detail: {
            before: JSON.parse(JSON.stringify(before)),
            data: { hidden: '***' },
            after: JSON.parse(JSON.stringify(after)),
          },
        });
        expect(restore(redacted.text, redacted.cuts)).toBe(text);
      }),
    );
  });

  it('keeps every digit', () => {
    const text = '{"detail":{"a":12345678901234567890.10,"b":1e400,"c":-0.0}}';
    const redacted = redact(text, ['detail.a', 'detail.b', 'detail.c']);
    expect(restore(redacted?.text ?? '', redacted?.cuts ?? [])).toBe(text);
  });
});

describe('wordsIn', () => {
  it('has the texts and numbers of all that was taken out', () => {
    const { cuts = [] } =
      redact(String.raw`{"detail":{"a":{"b":["x\"y",{"c":1.50}],"d":null},"e":"z"}}`, [
        'detail.a',
        'detail.e',
      ]) ?? {};
    expect(wordsIn(cuts)).toEqual(['x"y', '1.50', '1.5', 'z']);
  });

  it('has numbers as they came and as JavaScript writes them', () => {
    const { cuts = [] } = redact('{"detail":{"a":[12345678901234567890,1e400]}}', ['detail.a']) ?? {};
    expect(wordsIn(cuts)).toEqual(['12345678901234567890', '12345678901234567000', '1e400']);
  });
});

describe('the setting', () => {
  it('takes a list of paths, as people write them', () => {
    expect(RedactedPaths.parse(' detail.data.iban, $.detail.data.cards[*].number ,,')).toEqual([
      'detail.data.iban',
      'detail.data.cards.*.number',
    ]);
    expect(RedactedPaths.parse('detail.cards[0].number, detail.m[*][2]')).toEqual([
      'detail.cards.0.number',
      'detail.m.*.2',
    ]);
    expect(RedactedPaths.parse(undefined)).toEqual([]);
  });

  it.each([
    'data.iban',
    'detail',
    'id',
    'detail.',
    'detail..a',
    'detail.*',
    'detail.objectId',
    'detail.traceparent',
    '$',
    "detail.data['iban']",
    'detail.data.cards[].number',
    'detail.data.cards[-1]',
  ])('does not take %s', (path) => {
    expect(RedactedPaths.safeParse(path).error?.issues[0]?.message).toContain(`"${path}"`);
  });
});
