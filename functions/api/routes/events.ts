import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { HTTPException } from 'hono/http-exception';
import { maxEventBytes } from '../../../shared/events/envelope.ts';
import { eventTypeProblem } from '../../../shared/events/catalogue.ts';
import { InvalidInputError } from '../../../shared/errors.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

// What EventBridge adds around the detail: id, times, names. Two names can have 128 and 256 characters.
const envelopeBytes = 1024;
const source = 'handoff.api';

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
    if (Buffer.byteLength(JSON.stringify(data)) > maxEventBytes - envelopeBytes) {
      throw new HTTPException(413, { message: `The event has more than ${maxEventBytes} bytes.` });
    }
    // EventBridge keeps whole seconds: answer the time that the event will have.
    const time = new Date(Math.floor(now().getTime() / 1000) * 1000);
    const { id } = await publishEvent({ type, source, time, detail: { objectId, data } });
    return context.json({ id, time: time.toISOString() }, 202);
  });
}
