import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { decodeCursor, encodeCursor } from '../../../shared/cursor.ts';
import { NotFoundError } from '../../../shared/errors.ts';
import { builtInEventTypes, eventTypeProblem, nearestBuiltIn } from '../../../shared/catalogue/catalogue.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { actorOf } from '../actor.ts';
import { etag } from '../answer-headers.ts';
import {
  describeAll,
  describeBuiltIn,
  describeCustom,
  type DescribedEventType,
} from '../describe-event-types.ts';
import { createEventTypeEditor, definitionOf, EventTypeInput } from '../edit-event-type.ts';
import { etagOf } from '../etag.ts';
import { isWantedBy } from '../list-handlers.ts';
import { pageOf, pageQuery } from '../page.ts';
import { needs } from '../access.ts';
import { requireBody } from '../json-body.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

const EventType = z
  .strictObject({
    name: z.string().describe("An event's detail-type"),
    label: z.string().describe('What admins know it by'),
    group: z.string().describe('The part of the label before its colon'),
    oldId: z.string().nullable().describe('What the system before this one called it'),
    description: z.string(),
    schema: z.record(z.string(), z.unknown()).describe('Of a whole `Detail`: JSON Schema, draft 2020-12'),
    sample: z.record(z.string(), z.unknown()).describe('A whole `Detail`'),
    builtIn: z.boolean(),
    validation: z
      .enum(['warn', 'strict'])
      .describe('What becomes of an event that is not what the schema says'),
    version: z.int().describe('Raised by every change; 0 for a built-in type of which nothing was set'),
    enabledHandlers: z
      .int()
      .describe('How many enabled handlers ask for it, wildcards too, whatever their filters'),
  })
  .openapi('EventType');
type EventType = z.output<typeof EventType>;

const json = <Schema extends z.ZodType>(schema: Schema) => ({ content: { 'application/json': { schema } } });
const name = {
  params: z.object({
    name: z.string().max(128).describe("The event's detail-type").openapi({ example: 'client.create' }),
  }),
};
const ifMatch = {
  headers: z.object({ 'if-match': z.string().optional().describe('The ETag as it was read') }),
};
const answer = {
  description: 'The event type, its version in the ETag',
  headers: etag,
  ...json(EventType),
};

const list = createRoute({
  method: 'get',
  path: '/v1/event-types',
  operationId: 'listEventTypes',
  tags: ['Event types'],
  security: needs('read'),
  summary: 'The catalogue of event types, then those of your own',
  request: { query: z.strictObject(pageQuery) },
  responses: { 200: { description: 'A page of event types', ...json(pageOf(EventType)) }, ...problems(400) },
});

const read = createRoute({
  method: 'get',
  path: '/v1/event-types/{name}',
  operationId: 'getEventType',
  tags: ['Event types'],
  security: needs('read'),
  summary: 'One event type, and whether anyone is enabled for it',
  request: name,
  responses: { 200: answer, ...problems(400, 404) },
});

const put = createRoute({
  method: 'put',
  path: '/v1/event-types/{name}',
  operationId: 'putEventType',
  tags: ['Event types'],
  security: needs('admin'),
  summary: 'Describe an event type of your own, or set the validation of a built-in one',
  request: { ...name, ...ifMatch, body: { ...json(EventTypeInput), required: true } },
  responses: {
    200: answer,
    201: { ...answer, description: 'A new event type, its version in the ETag' },
    ...problems(400, 412, 413),
    409: {
      ...problems(409)[409],
      description: 'There are as many event types of your own as there may be (500, of 4 MB together)',
    },
  },
});

const remove = createRoute({
  method: 'delete',
  path: '/v1/event-types/{name}',
  operationId: 'deleteEventType',
  tags: ['Event types'],
  security: needs('admin'),
  summary: 'Forget an event type of your own, or what was set of a built-in one',
  request: { ...name, ...ifMatch },
  responses: { 204: { description: 'It is gone' }, ...problems(400, 404, 412) },
});

export function addEventTypeRoutes(app: OpenAPIHono, services: Services): void {
  const { handlers, eventTypes } = services;
  const editor = createEventTypeEditor(services);
  const readHandlers = async () => (await handlers.readAll()).handlers.map(({ handler }) => handler);

  app.openapi(list, async (context) => {
    const { limit, cursor } = context.req.valid('query');
    const [all, registered] = await Promise.all([eventTypes.readAll().then(describeAll), readHandlers()]);
    const start = cursor === undefined ? 0 : placeBehind(all, decodeCursor(cursor, Position));
    const page = all.slice(start, start + limit);
    const last = page.at(-1);
    const nextCursor = last !== undefined && start + limit < all.length ? encodeCursor(last.name) : null;
    return context.json({ items: page.map((type) => withHandlers(type, registered)), nextCursor }, 200);
  });

  app.openapi(read, async (context) => {
    const type = await describe(context.req.valid('param').name);
    return context.json(withHandlers(type, await readHandlers()), 200, { etag: etagOf(type) });
  });

  app.openapi(put, async (context) => {
    await requireBody(context.req);
    const { name: named } = context.req.valid('param');
    const edit = {
      name: named,
      by: actorOf(context),
      ifMatch: context.req.valid('header')['if-match'],
    };
    const { isNew } = await editor.put(edit, definitionOf(named, context.req.valid('json')));
    const type = await describe(named);
    return context.json(withHandlers(type, await readHandlers()), isNew ? 201 : 200, { etag: etagOf(type) });
  });

  app.openapi(remove, async (context) => {
    const { name: named } = context.req.valid('param');
    await describe(named);
    await editor.remove({
      name: named,
      by: actorOf(context),
      ifMatch: context.req.valid('header')['if-match'],
    });
    return context.body(null, 204);
  });

  /** Throws NotFoundError, with the name that may have been meant. */
  async function describe(named: string): Promise<DescribedEventType> {
    const stored = await eventTypes.find(named);
    const builtIn = builtInEventTypes.find((type) => type.name === named);
    if (builtIn !== undefined) return describeBuiltIn(builtIn, stored);
    const custom = stored === null ? null : describeCustom(stored);
    if (custom !== null) return custom;
    const nearest = nearestBuiltIn(named);
    const error = new NotFoundError('event type', named);
    if (nearest !== null) error.message += ` Did you mean "${nearest}"?`;
    throw error;
  }
}

/** The name that a page ended with, which may be gone by now. */
const Position = z.string().refine((position) => eventTypeProblem(position) === null);

function placeBehind(types: readonly DescribedEventType[], position: string): number {
  const found = types.findIndex((type) => type.name === position);
  if (found !== -1) return found + 1;
  const next = types.findIndex((type) => !type.builtIn && type.name > position);
  return next === -1 ? types.length : next;
}

const withHandlers = (type: DescribedEventType, handlers: readonly Handler[]): EventType => ({
  ...type,
  enabledHandlers: handlers.filter(isWantedBy({ event: type.name, status: 'enabled' })).length,
});
