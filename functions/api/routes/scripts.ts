import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { decodeCursor, encodeCursor } from '../../../shared/cursor.ts';
import { pageOf, pageQuery } from '../page.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

const Script = z
  .strictObject({
    name: z.string().describe('What `target.script` of a handler names'),
    language: z.enum(['typescript', 'python']),
    description: z.string(),
  })
  .openapi('Script');

const list = createRoute({
  method: 'get',
  path: '/v1/scripts',
  operationId: 'listScripts',
  tags: ['Scripts'],
  security: needs('read'),
  summary: 'The scripts of this deployment, by name',
  request: { query: z.strictObject(pageQuery) },
  responses: {
    200: {
      description: 'A page of scripts',
      content: { 'application/json': { schema: pageOf(Script) } },
    },
    ...problems(400),
  },
});

export function addScriptRoutes(app: OpenAPIHono, { scripts }: Services): void {
  app.openapi(list, async (context) => {
    const { limit, cursor } = context.req.valid('query');
    const after = cursor === undefined ? '' : decodeCursor(cursor, z.string());
    const rest = scripts.names.filter((name) => name > after);
    const page = rest.slice(0, limit);
    const last = page.at(-1);
    const nextCursor = last !== undefined && rest.length > limit ? encodeCursor(last) : null;
    return context.json({ items: await scripts.list(page), nextCursor }, 200);
  });
}
