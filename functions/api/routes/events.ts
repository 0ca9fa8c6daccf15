import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { InvalidInputError, TooLargeError } from '../../../shared/errors.ts';
import { fieldOf, sentencesOf } from '../../../shared/catalogue/detail-problem.ts';
import { oversizeOf } from '../../../shared/events/event-size.ts';
import { numberText } from '../../../shared/filters/exact-json.ts';
import type { NewEvent as EventToPublish } from '../../../shared/events/publish.ts';
import { ownSources } from '../../../shared/events/sources.ts';
import { actorOf } from '../actor.ts';
import { asWritten, NewEvent } from '../new-event.ts';
import { needs } from '../access.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

const PublishedEvent = z
  .strictObject({
    id: z.string().describe('Of the event: executions have it as `eventId`'),
    time: z.iso.datetime().describe('Of the event, in whole seconds'),
    warnings: z
      .array(z.string())
      .describe('What is wrong with it by the schema of its type, as its executions will say'),
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
    ...problems(413),
    400: {
      ...problems(400)[400],
      description:
        'The request is not valid, or the event is not what the schema of its type says, which is strict; `errors` names each field',
    },
    409: {
      ...problems(409)[409],
      description:
        'The Idempotency-Key was used with another body, or the first request with it is still being worked on',
    },
  },
});

export function addEventRoutes(app: OpenAPIHono, services: Services): void {
  const { audit, publish: publishEvents, eventTypes, checkEvent, idempotency, now } = services;

  app.openapi(publish, async (context) => {
    const read = context.req.valid('json');
    const key = context.req.valid('header')['Idempotency-Key'];
    // EventBridge keeps whole seconds: answer the time that the event will have.
    const time = new Date(Math.floor(now().getTime() / 1000) * 1000);
    const { type, ...detail } = asWritten(read, await context.req.text(), null);
    const event = { type, source: ownSources.api, time, ...detail };
    requireSize(event);
    const verdict = await checkEvent({ type, detail: detailOf(read) }, await eventTypes.find(type));
    if (verdict.validation === 'strict' && verdict.problems.length > 0) {
      throw new InvalidInputError(
        verdict.problems.map(({ path, message }) => ({ field: fieldOf(path), message })),
      );
    }
    const warnings = sentencesOf(verdict.problems);
    // Not its data: they are in the log, for as long as that is kept.
    const published = { type, objectId: storable(read.objectId, detail.objectId) };
    const put = () =>
      audit.record(
        actorOf(context),
        { action: 'event.publish', subject: null, before: null, after: published },
        async () => ({ id: (await publishEvents([event]))[0] ?? '', time: time.toISOString() }),
        ({ id }) => ({ eventId: id }),
      );
    if (key === undefined) return context.json({ ...(await put()), warnings }, 202);
    const body = JSON.stringify({ type, ...detail });
    const { answer, replayed } = await idempotency.once({ key, body }, put);
    return context.json({ ...answer, warnings }, 202, replayed ? { 'idempotency-replayed': 'true' } : {});
  });
}

// DynamoDB has not every number that JSON has, and its client refuses those that lose digits.
const storable = (objectId: NewEvent['objectId'], written: unknown): NewEvent['objectId'] =>
  typeof objectId === 'number' && !Number.isSafeInteger(objectId) ? numberText(written) : objectId;

const detailOf = ({ type: _type, ...detail }: NewEvent) => detail;

/** Refuses what would be dropped on its way, although the bus takes it: it would end as a dead letter, long after its 202. */
function requireSize({
  type,
  source,
  time,
  ...detail
}: EventToPublish & { source: string; time: Date }): void {
  const oversize = oversizeOf({ type, source, time, detail: JSON.stringify(detail) });
  if (oversize !== null) throw new TooLargeError(oversize.what, oversize.maxBytes);
}
