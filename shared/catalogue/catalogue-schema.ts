import { z } from 'zod';
import type { JsonSchema } from './json-schema.ts';

/** The schema of a `Detail` as JSON Schema, draft 2020-12. */
export function toJsonSchema(detail: z.ZodType): JsonSchema {
  return z.toJSONSchema(detail, {
    target: 'draft-2020-12',
    io: 'input',
    override({ jsonSchema }) {
      // The format says the same in one word.
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern;
      // Not what the field may be, but what JavaScript can count.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      // The same as leaving it out, and it is in every object.
      if (isEmpty(jsonSchema.additionalProperties)) delete jsonSchema.additionalProperties;
    },
  }) as JsonSchema;
}

const isEmpty = (schema: unknown): boolean =>
  typeof schema === 'object' && schema !== null && Object.keys(schema).length === 0;
