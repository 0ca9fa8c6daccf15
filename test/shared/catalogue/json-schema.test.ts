import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileJsonSchema, schemaProblems } from '../../../shared/catalogue/json-schema.ts';

const fieldsOf = (schema: object) => schemaProblems({ ...schema }).map(({ field }) => field);
const check = (schema: object, detail: unknown) =>
  compileJsonSchema({ ...schema })(detail).map(({ path, message }) => `${path.join('.')}: ${message}`);
const times = <Item>(count: number, item: (index: number) => Item): Item[] =>
  Array.from({ length: count }, (_, index) => item(index));
const nested = (levels: number): object => (levels === 0 ? {} : { not: nested(levels - 1) });

describe('schemaProblems', () => {
  it.each([
    [{}],
    [{ $schema: 'https://json-schema.org/draft/2020-12/schema', $id: 'https://x.example/merged' }],
    [
      {
        $defs: { tree: { properties: { children: { items: { $ref: '#/$defs/tree' } } } } },
        $ref: '#/$defs/tree',
      },
    ],
    [{ properties: { 'a/b~c': {}, d: { $ref: '#/properties/a~1b~0c' }, e: { $ref: '#' } } }],
    [{ properties: { 'ä b': {}, d: { $ref: '#/properties/%C3%A4%20b' } } }],
    [{ prefixItems: [{ type: 'string' }, false], items: { $ref: '#/prefixItems/0' } }],
    [{ enum: [{ $ref: 'https://x.example' }], const: { pattern: '(?=a)' }, default: { $anchor: 'a' } }],
    [{ properties: { $ref: { type: 'string' }, pattern: { type: 'number' }, $id: true } }],
    [{ format: 'made-up', 'x-owner': 'crm', example: 1 }],
    [{ pattern: String.raw`^\p{Lu}[\w-]{1,20}\/(?<name>a|b)$` }],
  ])('finds nothing in %j', (schema) => {
    expect(schemaProblems(schema)).toEqual([]);
  });

  it.each([
    [{ type: 'objct' }, 'schema.type'],
    [{ properties: { a: { minLength: 'x' } } }, 'schema.properties.a.minLength'],
    [{ $ref: 'https://x.example/s' }, 'schema.$ref'],
    [{ $ref: '#/$defs/none' }, 'schema.$ref'],
    // Not a schema, although it lies in one: what is in it was not looked at.
    [{ properties: { a: { $ref: '#/properties' } } }, 'schema.properties.a.$ref'],
    [{ const: { type: 'string' }, not: { $ref: '#/const' } }, 'schema.not.$ref'],
    [{ $anchor: 'a' }, 'schema.$anchor'],
    [{ $dynamicRef: '#a' }, 'schema.$dynamicRef'],
    [{ items: { $id: 'https://x.example/s' } }, 'schema.items.$id'],
    [{ $schema: 'http://json-schema.org/draft-07/schema#' }, 'schema.$schema'],
    [{ allOf: [{}, { pattern: '(a)\\1' }] }, 'schema.allOf.1.pattern'],
    [{ patternProperties: { '(?<!a)b': {} } }, 'schema.patternProperties'],
    [{ pattern: `a${'b'.repeat(500)}` }, 'schema.pattern'],
    [{ description: 'x'.repeat(33_000) }, 'schema'],
    [{ enum: times(2000, (index) => index) }, 'schema'],
    [{ handoffCost: 0 }, 'schema.handoffCost'],
  ])('names what is wrong in %o', (schema, field) => {
    expect(new Set(fieldsOf(schema))).toEqual(new Set([field]));
  });

  it('refuses what is nested without end', () => {
    expect(schemaProblems(nested(32) as Record<string, unknown>)).toEqual([]);
    expect(schemaProblems(nested(33) as Record<string, unknown>)[0]?.message).toBe(
      'is nested more than 32 levels deep',
    );
  });
});

describe('any JSON at all', () => {
  const words = fc.constantFrom(
    '$ref',
    '$defs',
    '$id',
    '$schema',
    '$comment',
    'type',
    'properties',
    'patternProperties',
    'items',
    'prefixItems',
    'allOf',
    'anyOf',
    'not',
    'if',
    'then',
    'required',
    'enum',
    'const',
    'pattern',
    'format',
    'minLength',
    'maximum',
    'multipleOf',
    'uniqueItems',
    'contains',
    'minContains',
    'dependentRequired',
    'dependentSchemas',
    'propertyNames',
    'unevaluatedProperties',
    'unevaluatedItems',
    'additionalProperties',
    'constructor',
    'toString',
    'a',
    '',
  );
  const values = fc.constantFrom<unknown>(
    '#',
    '#/$defs/a',
    '#/properties/a',
    '#/%',
    'a',
    '^a*$',
    '(',
    'object',
    'array',
    'string',
    'date-time',
    -1,
    0,
    0.1,
    1,
    true,
    false,
    null,
  );
  const { schema } = fc.letrec<{ schema: unknown; part: unknown }>((tie) => ({
    schema: fc.dictionary(words, tie('part'), { maxKeys: 4, noNullPrototype: true }),
    part: fc.oneof({ maxDepth: 4 }, values, tie('schema'), fc.array(tie('part'), { maxLength: 3 })),
  }));

  it('is refused with a reason, or compiled and able to check whatever comes', () => {
    let compiled = 0;
    fc.assert(
      fc.property(schema, fc.jsonValue(), (anySchema, detail) => {
        const problems = schemaProblems(anySchema as Record<string, unknown>);
        for (const { field, message } of problems)
          expect(field.startsWith('schema') && message !== '').toBe(true);
        if (problems.length > 0) return;
        compiled += 1;
        for (const { message } of compileJsonSchema(anySchema as Record<string, unknown>)(detail)) {
          expect(message).not.toBe('');
        }
      }),
      { numRuns: 300 },
    );
    expect(compiled).toBeGreaterThan(20);
  });
});

describe('compileJsonSchema', () => {
  it("takes what objects inherit for nobody's field", () => {
    const schema = {
      required: ['toString'],
      properties: { constructor: { type: 'string' }, valueOf: false },
      dependentRequired: { hasOwnProperty: ['data'] },
    };
    expect(check(schema, {})).toEqual(['toString: is missing']);
    expect(check(schema, { toString: 1, constructor: 'Ferrari' })).toEqual([]);
  });

  it('says all that is wrong, by path, without a value', () => {
    const schema = {
      required: ['objectId'],
      properties: {
        data: {
          additionalProperties: false,
          required: ['name'],
          dependentRequired: { from: ['to'] },
          properties: {
            name: { type: 'string', pattern: '^[A-Z]' },
            at: { type: 'string', format: 'date-time' },
            kind: { enum: ['a', 'b'] },
            state: { const: 'new' },
            from: {},
            tags: { type: 'array', uniqueItems: true, items: { type: 'string' } },
          },
          propertyNames: { maxLength: 10 },
        },
      },
    };
    const data = {
      at: 'yesterday',
      kind: 'secret-1',
      state: 'secret-2',
      from: 1,
      tags: ['x', 'x', 7],
      'much-longer-name': 1,
    };
    const found = check(schema, { data });
    expect(found.toSorted()).toEqual(
      [
        'objectId: is missing',
        'data.name: is missing',
        'data.at: must match format "date-time"',
        'data.kind: must be one of ["a","b"]',
        'data.state: must be "new"',
        'data: must have property to when property from is present',
        'data.tags: must not have the same item twice',
        'data.tags.2: must be string',
        'data.much-longer-name: is not expected',
        'data.much-longer-name: is no good name: it must NOT have more than 10 characters',
        'data: property name must be valid',
      ].toSorted(),
    );
    expect(found.join()).not.toContain('secret');
    expect(check(schema, { objectId: 1, data: { name: 'Ada', at: '2026-11-23T10:00:00+01:00' } })).toEqual(
      [],
    );
  });

  it.each([
    ['date-time', '2026-11-23T10:00:00Z', '2026-11-23'],
    ['date', '2026-11-23', '2026-13-01'],
    ['uuid', '6f1e2c52-6b0e-4d3f-9a43-0c6a1f4b5d77', 'x'],
    ['email', 'ada@crm.example', 'ada'],
    ['uri', 'https://crm.example/x', 'crm.example/x'],
    ['ipv4', '203.0.113.10', '203.0.113.300'],
    ['ipv6', '2001:db8::1', '203.0.113.10'],
  ])('knows the format %s', (format, good, bad) => {
    expect(check({ format }, good)).toEqual([]);
    expect(check({ format }, bad)).toEqual([`: must match format "${format}"`]);
    expect(check({ format }, 7)).toEqual([]);
  });

  it('takes for the same item what JSON Schema does', () => {
    const schema = { uniqueItems: true };
    expect(
      check(schema, [
        { a: 1, b: [2] },
        { b: [2], a: 1 },
      ]),
    ).toHaveLength(1);
    expect(check(schema, [1, '1', [1], { 1: 1 }, null, 'null', false, 0, []])).toEqual([]);
    expect(check({ uniqueItems: false }, [1, 1])).toEqual([]);
  });

  const tooMany = [': takes too many steps to check by the schema of its type'];
  const twice = (name: string) => ({ allOf: [{ $ref: `#/$defs/${name}` }, { $ref: `#/$defs/${name}` }] });
  const chain = times(900, () => null).reduce<object>((deep) => ({ a: deep }), {});

  // Each of these would take minutes, years or all memory if nothing were counted; the test runner ends what takes 20 seconds.
  it.each<[string, object, unknown, string[]]>([
    ['a schema that leads to itself', { $ref: '#' }, {}, tooMany],
    [
      'forty levels of two references',
      {
        $ref: '#/$defs/a0',
        $defs: { ...Object.fromEntries(times(40, (n) => [`a${n}`, twice(`a${n + 1}`)])), a40: {} },
      },
      {},
      tooMany,
    ],
    [
      'two looks at each level of the event',
      {
        $ref: '#/$defs/n',
        $defs: {
          n: { allOf: times(2, () => ({ properties: { a: { $ref: '#/$defs/n' } } })) },
        },
      },
      chain,
      tooMany,
    ],
    [
      'a long text, measured six hundred times',
      { anyOf: times(600, () => ({ maxLength: 1 })) },
      'x'.repeat(1_000_000),
      tooMany,
    ],
    [
      'patterns that backtrack',
      { anyOf: times(100, () => ({ pattern: '^(a+)+$' })) },
      `${'a'.repeat(1_000_000)}!`,
      tooMany,
    ],
    [
      'one pattern that backtracks',
      { pattern: '^(a+)+$' },
      `${'a'.repeat(1_000_000)}!`,
      [': must match pattern "^(a+)+$"'],
    ],
  ])('ends in a bounded time: %s', (_, schema, detail, found) => {
    expect(schemaProblems({ ...schema })).toEqual([]);
    expect(check(schema, detail)).toEqual(found);
  });

  it('keeps no more of what is wrong than it may', () => {
    const schema = { items: { required: times(1900, (index) => `n${index}`) } };
    const found = compileJsonSchema(schema)(times(300_000, () => ({})));
    expect(found.length).toBeLessThan(10);
  });

  it('is done with an event of 1 MB that is as it should be', () => {
    const schema = {
      items: {
        type: 'object',
        required: ['a'],
        properties: { a: { type: 'number' }, b: { type: 'string' } },
      },
    };
    expect(
      check(
        schema,
        times(60_000, () => ({ a: 1, b: 'x' })),
      ),
    ).toEqual([]);
    expect(
      check(
        { uniqueItems: true },
        times(100_000, (id) => ({ id })),
      ),
    ).toEqual([]);
  });
});
