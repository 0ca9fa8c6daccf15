import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { newSigningSecret, signingKeyOf } from '../../../shared/delivery/signature.ts';
import { ExecutionDetail } from '../../../shared/executions/execution.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { openAuth, openSigning } from '../../../shared/handlers/registry.ts';
import { actorOf } from '../actor.ts';
import { asWritten, NewEvent } from '../new-event.ts';
import { needs } from '../access.ts';
import { HandlerId, NewHandler } from '../handler-schemas.ts';
import { problems } from '../problem.ts';
import { requireTarget } from '../require-target.ts';
import { requireTransform } from '../require-transform.ts';
import type { Services } from '../services.ts';
import { requireSecret, withoutSecret } from '../target-secret.ts';
import { testHandler, type HandlerTest } from '../test-handler.ts';

const event = NewEvent.optional().describe(
  'Without it, the sample of the first event type that the handler asks for',
);

const ShownTest = z
  .strictObject({
    execution: ExecutionDetail.omit({ id: true })
      .nullable()
      .describe('As it would stand in the log, where it does not; null when nothing was sent'),
    request: ExecutionDetail.shape.request.describe('What was sent, or would be; secrets are shown as ***'),
    response: z
      .strictObject({ statusCode: z.int().nullable(), body: z.string().nullable(), durationMs: z.number() })
      .nullable()
      .describe('What came back; null when nothing was sent'),
    filter: z
      .strictObject({ matches: z.boolean().nullable(), reasons: z.array(z.string()).optional() })
      .describe(
        'Whether the filter of the handler lets the event through, and if not, why. The test runs all the same. `matches` is null when it cannot be told',
      ),
  })
  .openapi('HandlerTest');

const tested = {
  description: 'What was sent and what came back, whether it went well or not',
  content: { 'application/json': { schema: ShownTest } },
};

const testSaved = createRoute({
  method: 'post',
  path: '/v1/handlers/{id}/test',
  operationId: 'testHandler',
  tags: ['Handlers'],
  security: needs('operate'),
  summary: 'Run a handler now, once, for at most 20 s; it is not logged',
  request: {
    params: z.object({ id: HandlerId }),
    body: { content: { 'application/json': { schema: z.strictObject({ event }) } } },
  },
  responses: { 200: tested, ...problems(400, 404, 413) },
});

const testUnsaved = createRoute({
  method: 'post',
  path: '/v1/handlers/test',
  operationId: 'testUnsavedHandler',
  tags: ['Handlers'],
  security: needs('operate'),
  summary:
    'Run a handler that is not saved, or see what it would be sent; it is signed with a key of the moment',
  request: {
    body: {
      content: {
        'application/json': {
          schema: z.strictObject({
            handler: NewHandler,
            event,
            send: z.boolean().default(true).describe('false only shows what would be sent'),
          }),
        },
      },
      required: true,
    },
  },
  responses: { 200: tested, ...problems(400, 413) },
});

export function addHandlerTestRoutes(app: OpenAPIHono, services: Services): void {
  app.openapi(testUnsaved, async (context) => {
    const { handler: input, event: read, send } = context.req.valid('json');
    const given = read && asWritten(read, await context.req.text(), 'event');
    requireTarget(input.target, services.targets, 'handler.');
    await requireTransform(input, services.targets.transforms, 'handler.');
    const at = services.now().toISOString();
    const handler: Handler = { ...input, id: 'h_test', version: 1, createdAt: at, updatedAt: at };
    const signing = { keys: [signingKeyOf(newSigningSecret())] };
    const auth = input.target.type === 'http' ? input.target.auth : null;
    requireSecret(input.target, 'handler.');
    const test = () => testHandler(services, { handler, signing, auth }, { event: given, send });
    if (!send) return context.json(await test(), 200);
    const masked = withoutSecret(input);
    return context.json(
      await services.audit.record(
        actorOf(context),
        { action: 'handler.test', subject: null, before: null, after: masked },
        test,
        toResult,
      ),
      200,
    );
  });

  app.openapi(testSaved, async (context) => {
    const { handlers, dataKey, now } = services;
    const stored = await handlers.get(context.req.valid('param').id);
    const { handler } = stored;
    const key = await dataKey();
    const [signing, auth] = [openSigning(key, stored, now()), openAuth(key, stored)];
    const { event: read } = context.req.valid('json');
    const given = read && asWritten(read, await context.req.text(), 'event');
    return context.json(
      await services.audit.record(
        actorOf(context),
        { action: 'handler.test', subject: handler.id, before: null, after: null },
        () => testHandler(services, { handler, signing, auth }, { event: given, send: true }),
        toResult,
      ),
      200,
    );
  });
}

const toResult = ({ execution }: HandlerTest) => ({ status: execution?.status ?? null });
