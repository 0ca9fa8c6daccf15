import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { Handler, HandlerStatus } from '../../../shared/handlers/handler.ts';
import { actorOf } from '../actor.ts';
import { requireBody } from '../json-body.ts';
import { createHandlerEditor } from '../edit-handler.ts';
import { etag, location } from '../answer-headers.ts';
import { etagOf } from '../etag.ts';
import {
  HandlerAnswer,
  HandlerId,
  HandlerPatch,
  HandlerReplacement,
  NewHandler,
} from '../handler-schemas.ts';
import { answerOf } from '../schema-forms.ts';
import { listHandlers } from '../list-handlers.ts';
import { readCircuit } from '../read-circuit.ts';
import { pageOf, pageQuery } from '../page.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

const HandlerHealth = z.strictObject({
  circuit: z.enum(['closed', 'open', 'probing']),
  since: z.iso
    .datetime()
    .nullable()
    .describe(
      'Since when the circuit is as it is; null when it has not been open since its target was changed or it was enabled',
    ),
  lastExecutionAt: z.iso
    .datetime()
    .nullable()
    .describe('`startedAt` of the execution of its latest event; null when there is none in the log'),
  disabledBecause: z
    .enum(['gone', 'failing'])
    .nullable()
    .describe(
      'Why Handoff has disabled it: its endpoint asked for it, or nothing else than failures for days',
    ),
});

const id = { params: z.object({ id: HandlerId }) };
const ifMatch = {
  headers: z.object({ 'if-match': z.string().optional().describe('The ETag as it was read') }),
};
const json = <Schema extends z.ZodType>(schema: Schema) => ({ content: { 'application/json': { schema } } });
const jsonBody = <Schema extends z.ZodType>(schema: Schema) => ({
  body: { ...json(schema), required: true },
});
const handlerAnswer = {
  description: 'The handler, its version in the ETag',
  headers: etag,
  ...json(HandlerAnswer),
};
const withSecret = json(
  answerOf(Handler.extend({ secret: z.string().describe('whsec_ and base64 (Standard Webhooks)') })).openapi(
    'HandlerWithSecret',
  ),
);
const withHealth = json(answerOf(Handler.extend({ health: HandlerHealth })).openapi('HandlerWithHealth'));

const tooMany = {
  ...problems(409)[409],
  description: 'There are as many handlers as there may be (1,000, and 5,000 with archived ones)',
};

const list = createRoute({
  method: 'get',
  path: '/v1/handlers',
  operationId: 'listHandlers',
  tags: ['Handlers'],
  security: needs('read'),
  summary: 'Handlers by priority, then name',
  request: {
    query: z.strictObject({
      event: z
        .string()
        .optional()
        .describe('Those that ask for this event type, wildcards too, whatever their filters'),
      type: z.enum(['http', 'script']).optional().describe("The target's type"),
      status: HandlerStatus.optional().describe('Without it: enabled and disabled ones'),
      q: z
        .string()
        .max(200)
        .optional()
        .describe("Contained in the name, the description, the URL or the script's name"),
      ...pageQuery,
    }),
  },
  responses: { 200: { description: 'A page of handlers', ...json(pageOf(HandlerAnswer)) }, ...problems(400) },
});

const create = createRoute({
  method: 'post',
  path: '/v1/handlers',
  operationId: 'createHandler',
  tags: ['Handlers'],
  security: needs('admin'),
  summary: 'Register a handler',
  request: jsonBody(NewHandler),
  responses: {
    201: {
      description: 'The handler. This answer alone shows the secret that signs its deliveries',
      headers: etag.extend(location.shape),
      ...withSecret,
    },
    ...problems(400, 413),
    409: tooMany,
  },
});

const read = createRoute({
  method: 'get',
  path: '/v1/handlers/{id}',
  operationId: 'getHandler',
  tags: ['Handlers'],
  security: needs('read'),
  summary: 'One handler and its health',
  request: id,
  responses: {
    200: { ...handlerAnswer, ...withHealth },
    ...problems(400, 404),
  },
});

const replace = createRoute({
  method: 'put',
  path: '/v1/handlers/{id}',
  operationId: 'replaceHandler',
  tags: ['Handlers'],
  security: needs('admin'),
  summary: 'Replace a handler',
  request: { ...id, ...ifMatch, ...jsonBody(HandlerReplacement) },
  responses: { 200: handlerAnswer, ...problems(400, 404, 412, 413), 409: tooMany },
});

const patch = createRoute({
  method: 'patch',
  path: '/v1/handlers/{id}',
  operationId: 'patchHandler',
  tags: ['Handlers'],
  security: needs('admin'),
  summary:
    'Change some fields (JSON Merge Patch); another target.type replaces the target, and a filter the filter',
  request: { ...id, ...ifMatch, ...jsonBody(HandlerPatch) },
  responses: { 200: handlerAnswer, ...problems(400, 404, 412, 413), 409: tooMany },
});

const remove = createRoute({
  method: 'delete',
  path: '/v1/handlers/{id}',
  operationId: 'deleteHandler',
  tags: ['Handlers'],
  security: needs('admin'),
  summary: 'Delete a handler; its executions stay readable until they expire',
  request: { ...id, ...ifMatch },
  responses: { 204: { description: 'It is gone' }, ...problems(400, 404, 412) },
});

const rotateSecret = createRoute({
  method: 'post',
  path: '/v1/handlers/{id}/rotate-secret',
  operationId: 'rotateSecret',
  tags: ['Handlers'],
  security: needs('admin'),
  summary: 'Make a new signing secret; the old one keeps signing beside it for 24 hours',
  request: id,
  responses: {
    200: {
      description: 'The handler. This answer alone shows the new secret',
      headers: etag,
      ...withSecret,
    },
    ...problems(400, 404, 409),
  },
});

const toggle = (verb: 'enable' | 'disable') =>
  createRoute({
    method: 'post',
    path: `/v1/handlers/{id}/${verb}` as const,
    operationId: `${verb}Handler`,
    tags: ['Handlers'],
    security: needs('operate'),
    summary: verb === 'enable' ? 'Let a handler run' : 'Stop a handler; what it misses is held',
    request: id,
    responses: { 200: handlerAnswer, ...problems(400, 404, 409) },
  });

export function addHandlerRoutes(app: OpenAPIHono, services: Services): void {
  const { handlers, executions } = services;
  const editor = createHandlerEditor(services);

  app.openapi(list, async (context) => {
    const all = (await handlers.readAll()).handlers.map(({ handler }) => handler);
    return context.json(listHandlers(all, context.req.valid('query')), 200);
  });

  app.openapi(create, async (context) => {
    const { handler, secret } = await editor.create(context.req.valid('json'), actorOf(context));
    return context.json({ ...handler, secret }, 201, {
      etag: etagOf(handler),
      location: `/v1/handlers/${handler.id}`,
    });
  });

  app.openapi(read, async (context) => {
    const stored = await handlers.get(context.req.valid('param').id);
    const { handler, disabledBecause = null } = stored;
    const latest = await executions.list({ handlerId: handler.id }, 1);
    const health = {
      ...(await readCircuit(services, stored)),
      lastExecutionAt: latest.records[0]?.startedAt ?? null,
      disabledBecause,
    };
    return context.json({ ...handler, health }, 200, { etag: etagOf(handler) });
  });

  app.openapi(replace, async (context) => {
    const {
      id: _id,
      version: _version,
      createdAt: _createdAt,
      updatedAt: _updatedAt,
      health: _health,
      ...input
    } = context.req.valid('json');
    const handler = await editor.replace({
      id: context.req.valid('param').id,
      by: actorOf(context),
      ifMatch: context.req.valid('header')['if-match'],
      input,
    });
    return context.json(handler, 200, { etag: etagOf(handler) });
  });

  app.openapi(patch, async (context) => {
    await requireBody(context.req);
    const handler = await editor.patch({
      id: context.req.valid('param').id,
      by: actorOf(context),
      ifMatch: context.req.valid('header')['if-match'],
      changes: context.req.valid('json'),
    });
    return context.json(handler, 200, { etag: etagOf(handler) });
  });

  app.openapi(remove, async (context) => {
    await editor.remove({
      id: context.req.valid('param').id,
      by: actorOf(context),
      ifMatch: context.req.valid('header')['if-match'],
    });
    return context.body(null, 204);
  });

  app.openapi(rotateSecret, async (context) => {
    const { handler, secret } = await editor.rotateSecret({
      id: context.req.valid('param').id,
      by: actorOf(context),
    });
    return context.json({ ...handler, secret }, 200, { etag: etagOf(handler) });
  });

  app.openapi(toggle('enable'), async (context) => {
    const handler = await editor.setStatus({
      id: context.req.valid('param').id,
      by: actorOf(context),
      status: 'enabled',
    });
    return context.json(handler, 200, { etag: etagOf(handler) });
  });

  app.openapi(toggle('disable'), async (context) => {
    const handler = await editor.setStatus({
      id: context.req.valid('param').id,
      by: actorOf(context),
      status: 'disabled',
    });
    return context.json(handler, 200, { etag: etagOf(handler) });
  });
}
