import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { InvalidInputError } from '../../../shared/errors.ts';
import { parseExact } from '../../../shared/filters/exact-json.ts';
import { Execution, ExecutionDetail, summarize } from '../../../shared/executions/execution.ts';
import { readKey } from '../../../shared/executions/key.ts';
import { ExecutionStatus, StatusReason } from '../../../shared/executions/life-cycle.ts';
import { log } from '../../../shared/log.ts';
import { actorOf } from '../actor.ts';
import { pageOf, pageQuery } from '../page.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import { requireEnabled } from '../require-enabled.ts';
import type { Services } from '../services.ts';
import { answerOf } from '../schema-forms.ts';
import { sentRequest } from '../sent-request.ts';
import { Time } from '../time.ts';

const whichTime =
  "What counts is the event's own time; where that is more than an hour from when the queue took the event, the hour in which it did";

// What is looked for in texts. An empty one is in all of them, and would read everything for nothing.
const Text = z.string().min(1).max(200);
const textSearch = 'Without "from", of the last 24 hours (before "to") only';

const example: Execution = {
  id: 'x_aF9TbTJwWDB2VHE0YzdZZEtlIzAjMjAyNi0xMS0yM1QxMDowMDowMC4wMDBaIzZmMWM',
  handlerId: 'h_Sm2pX0vTq4c7YdKe',
  handlerName: 'CRM sync',
  eventId: '6f1c3c1e-8d0b-4f7e-9a55-2b6d0c7e1a90',
  event: 'client.create',
  eventTime: '2026-11-23T10:00:00.000Z',
  objectId: 12,
  warnings: [],
  status: 'succeeded',
  reason: null,
  generation: 1,
  attemptCount: 1,
  nextAttemptAt: null,
  startedAt: '2026-11-23T10:00:01.250Z',
  durationMs: 41,
  statusCode: 200,
  error: null,
};
const ExecutionAnswer = answerOf(Execution).openapi('Execution', { example });
const DetailAnswer = answerOf(ExecutionDetail).openapi('ExecutionDetail');
const id = {
  params: z.object({
    id: z.string().max(1024).describe('The id of an execution').openapi({ example: example.id }),
  }),
};

const list = createRoute({
  method: 'get',
  path: '/v1/executions',
  operationId: 'listExecutions',
  tags: ['Executions'],
  security: needs('read'),
  summary: 'Executions, newest first',
  request: {
    query: z.strictObject({
      handlerId: z.string().max(64).optional().describe('Of one handler'),
      event: z.string().max(128).optional().describe('The event type'),
      status: ExecutionStatus.optional().describe('Where it stands'),
      reason: StatusReason.optional().describe('Why it waits, is held, or failed without a last attempt'),
      eventId: z
        .string()
        .max(128)
        .optional()
        .describe('Of one event, by the id that publishing it has given'),
      objectId: z
        .string()
        .min(1)
        .max(256)
        .optional()
        .describe("The id of the event's entity, number or text"),
      error: Text.optional().describe(`In the error of the last attempt, in any case. ${textSearch}`),
      data: Text.optional().describe(`In the detail of the event, as JSON, in any case. ${textSearch}`),
      from: Time.optional().describe(`Not before this time. ${whichTime}`),
      to: Time.optional().describe(`Not after this time. ${whichTime}`),
      ...pageQuery,
      // Ends in a key of the table, which holds at most 1 KB.
      cursor: pageQuery.cursor.unwrap().max(1024).optional(),
    }),
  },
  responses: {
    200: {
      description: 'A page of executions',
      content: {
        'application/json': {
          schema: pageOf(ExecutionAnswer).extend({
            searchedBackTo: z.iso
              .datetime()
              .optional()
              .describe(
                'Set when the search stopped because it had read enough (nextCursor goes on from there), and at the end of one in texts without "from"',
              ),
          }),
        },
      },
    },
    ...problems(400),
  },
});

const read = createRoute({
  method: 'get',
  path: '/v1/executions/{id}',
  operationId: 'getExecution',
  tags: ['Executions'],
  security: needs('read'),
  summary: 'One execution with its event, its request and every attempt',
  request: id,
  responses: {
    200: { description: 'The execution', content: { 'application/json': { schema: DetailAnswer } } },
    ...problems(400, 404),
  },
});

const retry = createRoute({
  method: 'post',
  path: '/v1/executions/{id}/retry',
  operationId: 'retryExecution',
  tags: ['Executions'],
  security: needs('operate'),
  summary:
    'One more attempt, now: of an execution that waits its next one, of one that has ended the first of a new generation',
  request: id,
  responses: {
    202: {
      description: 'The execution, which waits for its attempt',
      content: { 'application/json': { schema: ExecutionAnswer } },
    },
    ...problems(400, 404, 409),
  },
});

export function addExecutionRoutes(app: OpenAPIHono, services: Services): void {
  const { audit, executions, handlers, reopener, hours } = services;
  app.openapi(list, async (context) => {
    const { limit, cursor, ...filter } = context.req.valid('query');
    if (filter.from !== undefined && filter.to !== undefined && filter.from > filter.to) {
      throw new InvalidInputError([{ field: 'from', message: 'must not be later than "to"' }]);
    }
    const { records, nextCursor, searchedBackTo } = await executions.list(filter, limit, cursor);
    return context.json(
      { items: records.map(summarize), nextCursor, ...(searchedBackTo !== null && { searchedBackTo }) },
      200,
    );
  });

  app.openapi(read, async (context) => {
    const record = await executions.get(context.req.valid('param').id);
    return context.json(
      {
        ...summarize(record),
        eventBody: parseExact(record.event.raw) as Record<string, unknown>,
        request: await sentRequest(services.targets.transforms, record),
        attempts: [...record.attempts],
      },
      200,
    );
  });
  app.openapi(retry, async (context) => {
    const { id: subject } = context.req.valid('param');
    const { key, state } = await executions.get(subject);
    const { handlerId } = readKey(key);
    requireEnabled(handlerId, await handlers.statusOf(handlerId));
    const change = { subject, before: { status: state.status }, after: { status: 'waiting' } };
    const record = await audit.record(
      actorOf(context),
      { action: 'execution.retry', ...change },
      () => reopener.retryNow(key),
      ({ generation }) => ({ generation }),
    );
    // They say about how much ran, and are not worth an error to the person.
    await hours.flush().catch((error: unknown) => log.error('hours.not-flushed', { error }));
    return context.json(summarize(record), 202);
  });
}
