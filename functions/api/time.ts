import { z } from '@hono/zod-openapi';

/** A time in a query: ISO 8601 with any offset. It is handed on in UTC, with milliseconds. */
export const Time = z.iso
  .datetime({ offset: true })
  .transform((time) => new Date(time).toISOString())
  .refine((time) => /^\d{4}-/u.test(time), 'must be in the years 0 to 9999');
