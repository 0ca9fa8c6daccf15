import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { RE2JS } from 're2js';
import { z } from 'zod';
import type { FieldError } from '../errors.ts';
import type { DetailProblem } from './detail-problem.ts';
import { isObject } from '../json-object.ts';

/** A JSON Schema of draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What is wrong with a `Detail`. Never rejects, and ends in a bounded time. */
export type DetailCheck = (detail: unknown) => DetailProblem[];

// As text. Every environment that dispatches keeps all of them in memory.
const maxSchemaBytes = 32 * 1024;
const maxDepth = 32;
const maxNodes = 2000;
const maxPatternLength = 500;
const dialect = 'https://json-schema.org/draft/2020-12/schema';

// A schema and an event that are made for each other take exponential time (two references to one schema at each level), so what a
// check does is counted, and it ends at this many: a fraction of a second.
const maxSteps = 10_000_000;
// To list all that is wrong takes an object for each.
const maxStepsForAll = 50_000;

/**
 * Why a schema cannot be that of an event type, with the field of each reason; none when it can. It is a JSON Schema of draft 2020-12 that
 * refers to itself alone, by JSON pointers, with patterns that take linear time.
 */
export function schemaProblems(schema: JsonSchema, field = 'schema'): FieldError[] {
  const bytes = Buffer.byteLength(JSON.stringify(schema));
  if (bytes > maxSchemaBytes)
    return [{ field, message: `has ${bytes} bytes; at most ${maxSchemaBytes} are allowed` }];
  const { problems } = prepare(schema, field);
  if (problems.length > 0) return problems;
  const { $schema: _, ...unnamed } = schema;
  const meta = new Ajv2020({ strict: false, logger: false, validateFormats: false });
  if (meta.validateSchema(unnamed) !== true)
    return (meta.errors ?? []).map((error) => metaProblem(error, field));
  try {
    compileJsonSchema(schema);
    return [];
  } catch (error) {
    return [{ field, message: `cannot be used: ${(error as Error).message}` }];
  }
}

function metaProblem({ instancePath, message = 'is not right' }: ErrorObject, field: string): FieldError {
  return { field: [field, ...namesOf(instancePath)].join('.'), message };
}

/**
 * The check that a schema asks for. The schema is one in which `schemaProblems` finds nothing; throws for others.
 *
 * `format` counts for those of dates, addresses and ids, and is a remark for all others, as the draft has it.
 */
export function compileJsonSchema(schema: JsonSchema): DetailCheck {
  const { prepared } = prepare(schema, 'schema');
  let left = 0;
  const spend: Spend = (steps) => {
    left -= steps;
    if (left < 0) throw new TooManySteps('');
  };
  const first = compile(prepared, spend, { allErrors: false });
  let all: ValidateFunction | undefined;

  const run = (validate: ValidateFunction, steps: number, detail: unknown): DetailProblem[] | null => {
    left = steps;
    try {
      return validate(detail) ? [] : (validate.errors ?? []).map(problemOf);
    } catch (error) {
      // The second one is a stack that a schema which leads to itself has used up.
      if (error instanceof TooManySteps || error instanceof RangeError) return null;
      throw error;
    }
  };
  return (detail) => {
    const found = run(first, maxSteps, detail);
    if (found === null)
      return [{ path: [], message: 'takes too many steps to check by the schema of its type' }];
    if (found.length === 0) return [];
    all ??= compile(prepared, spend, { allErrors: true });
    return run(all, maxStepsForAll, detail) ?? found;
  };
}

type Spend = (steps: number) => void;

class TooManySteps extends Error {
  override name = 'TooManySteps' as const;
}

const costKeyword = 'handoffCost';

function compile(prepared: object, spend: Spend, { allErrors }: { allErrors: boolean }): ValidateFunction {
  const ajv = new Ajv2020({
    allErrors,
    strict: false,
    logger: false,
    // The schema was held against the draft when it was saved.
    meta: false,
    validateSchema: false,
    // "constructor" is a name like any other: what objects inherit is nobody's field.
    ownProperties: true,
    formats,
    code: { regExp: linearRegExp(spend) },
  });
  // Its own compares each with each.
  ajv.removeKeyword('uniqueItems');
  ajv.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    error: { message: 'must not have the same item twice' },
    validate: (isAsked: boolean, items: unknown[]) => {
      if (!isAsked) return true;
      const seen = new Set<string>();
      for (const item of items) {
        const text = canonical(item);
        spend(canonicalCost * text.length);
        seen.add(text);
      }
      return seen.size === items.length;
    },
  });
  ajv.addKeyword({
    keyword: costKeyword,
    schemaType: 'number',
    errors: false,
    validate: (steps: number, data: unknown) => {
      spend(steps + sizeOf(data));
      return true;
    },
  });
  payFirst(ajv);
  return ajv.compile(prepared);
}

/** A keyword without a type comes after those of numbers and texts, which can end the check of a schema before it is counted. */
function payFirst({ RULES }: Ajv2020): void {
  for (const group of RULES.rules) {
    const index = group.rules.findIndex(({ keyword }) => keyword === costKeyword);
    if (index === -1) continue;
    RULES.rules.unshift({ rules: group.rules.splice(index, 1) });
    return;
  }
}

function sizeOf(data: unknown): number {
  if (typeof data === 'string') return data.length;
  if (Array.isArray(data)) return data.length;
  return typeof data === 'object' && data !== null ? Object.keys(data).length : 0;
}

// Steps for each character.
const canonicalCost = 4;

/** The same text for what JSON Schema takes for the same value. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );

/** RE2 takes linear time, and knows neither what looks ahead or behind nor references to what was matched. */
function linearRegExp(spend: Spend) {
  const engine = (pattern: string) => {
    const expression = RE2JS.compile(RE2JS.translateRegExp(pattern));
    return {
      test(text: string) {
        spend(text.length * (1 + Math.ceil(pattern.length / 8)));
        return expression.test(text);
      },
      // What ajv tells two patterns apart by.
      toString: () => pattern,
    };
  };
  return Object.assign(engine as unknown as (pattern: string) => RegExp, { code: 'linearRegExp' });
}

const checkedBy =
  (schema: z.ZodType) =>
  (text: string): boolean =>
    text.length <= 2048 && schema.safeParse(text).success;

const formats = {
  'date-time': checkedBy(z.iso.datetime({ offset: true })),
  date: checkedBy(z.iso.date()),
  uuid: checkedBy(z.guid()),
  email: checkedBy(z.email()),
  uri: (text: string): boolean => URL.canParse(text),
  ipv4: checkedBy(z.ipv4()),
  ipv6: checkedBy(z.ipv6()),
};

function problemOf({ instancePath, keyword, params, message, propertyName }: ErrorObject): DetailProblem {
  const path = namesOf(instancePath);
  const { missingProperty, additionalProperty, unevaluatedProperty, allowedValues, allowedValue } =
    params as Record<string, unknown>;
  const unexpected = additionalProperty ?? unevaluatedProperty;
  if (keyword === 'required') return { path: [...path, String(missingProperty)], message: 'is missing' };
  if (typeof unexpected === 'string') return { path: [...path, unexpected], message: 'is not expected' };
  if (keyword === 'false schema') return { path, message: 'is not expected' };
  if (propertyName !== undefined)
    return { path: [...path, propertyName], message: `is no good name: it ${message}` };
  if (keyword === 'enum') return { path, message: `must be one of ${JSON.stringify(allowedValues)}` };
  if (keyword === 'const') return { path, message: `must be ${JSON.stringify(allowedValue)}` };
  return { path, message: message ?? 'is not right' };
}

const namesOf = (pointer: string): string[] => pointer.split('/').slice(1).map(unescapePointer);
const unescapePointer = (name: string): string => name.replaceAll('~1', '/').replaceAll('~0', '~');
const escapePointer = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1');

const withSchemas = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems']);
const withSchema = new Set([
  'not',
  'if',
  'then',
  'else',
  'items',
  'contains',
  'additionalProperties',
  'propertyNames',
  'unevaluatedItems',
  'unevaluatedProperties',
]);
const withNamedSchemas = new Set([
  'properties',
  'patternProperties',
  'dependentSchemas',
  '$defs',
  'definitions',
]);
// They name schemas, or lead to them, in ways that are not followed here.
const refused = new Set([
  '$dynamicRef',
  '$dynamicAnchor',
  '$recursiveRef',
  '$recursiveAnchor',
  '$anchor',
  '$async',
  'dependencies',
  costKeyword,
]);

/** Looks for what is not allowed in a schema, and makes the copy that is compiled: each schema in it says what it costs. */
function prepare(schema: JsonSchema, field: string): { prepared: object; problems: FieldError[] } {
  const problems: FieldError[] = [];
  const pointers = new Set<string>();
  const references: { field: string; target: string }[] = [];
  let nodes = 0;

  const visit = (value: unknown, at: Place): unknown => {
    pointers.add(at.pointer);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    if (at.depth > maxDepth) {
      problems.push({ field: at.field, message: `is nested more than ${maxDepth} levels deep` });
      return value;
    }
    const before = nodes;
    nodes += 1;
    const copy: Record<string, unknown> = {};
    for (const [keyword, member] of Object.entries(value)) {
      const place = below(at, keyword);
      copyKeyword(keyword, member, { at, place, copy });
    }
    copy[costKeyword] = nodes - before;
    return copy;
  };

  const visitMap = (members: object, at: Place): object =>
    Object.fromEntries(
      Object.entries(members).map(([name, member]) => [name, visit(member, below(at, name))]),
    );

  function copyKeyword(
    keyword: string,
    member: unknown,
    { at, place, copy }: { at: Place; place: Place; copy: Record<string, unknown> },
  ): void {
    const refuse = (message: string): void => void problems.push({ field: place.field, message });
    if (refused.has(keyword)) return refuse('is not allowed');
    if (keyword === '$id' || keyword === '$schema') {
      // At the root they say what it is, and nothing depends on it.
      if (at.depth > 0) return refuse('is only allowed at the root');
      if (keyword === '$schema' && member !== dialect) refuse(`must be "${dialect}"`);
      return;
    }
    if (keyword === '$ref' && typeof member === 'string')
      references.push({ field: place.field, target: member });
    if (keyword === 'pattern' && typeof member === 'string') {
      const problem = patternProblem(member);
      if (problem !== null) return refuse(problem);
    }
    if (keyword === 'patternProperties' && isObject(member)) {
      for (const pattern of Object.keys(member)) {
        const problem = patternProblem(pattern);
        if (problem !== null) return refuse(problem);
      }
    }
    if (withSchema.has(keyword)) copy[keyword] = visit(member, place);
    else if (withSchemas.has(keyword) && Array.isArray(member))
      copy[keyword] = member.map((one, index) => visit(one, below(place, String(index))));
    else if (withNamedSchemas.has(keyword) && isObject(member)) copy[keyword] = visitMap(member, place);
    else {
      copy[keyword] = member;
      nodes += countNodes(member);
    }
  }

  const prepared = visit(schema, { pointer: '#', field, depth: 0 }) as object;
  if (nodes > maxNodes)
    problems.push({ field, message: `has ${nodes} parts; at most ${maxNodes} are allowed` });
  for (const reference of references) {
    if (!reference.target.startsWith('#'))
      problems.push({
        field: reference.field,
        message: 'must begin with "#": a schema refers to itself alone',
      });
    else if (!pointers.has(decoded(reference.target)))
      problems.push({ field: reference.field, message: 'leads to no schema in this one' });
  }
  return { prepared, problems };
}

type Place = { pointer: string; field: string; depth: number };

const below = ({ pointer, field, depth }: Place, name: string): Place => ({
  pointer: `${pointer}/${escapePointer(name)}`,
  field: `${field}.${name}`,
  depth: depth + 1,
});

const countNodes = (value: unknown): number =>
  typeof value === 'object' && value !== null
    ? Object.values(value).reduce<number>((sum, member) => sum + countNodes(member), 1)
    : 1;

function decoded(reference: string): string {
  try {
    return decodeURIComponent(reference);
  } catch {
    return reference;
  }
}

function patternProblem(pattern: string): string | null {
  if (pattern.length > maxPatternLength) return `has more than ${maxPatternLength} characters`;
  try {
    RE2JS.compile(RE2JS.translateRegExp(pattern));
    return null;
  } catch (error) {
    return `is no regular expression of RE2, which knows no look-around and no back-references: ${(error as Error).message}`;
  }
}
