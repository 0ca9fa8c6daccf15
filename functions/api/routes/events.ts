import { randomBytes, randomUUID } from 'node:crypto';
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { maxEventBytes } from '../../../shared/events/envelope.ts';
import { TooLargeError } from '../../../shared/errors.ts';
import type { NewEvent as EventToPublish } from '../../../shared/events/publish.ts';
import { ownSources } from '../../../shared/events/sources.ts';
import { maxStoredEventBytes, storageProblem } from '../../../shared/executions/item.ts';
import { actorOf } from '../actor.ts';
import { NewEvent } from '../new-event.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

// The bus writes the envelope: its id, account and region are others, so the event may compress a little worse than here.
const envelopeMargin = randomBytes(192).toString('base64');

const PublishedEvent = z
  .strictObject({
    id: z.string().describe('Of the event: executions have it as `eventId`'),
    time: z.iso.datetime().describe('Of the event, in whole seconds'),
  })
  .openapi('PublishedEvent');

const IdempotencyKey = z
  .string()
  .refine((key) => /^[\x20-\x7e]{1,255}$/u.test(key), 'must be 1 to 255 printable ASCII characters')
  .describe(
    "1 to 255 printable ASCII characters of the caller's choice, a UUID for instance. For 24 hours, repeats with the same key and body get the first answer and publish nothing. A request that fails leaves its key free",
  );

const publish = createRoute({
  method: 'post',
  path: '/v1/events',
  operationId: 'publishEvent',
  tags: ['Events'],
  security: needs('operate'),
  summary: 'Publish an event on the bus',
  request: {
    headers: z.object({ 'Idempotency-Key': IdempotencyKey.optional() }),
    body: { content: { 'application/json': { schema: NewEvent } }, required: true },
  },
  responses: {
    202: {
      description: 'The bus has it; its handlers run from now on',
      headers: z.object({
        'idempotency-replayed': z
          .literal('true')
          .optional()
          .describe('Set when this is the answer to an earlier request with the same Idempotency-Key'),
      }),
      content: { 'application/json': { schema: PublishedEvent } },
    },
    ...problems(400, 413),
    409: {
      ...problems(409)[409],
      description:
        'The Idempotency-Key was used with another body, or the first request with it is still being worked on',
    },
  },
});

export function addEventRoutes(app: OpenAPIHono, services: Services): void {
  const { audit, publishEvent, idempotency, now } = services;

  app.openapi(publish, async (context) => {
    const { type, objectId, data } = context.req.valid('json');
    const key = context.req.valid('header')['Idempotency-Key'];
    // EventBridge keeps whole seconds: answer the time that the event will have.
    const time = new Date(Math.floor(now().getTime() / 1000) * 1000);
    const event = { type, source: ownSources.api, time, detail: { objectId, data } };
    requireSize(event);
    // Not its data: they are in the log, for as long as that is kept.
    const published = { type, objectId };
    const put = () =>
      audit.record(
        actorOf(context, services),
        { action: 'event.publish', subject: null, before: null, after: published },
        async () => ({ id: (await publishEvent(event)).id, time: time.toISOString() }),
        ({ id }) => ({ eventId: id }),
      );
    if (key === undefined) return context.json(await put(), 202);
    const body = JSON.stringify({ type, objectId, data });
    const { answer, replayed } = await idempotency.once({ key, body }, put);
    return context.json(answer, 202, replayed ? { 'idempotency-replayed': 'true' } : {});
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
