import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { actorOf } from '../actor.ts';
import { pageOf, pageQuery } from '../page.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import { redriveAll, redriveSome } from '../redrive.ts';
import type { Services } from '../services.ts';

const DeadLetter = z
  .strictObject({
    id: z.string(),
    receivedAt: z.iso.datetime().describe('When the queue first took it'),
    reason: z.string().describe('Why it could not be read or run'),
    body: z.string().describe('Its beginning, of at most 4 KB'),
    bodyBytes: z.int().describe('The size of the whole body'),
  })
  .openapi('DeadLetter');

const list = createRoute({
  method: 'get',
  path: '/v1/dead-letters',
  operationId: 'listDeadLetters',
  tags: ['Dead letters'],
  security: needs('read'),
  summary: 'What could not be read or run, newest first',
  request: { query: z.strictObject(pageQuery) },
  responses: {
    200: {
      description: 'A page of dead letters; it can be short, even empty, and yet have a next one',
      content: { 'application/json': { schema: pageOf(DeadLetter) } },
    },
    ...problems(400),
  },
});

const Redrive = z
  .strictObject({
    ids: z
      .array(z.string().min(1).max(128))
      .min(1)
      .max(100)
      .optional()
      .describe('Those to be tried again; exactly one of `ids` and `all` must be there'),
    all: z.literal(true).optional().describe('All of them, newest first, as many as one request can'),
    cursor: pageQuery.cursor.describe('With `all`: `nextCursor` of the request before'),
  })
  .superRefine(({ ids, all, cursor }, context) => {
    if ((ids === undefined) === (all === undefined)) {
      context.addIssue({ code: 'custom', message: 'must have either ids or all' });
    }
    if (ids !== undefined && cursor !== undefined) {
      context.addIssue({ code: 'custom', path: ['cursor'], message: 'goes with all only' });
    }
  })
  .openapi('Redrive');

const Redriven = z
  .strictObject({
    redriven: z.int().describe('How many are back on the events queue, and gone from the list'),
    notFound: z.array(z.string()).describe('Ids of which there is no dead letter, or not any more'),
    unsent: z
      .array(z.string())
      .describe(
        'Ids of those that are still in the list: the queue did not take them, their redacted values cannot be opened any more, or time ran out',
      ),
    remaining: z
      .boolean()
      .describe('Whether there are more that were not tried: call again with `nextCursor`'),
    nextCursor: z.string().nullable(),
  })
  .openapi('Redriven');

const redrive = createRoute({
  method: 'post',
  path: '/v1/dead-letters/redrive',
  operationId: 'redriveDeadLetters',
  tags: ['Dead letters'],
  security: needs('operate'),
  summary: 'Put dead letters back on the events queue, as they came',
  request: { body: { content: { 'application/json': { schema: Redrive } }, required: true } },
  responses: {
    200: {
      description: 'What became of them',
      content: { 'application/json': { schema: Redriven } },
    },
    ...problems(400, 413),
  },
});

export function addDeadLetterRoutes(app: OpenAPIHono, services: Services): void {
  app.openapi(list, async (context) => {
    const { limit, cursor } = context.req.valid('query');
    const { letters, nextCursor } = await services.deadLetters.list(limit, cursor);
    return context.json({ items: letters, nextCursor }, 200);
  });

  app.openapi(redrive, async (context) => {
    const { ids, cursor } = context.req.valid('json');
    const result = await services.audit.record(
      actorOf(context),
      {
        action: 'dead-letters.redrive',
        subject: null,
        before: null,
        after: ids === undefined ? { all: true, cursor } : { ids },
      },
      () => (ids === undefined ? redriveAll(services, cursor) : redriveSome(services, ids)),
      ({ redriven, notFound, unsent }) => ({ redriven, notFound, unsent }),
    );
    return context.json({ ...result, remaining: result.nextCursor !== null }, 200);
  });
}
