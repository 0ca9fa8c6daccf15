import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { decodeCursor, encodeCursor } from '../../../shared/cursor.ts';
import { NotFoundError } from '../../../shared/errors.ts';
import {
  builtInEventTypes,
  nearestBuiltIn,
  type BuiltInEventType,
} from '../../../shared/events/catalogue.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { isWantedBy } from '../list-handlers.ts';
import { pageOf, pageQuery } from '../page.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

const EventType = z
  .strictObject({
    name: z.string().describe("An event's detail-type"),
    label: z.string().describe('What admins know it by'),
    group: z.string().describe('The part of the label before its colon'),
    oldId: z.string().nullable().describe('What the system before this one called it'),
    description: z.string(),
    sample: z.record(z.string(), z.unknown()).describe('A whole `Detail`'),
    builtIn: z.boolean(),
    enabledHandlers: z.int().describe('How many enabled handlers would run for it, wildcards too'),
  })
  .openapi('EventType');
type EventType = z.output<typeof EventType>;

const json = <Schema extends z.ZodType>(schema: Schema) => ({ content: { 'application/json': { schema } } });

const list = createRoute({
  method: 'get',
  path: '/v1/event-types',
  operationId: 'listEventTypes',
  tags: ['Event types'],
  security: needs('read'),
  summary: 'The catalogue of event types',
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
  request: {
    params: z.object({
      name: z.string().max(128).describe("The event's detail-type").openapi({ example: 'client.create' }),
    }),
  },
  responses: { 200: { description: 'The event type', ...json(EventType) }, ...problems(400, 404) },
});

export function addEventTypeRoutes(app: OpenAPIHono, { handlers }: Pick<Services, 'handlers'>): void {
  const readHandlers = async () => (await handlers.readAll()).handlers.map(({ handler }) => handler);

  app.openapi(list, async (context) => {
    const { limit, cursor } = context.req.valid('query');
    const start = cursor === undefined ? 0 : builtInNames.indexOf(decodeCursor(cursor, Position)) + 1;
    const page = builtInEventTypes.slice(start, start + limit);
    const last = page.at(-1);
    const nextCursor =
      last !== undefined && start + limit < builtInEventTypes.length ? encodeCursor(last.name) : null;
    const all = await readHandlers();
    return context.json({ items: page.map((type) => toEventType(type, all)), nextCursor }, 200);
  });

  app.openapi(read, async (context) => {
    const type = findEventType(context.req.valid('param').name);
    return context.json(toEventType(type, await readHandlers()), 200);
  });
}

const builtInNames = builtInEventTypes.map(({ name }) => name);
/** The name that a page ended with. */
const Position = z.enum(builtInNames);

function findEventType(name: string): BuiltInEventType {
  const found = builtInEventTypes.find((type) => type.name === name);
  if (found !== undefined) return found;
  const nearest = nearestBuiltIn(name);
  const error = new NotFoundError('event type', name);
  if (nearest !== null) error.message += ` Did you mean "${nearest}"?`;
  throw error;
}

const toEventType = (type: BuiltInEventType, handlers: readonly Handler[]): EventType => ({
  ...type,
  builtIn: true,
  enabledHandlers: handlers.filter(isWantedBy({ event: type.name, status: 'enabled' })).length,
});
