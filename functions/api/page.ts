import { z } from '@hono/zod-openapi';

const maxLimit = 100;
const limitError = `must be a whole number from 1 to ${maxLimit}`;

/** The query parameters of every list. */
export const pageQuery = {
  limit: z.coerce
    .number(limitError)
    .int(limitError)
    .min(1, limitError)
    .max(maxLimit, limitError)
    .default(20)
    .describe('Items a page'),
  cursor: z.string().max(2048).describe('`nextCursor` of the page before').optional(),
};

/** A page of a list. */
export const pageOf = <Item extends z.ZodType>(item: Item) =>
  z.strictObject({
    items: z.array(item),
    nextCursor: z.string().nullable().describe('Ask for the next page with it; null on the last one'),
  });
