import { z } from '@hono/zod-openapi';

/** Headers of answers, for their OpenAPI entries. */
export const etag = z.object({
  etag: z.string().describe('The version, for If-Match').openapi({ pattern: '^"[0-9]+"$', example: '"3"' }),
});

export const location = z.object({
  location: z
    .string()
    .describe('Where it is: a path')
    .openapi({ pattern: '^/v1/.', format: 'uri-reference' }),
});
