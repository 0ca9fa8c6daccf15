import { z } from '@hono/zod-openapi';

/**
 * What comes back of something that a schema reads: the defaults are filled in, so every field is there. For the OpenAPI
 * document, whose generator takes a field with a default for one that may be missing. It is made anew, so it has
 * `openapi`, as a schema of `shared/` may not: that depends on who was imported first.
 */
export const answerOf = <Schema extends z.ZodType>(schema: Schema): z.ZodType<z.output<Schema>> =>
  rewrite(schema, (field) => field) as z.ZodType<z.output<Schema>>;

/**
 * What may stand in a JSON Merge Patch (RFC 7396) of something that a schema reads: any of its fields, and null to go back
 * to the default. For the OpenAPI document: what a patch makes is validated, not the patch.
 */
export const patchOf = (schema: z.ZodType): z.ZodType =>
  rewrite(schema, (field) => field.nullable().optional());

/** The same schema without its defaults, its objects strict, and each field of an object made into another one. */
function rewrite(schema: z.ZodType, toField: (field: z.ZodType) => z.ZodType): z.ZodType {
  const rewritten = rewriteUndescribed(schema, toField);
  const description = schema.meta();
  return rewritten === schema || description === undefined ? rewritten : rewritten.meta(description);
}

function rewriteUndescribed(schema: z.ZodType, toField: (field: z.ZodType) => z.ZodType): z.ZodType {
  const inner = (part: unknown): z.ZodType => rewrite(part as z.ZodType, toField);
  if (schema instanceof z.ZodDefault) return inner(schema.unwrap());
  if (schema instanceof z.ZodNullable) return inner(schema.unwrap()).nullable();
  if (schema instanceof z.ZodOptional) return inner(schema.unwrap()).optional();
  if (schema instanceof z.ZodUnion) return z.union(schema.options.map(inner));
  if (schema instanceof z.ZodRecord) return z.record(z.string(), toField(inner(schema.valueType)));
  if (schema instanceof z.ZodObject) {
    const fields = Object.entries(schema.shape).map(([key, field]) => [key, toField(inner(field))]);
    return z.strictObject(Object.fromEntries(fields) as Record<string, z.ZodType>);
  }
  return schema;
}
