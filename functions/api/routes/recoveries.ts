import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { InvalidInputError } from '../../../shared/errors.ts';
import { RecoverableStatus, Recovery } from '../../../shared/executions/recovery.ts';
import { actorOf } from '../actor.ts';
import { pageOf, pageQuery } from '../page.ts';
import { needs } from '../access.ts';
import { HandlerId } from '../handler-schemas.ts';
import { location } from '../answer-headers.ts';
import { problems } from '../problem.ts';
import { answerOf } from '../schema-forms.ts';
import { requireEnabled } from '../require-enabled.ts';
import type { Services } from '../services.ts';
import { Time } from '../time.ts';

const json = <Schema extends z.ZodType>(schema: Schema) => ({ content: { 'application/json': { schema } } });
const example: Recovery = {
  id: 'r_0mE5w8Zq3vNcXt1k',
  handlerId: 'h_Sm2pX0vTq4c7YdKe',
  status: 'running',
  reason: null,
  found: 214,
  released: 200,
  from: '2026-11-23T08:00:00.000Z',
  to: '2026-11-23T10:00:00.000Z',
  statuses: ['failed', 'held'],
  createdAt: '2026-11-23T10:15:00.000Z',
  endedAt: null,
};

const handlerId = { params: z.object({ id: HandlerId }) };
const id = {
  params: z.object({
    id: z.string().max(64).describe('The id of a recovery').openapi({ example: example.id }),
  }),
};
const RecoveryAnswer = answerOf(Recovery).openapi('Recovery', { example });
const recoveryAnswer = { description: 'The recovery', ...json(RecoveryAnswer) };

const whichTime = "What counts is the time by which lists are sorted, the event's own most often";

const Recover = z
  .strictObject({
    from: Time.describe(`Not before this time. ${whichTime}`),
    to: Time.describe(`Not after this time. ${whichTime}`),
    statuses: z
      .array(RecoverableStatus)
      .min(1)
      .max(RecoverableStatus.options.length)
      .default(['failed', 'held'])
      .describe('Those that have one of these. With `succeeded`, what had arrived is delivered again'),
    dryRun: z
      .boolean()
      .default(false)
      .describe('Only count what there is, also of a handler that is not enabled'),
  })
  .openapi('Recover', {
    example: { from: '2026-11-23T08:00:00Z', to: '2026-11-23T10:00:00Z', dryRun: true },
  });

const Recoverable = z
  .strictObject({
    count: z.int().describe('At most 10,000'),
    exact: z
      .boolean()
      .describe('False when there are more, or when that was too much to read, or some may have expired'),
  })
  .openapi('Recoverable');

const recover = createRoute({
  method: 'post',
  path: '/v1/handlers/{id}/recover',
  operationId: 'recoverExecutions',
  tags: ['Recoveries'],
  security: needs('operate'),
  summary: 'Deliver a range of executions again, in the background; with dryRun only count them',
  request: { ...handlerId, body: { ...json(Recover), required: true } },
  responses: {
    200: { description: 'With dryRun: how many there are', ...json(Recoverable) },
    202: { ...recoveryAnswer, description: 'The recovery, which goes on by itself', headers: location },
    ...problems(400, 404, 409, 413),
  },
});

const list = createRoute({
  method: 'get',
  path: '/v1/recoveries',
  operationId: 'listRecoveries',
  tags: ['Recoveries'],
  security: needs('read'),
  summary: 'Recoveries, newest first',
  request: { query: z.strictObject(pageQuery) },
  responses: {
    200: {
      description: 'A page of recoveries; it can be short, even empty, and yet have a next one',
      ...json(pageOf(RecoveryAnswer)),
    },
    ...problems(400),
  },
});

const read = createRoute({
  method: 'get',
  path: '/v1/recoveries/{id}',
  operationId: 'getRecovery',
  tags: ['Recoveries'],
  security: needs('read'),
  summary: 'One recovery, and how far it has come',
  request: id,
  responses: { 200: recoveryAnswer, ...problems(400, 404) },
});

const cancel = createRoute({
  method: 'post',
  path: '/v1/recoveries/{id}/cancel',
  operationId: 'cancelRecovery',
  tags: ['Recoveries'],
  security: needs('operate'),
  summary: 'Stop a recovery; what it has released goes on',
  request: id,
  responses: { 200: recoveryAnswer, ...problems(400, 404, 409) },
});

export function addRecoveryRoutes(app: OpenAPIHono, services: Services): void {
  const { audit, handlers, recoveries, recoverables } = services;

  app.openapi(recover, async (context) => {
    const { from, to, statuses, dryRun } = context.req.valid('json');
    if (from >= to) throw new InvalidInputError([{ field: 'from', message: 'must be earlier than "to"' }]);
    const { handler } = await handlers.get(context.req.valid('param').id);
    const range = {
      handlerId: handler.id,
      from,
      to,
      statuses: RecoverableStatus.options.filter((status) => statuses.includes(status)),
    };
    // To count is no harm, and is wanted before a handler is enabled again.
    if (dryRun) return context.json(await recoverables.count(range), 200);
    requireEnabled(handler.id, handler.status);
    const { handlerId: subject, ...asked } = range;
    const recovery = await audit.record(
      actorOf(context),
      { action: 'handler.recover', subject, before: null, after: asked },
      () => recoveries.start(range),
      (begun) => ({ recoveryId: begun.id }),
    );
    return context.json(recovery, 202, { location: `/v1/recoveries/${recovery.id}` });
  });

  app.openapi(list, async (context) => {
    const { limit, cursor } = context.req.valid('query');
    const { recoveries: items, nextCursor } = await recoveries.list(limit, cursor);
    return context.json({ items, nextCursor }, 200);
  });

  app.openapi(read, async (context) =>
    context.json(await recoveries.get(context.req.valid('param').id), 200),
  );

  app.openapi(cancel, async (context) => {
    const { id: subject } = context.req.valid('param');
    const { status, found, released } = await recoveries.get(subject);
    const recovery = await audit.record(
      actorOf(context),
      {
        action: 'recovery.cancel',
        subject,
        before: { status, found, released },
        after: { status: 'cancelled' },
      },
      () => recoveries.cancel(subject),
    );
    return context.json(recovery, 200);
  });
}
