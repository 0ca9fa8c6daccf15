import { randomBytes, randomUUID } from 'node:crypto';
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { maxEventBytes } from '../../../shared/events/envelope.ts';
import { eventTypeProblem } from '../../../shared/events/catalogue.ts';
import { InvalidInputError, TooLargeError } from '../../../shared/errors.ts';
import type { NewEvent as EventToPublish } from '../../../shared/events/publish.ts';
import { maxStoredEventBytes, storageProblem } from '../../../shared/executions/item.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

const source = 'handoff.api';

// The bus writes the envelope: its id, account and region are others, so the event may compress a little worse than here.
const envelopeMargin = randomBytes(192).toString('base64');

const NewEvent = z
  .strictObject({
    type: z.string().superRefine((name, context) => {
      const problem = name.startsWith('handoff.')
        ? 'events that begin with "handoff." are emitted by Handoff alone'
        : eventTypeProblem(name);
      if (problem !== null) context.addIssue({ code: 'custom', message: problem });
    }),
    objectId: z
      .union([z.string().max(256), z.number()])
      .nullable()
      .default(null)
      .describe("The entity's own id"),
    data: z.record(z.string(), z.unknown()).default({}),
  })
  .openapi('NewEvent');

const PublishedEvent = z.object({ id: z.string(), time: z.iso.datetime() }).openapi('PublishedEvent');

const publish = createRoute({
  method: 'post',
  path: '/v1/events',
  summary: 'Publish an event on the bus',
  request: { body: { content: { 'application/json': { schema: NewEvent } }, required: true } },
  responses: {
    202: {
      description: 'The bus has it; its handlers run from now on',
      content: { 'application/json': { schema: PublishedEvent } },
    },
    ...problems(400, 413),
  },
});

export function addEventRoutes(app: OpenAPIHono, { publishEvent, now }: Services): void {
  app.openapi(publish, async (context) => {
    if (context.req.header('idempotency-key') !== undefined) {
      throw new InvalidInputError([{ field: 'Idempotency-Key', message: 'not available yet: leave it out' }]);
    }
    const { type, objectId, data } = context.req.valid('json');
    // EventBridge keeps whole seconds: answer the time that the event will have.
    const time = new Date(Math.floor(now().getTime() / 1000) * 1000);
    const event = { type, source, time, detail: { objectId, data } };
    requireSize(event);
    const { id } = await publishEvent(event);
    return context.json({ id, time: time.toISOString() }, 202);
  });
}

/**
 * Refuses what would be dropped on its way, although the bus takes it: an event that a queue cannot carry, or that does not
 * fit beside its executions. It would end as a dead letter, long after its 202.
 */
function requireSize({ detail, ...event }: EventToPublish): void {
  const envelope = {
    version: '0',
    id: randomUUID(),
    'detail-type': event.type,
    source: event.source,
    account: '000000000000',
    time: event.time,
    region: 'us-east-1',
    resources: [],
    detail,
  };
  const raw = JSON.stringify(envelope) + envelopeMargin;
  if (Buffer.byteLength(raw) > maxEventBytes) throw new TooLargeError('event', maxEventBytes);
  if (storageProblem(raw) !== null) throw new TooLargeError('compressed event', maxStoredEventBytes);
}
