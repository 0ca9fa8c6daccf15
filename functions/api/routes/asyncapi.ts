import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import packageJson from '../../../package.json' with { type: 'json' };
import { asyncApiDocument } from '../../../shared/catalogue/asyncapi.ts';
import { toJsonSchema } from '../../../shared/catalogue/catalogue-schema.ts';
import { handoffEvents } from '../../../shared/catalogue/handoff-events.ts';
import { describeAll } from '../describe-event-types.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

const read = createRoute({
  method: 'get',
  path: '/v1/asyncapi.json',
  operationId: 'getAsyncApi',
  tags: ['Event types'],
  security: needs('read'),
  summary:
    'The events as an AsyncAPI 3.0 document: the catalogue, those of your own, those of Handoff itself',
  responses: {
    200: {
      description: 'The document',
      content: {
        'application/json': {
          schema: z
            .record(z.string(), z.unknown())
            .describe('https://www.asyncapi.com/docs/reference/specification/v3.0.0'),
        },
      },
    },
    ...problems(),
  },
});

const ownTypes = handoffEvents.map(({ detail, ...type }) => ({
  ...type,
  schema: toJsonSchema(detail),
  isOwn: true,
}));

export function addAsyncApiRoutes(app: OpenAPIHono, { eventTypes }: Services): void {
  app.openapi(read, async (context) => {
    const types = describeAll(await eventTypes.readAll()).map((type) => ({ ...type, isOwn: false }));
    return context.json(asyncApiDocument(packageJson.version, [...types, ...ownTypes]), 200);
  });
}
