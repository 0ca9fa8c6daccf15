import { z } from '@hono/zod-openapi';
import { describe, expect, it } from 'vitest';
import { answerOf, patchOf } from '../../../functions/api/schema-forms.ts';

const Thing = z.object({
  name: z.string().min(1).describe('What it is called'),
  size: z.int().default(3).describe('How large'),
  note: z.string().optional(),
  tags: z.record(z.string(), z.string()).default({}),
  part: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('a'), width: z.int().default(1) }),
      z.strictObject({ type: z.literal('b'), list: z.array(z.string()).default([]) }),
    ])
    .nullable()
    .default(null),
});
const whole = { name: 'n', size: 3, tags: {}, part: { type: 'a', width: 1 } };

const problemsOf = (schema: z.ZodType, value: unknown): string[] =>
  (schema.safeParse(value).error?.issues ?? []).map(({ code, path }) => [code, ...path].join(' '));

describe('answerOf', () => {
  it('takes what comes back of a request, and nothing less', () => {
    expect(problemsOf(answerOf(Thing), Thing.parse({ name: 'n', part: { type: 'a' } }))).toEqual([]);
    expect(problemsOf(answerOf(Thing), { ...whole, note: 'x', part: null })).toEqual([]);
    expect(problemsOf(answerOf(Thing), { name: '', part: null })).toEqual([
      'too_small name',
      'invalid_type size',
      'invalid_type tags',
    ]);
    expect(problemsOf(answerOf(Thing), { ...whole, part: { type: 'a' } })).toEqual(['invalid_union part']);
  });

  it('takes nothing more', () => {
    expect(problemsOf(answerOf(Thing), { ...whole, secret: 1 })).toEqual(['unrecognized_keys']);
    expect(problemsOf(answerOf(Thing), { ...whole, part: { type: 'b', list: [], width: 1 } })).toEqual([
      'unrecognized_keys part',
    ]);
  });

  it('says what the schema says', () => {
    const { properties } = z.toJSONSchema(answerOf(Thing));
    expect(properties).toMatchObject({
      name: { description: 'What it is called', minLength: 1 },
      size: { description: 'How large' },
    });
  });
});

describe('patchOf', () => {
  it('takes any of the fields, and null to take one away', () => {
    const patches = [
      {},
      { name: null },
      { size: 1, note: 'x' },
      { tags: { old: null, new: 'x' } },
      { part: null },
      { part: { width: 2 } },
      { part: { type: 'b' } },
    ];
    for (const patch of patches) expect([patch, problemsOf(patchOf(Thing), patch)]).toEqual([patch, []]);
  });

  it('takes no others, and none that cannot be', () => {
    expect(problemsOf(patchOf(Thing), { secret: 1 })).toEqual(['unrecognized_keys']);
    expect(problemsOf(patchOf(Thing), { name: '', size: 'x' })).toEqual([
      'too_small name',
      'invalid_type size',
    ]);
    expect(problemsOf(patchOf(Thing), { part: { type: 'c' } })).toEqual(['invalid_union part']);
    expect(problemsOf(patchOf(Thing), { tags: { x: 1 } })).toEqual(['invalid_type tags x']);
  });
});
