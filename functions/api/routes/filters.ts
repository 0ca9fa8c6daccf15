import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { InvalidInputError } from '../../../shared/errors.ts';
import { compileFilter } from '../../../shared/filters/filter.ts';
import { TooManyStepsError } from '../../../shared/filters/match-filter.ts';
import { EventFilter } from '../../../shared/handlers/handler.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import { testFilter } from '../test-filter.ts';
import { isObject } from '../../../shared/json-object.ts';

const Tried = z
  .strictObject({
    filter: EventFilter,
    // By reference: a copy would leave out names that are special to JavaScript.
    event: z.custom<Record<string, unknown>>(isObject, 'must be an object').meta({
      type: 'object',
      description: 'An EventBridge event, or any part of one; it is not validated',
    }),
  })
  .openapi('FilterAndEvent', {
    example: {
      filter: { detail: { data: { name: [{ prefix: 'A' }] } } },
      event: { 'detail-type': 'client.create', detail: { data: { name: 'Bob' } } },
    },
  });

const FilterTest = z
  .strictObject({
    matches: z.boolean().describe('Whether the handler would get the event'),
    reasons: z
      .array(z.string())
      .optional()
      .describe('The conditions that fail, with what is asked for and what is there; absent when it matches'),
  })
  .openapi('FilterTest');

const test = createRoute({
  method: 'post',
  path: '/v1/filters/test',
  operationId: 'testFilter',
  tags: ['Handlers'],
  security: needs('read'),
  summary: 'Whether a filter matches an event, and if not, why; nothing is stored or sent',
  request: {
    body: {
      content: {
        'application/json': {
          schema: Tried,
        },
      },
      required: true,
    },
  },
  responses: {
    200: {
      description: 'Whether it matches',
      content: { 'application/json': { schema: FilterTest } },
    },
    ...problems(400, 413),
  },
});

export function addFilterRoutes(app: OpenAPIHono): void {
  app.openapi(test, (context) => {
    const { filter, event } = context.req.valid('json');
    const compiled = compileFilter(filter);
    if (!compiled.ok) throw new Error('A filter that was read just now is not good any more.');
    try {
      // The body was parsed with its numbers as they were written.
      const parsed = { plain: () => event, exact: () => event };
      return context.json(testFilter(compiled.filter, parsed), 200);
    } catch (error) {
      if (!(error instanceof TooManyStepsError)) throw error;
      throw new InvalidInputError([{ field: 'filter', message: error.message }], { cause: error });
    }
  });
}
