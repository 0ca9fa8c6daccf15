import { z } from '@hono/zod-openapi';

/** A time in a query: ISO 8601 with any offset. It is handed on in UTC, with milliseconds. */
export const Time = z.iso
  .datetime({
    offset: true,
    // In a query an offset's plus sign means a blank, which nobody sees in an address.
    error: ({ input }) =>
      input === undefined
        ? undefined
        : 'must be a time such as 2026-11-23T10:00:00Z, or with an offset: +01:00, which is %2B01:00 in a URL',
  })
  .transform((time) => new Date(time).toISOString())
  .refine((time) => /^\d{4}-/u.test(time), 'must be in the years 0 to 9999');
