import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { Stats } from '../../../shared/executions/stats.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';
import { Time } from '../time.ts';

const NamedStats = Stats.extend({
  handlers: z
    .array(
      Stats.shape.handlers.element.extend({
        handlerName: z.string().nullable().describe('Null when the handler is gone'),
      }),
    )
    .describe('What ran most comes first'),
}).openapi('Statistics');

const read = createRoute({
  method: 'get',
  path: '/v1/stats',
  operationId: 'getStats',
  tags: ['Statistics'],
  security: needs('read'),
  summary: 'What ran, by whole hours: in all, by handler and over time',
  request: {
    query: z.strictObject({
      from: Time.optional().describe('Cut down to its hour; 24 hours before the end when left out'),
      to: Time.optional().describe('Cut up to a whole hour, at most 31 days later; now when left out'),
    }),
  },
  responses: {
    200: {
      description: 'What ran, about: the counts of the last seconds may still be to come',
      content: { 'application/json': { schema: NamedStats } },
    },
    ...problems(400),
  },
});

export function addStatsRoutes(app: OpenAPIHono, { readStats, handlers }: Services): void {
  app.openapi(read, async (context) => {
    const stats = await readStats(context.req.valid('query'));
    const all = stats.handlers.length === 0 ? [] : (await handlers.readAll()).handlers;
    const nameOf = new Map(all.map(({ handler: { id, name } }) => [id, name]));
    return context.json(
      {
        ...stats,
        handlers: stats.handlers.map(({ handlerId, ...summary }) => ({
          handlerId,
          handlerName: nameOf.get(handlerId) ?? null,
          ...summary,
        })),
      },
      200,
    );
  });
}
