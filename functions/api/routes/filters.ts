import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { InvalidInputError } from '../../../shared/errors.ts';
import { explainMismatch } from '../../../shared/events/explain-mismatch.ts';
import { compileFilter } from '../../../shared/events/filter.ts';
import { matchesFilter, TooManyStepsError } from '../../../shared/events/match-filter.ts';
import { EventFilter } from '../../../shared/handlers/handler.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const FilterTest = z
  .object({
    matches: z.boolean(),
    reasons: z
      .array(z.string())
      .optional()
      .describe('The conditions that fail, with what is asked for and what is there; absent when it matches'),
  })
  .openapi('FilterTest');

const test = createRoute({
  method: 'post',
  path: '/v1/filters/test',
  security: needs('read'),
  summary: 'Whether a filter matches an event, and if not, why; nothing is stored or sent',
  request: {
    body: {
      content: {
        'application/json': {
          schema: z.strictObject({
            filter: EventFilter,
            // By reference: a copy would leave out names that are special to JavaScript.
            event: z
              .custom<Record<string, unknown>>(isObject, 'must be an object')
              .meta({
                type: 'object',
                description: 'An EventBridge event, or any part of one; it is not validated',
              }),
          }),
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
    return context.json(testFilter(filter, event), 200);
  });
}

/** Throws InvalidInputError where it cannot be told whether the filter matches. */
function testFilter(filter: unknown, json: unknown): z.output<typeof FilterTest> {
  const compiled = compileFilter(filter);
  if (!compiled.ok) throw new Error('A filter that was read is not good any more.');
  // The body was parsed with its numbers as they were written.
  const event = { plain: () => json, exact: () => json };
  try {
    return matchesFilter(compiled.filter, event)
      ? { matches: true }
      : { matches: false, reasons: explainMismatch(compiled.filter, event) };
  } catch (error) {
    if (!(error instanceof TooManyStepsError)) throw error;
    throw new InvalidInputError([{ field: 'filter', message: error.message }], { cause: error });
  }
}
