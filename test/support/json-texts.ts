import * as fc from 'fast-check';

/** Numbers as JSON may write them, most of them not as JavaScript would. */
export const aNumberText = fc.oneof(
  fc.constantFrom('12345678901234567890', '1.50', '1e400', '-0.0', '-0', '3.0e2', '1E+5', '0.1e-7', '100'),
  fc
    .tuple(
      fc.constantFrom('', '-'),
      fc.oneof(fc.constant('0'), fc.stringMatching(/^[1-9]\d{0,30}$/u)),
      fc.oneof(fc.constant(''), fc.stringMatching(/^\.\d{1,20}$/u)),
      fc.oneof(fc.constant(''), fc.stringMatching(/^[eE][+-]?\d{1,3}$/u)),
    )
    .map((parts) => parts.join('')),
);

const aStringText = fc.oneof(
  fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
  fc.constantFrom(
    String.raw`"\u0041\/"`,
    String.raw`"\ud800"`,
    '"}],{"',
    String.raw`"\\"`,
    String.raw`"\\\""`,
  ),
);
// The JSON.parse of Node 24 (V8 13.6) that has read {"a":1,"\\":2} reads {"a":1,"\u0041":2} as the same.
const aNameText = fc.oneof(
  aStringText.filter((text) => !text.startsWith(String.raw`"\\`)),
  fc.constantFrom(
    '"__proto__"',
    '"constructor"',
    '"10"',
    '"9"',
    '"companyId"',
    '"companies_id"',
    '"customFields"',
  ),
);
const space = fc.constantFrom('', '', '', ' ', '\n', '\t\r\n');

const { value, object } = fc.letrec<{ value: string; object: string; array: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(aNumberText, aStringText, fc.constantFrom('true', 'false', 'null')),
    tie('object'),
    tie('array'),
  ),
  array: fc
    .tuple(fc.array(tie('value'), { maxLength: 4 }), space)
    .map(([values, between]) => `[${between}${values.join(`${between},${between}`)}${between}]`),
  object: fc
    .tuple(fc.array(fc.tuple(aNameText, tie('value')), { maxLength: 4 }), space)
    .map(
      ([members, between]) =>
        `{${between}${members.map(([name, text]) => `${name}${between}:${between}${text}`).join(`,${between}`)}${between}}`,
    ),
}));

/** JSON texts as nobody would write them, but somebody may. */
export const aJsonText = value;
export const anObjectText = object;
