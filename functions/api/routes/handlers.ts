import { randomBytes } from 'node:crypto';
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { newSigningSecret } from '../../../shared/delivery/signature.ts';
import { ConflictError, InvalidInputError, type FieldError } from '../../../shared/errors.ts';
import { Handler, HandlerInput, HandlerStatus } from '../../../shared/handlers/handler.ts';
import { patternsFor } from '../../../shared/handlers/registry.ts';
import { sealSecret } from '../../../shared/handlers/secret-envelope.ts';
import type { StoredHandler } from '../../../shared/handlers/store.ts';
import { toFieldErrors } from '../field-errors.ts';
import { mergePatch } from '../merge-patch.ts';
import { pageOf, pageQuery } from '../page.ts';
import { problems } from '../problem.ts';
import type { Services } from '../services.ts';

// An edit without If-Match is applied to whatever is stored; another edit may slip in between a few times.
const maxTries = 5;

const HandlerHealth = z.object({
  circuit: z.enum(['closed', 'open', 'probing']),
  since: z.iso.datetime().nullable(),
  lastExecutionAt: z.iso.datetime().nullable(),
});

// What was read can be sent back whole: the fields that only Handoff sets are accepted and have no effect.
const HandlerReplacement = HandlerInput.extend({
  id: z.string().optional(),
  version: z.int().optional(),
  createdAt: z.string().optional(),
  updatedAt: z.string().optional(),
  health: z.unknown().optional(),
});

const id = { params: z.object({ id: z.string().max(64) }) };
const ifMatch = {
  headers: z.object({ 'if-match': z.string().optional().describe('The ETag as it was read') }),
};
const json = <Schema extends z.ZodType>(schema: Schema) => ({ content: { 'application/json': { schema } } });
const jsonBody = <Schema extends z.ZodType>(schema: Schema) => ({
  body: { ...json(schema), required: true },
});
const handlerAnswer = { description: 'The handler, its version in the ETag', ...json(Handler) };

const list = createRoute({
  method: 'get',
  path: '/v1/handlers',
  summary: 'Handlers by priority, then name',
  request: {
    query: z.strictObject({
      event: z.string().optional().describe('Those that would run for this event type, wildcards too'),
      type: z.enum(['http', 'script']).optional().describe("The target's type"),
      status: HandlerStatus.optional().describe('Without it: enabled and disabled ones'),
      q: z.string().max(200).optional().describe('Contained in the name, the description or the URL'),
      ...pageQuery,
    }),
  },
  responses: { 200: { description: 'A page of handlers', ...json(pageOf(Handler)) }, ...problems(400) },
});

const create = createRoute({
  method: 'post',
  path: '/v1/handlers',
  summary: 'Register a handler',
  request: jsonBody(HandlerInput),
  responses: {
    201: {
      description: 'The handler. This answer alone shows the secret that signs its deliveries',
      ...json(Handler.extend({ secret: z.string() })),
    },
    ...problems(400, 413),
  },
});

const read = createRoute({
  method: 'get',
  path: '/v1/handlers/{id}',
  summary: 'One handler and its health',
  request: id,
  responses: {
    200: { ...handlerAnswer, ...json(Handler.extend({ health: HandlerHealth })) },
    ...problems(400, 404),
  },
});

const replace = createRoute({
  method: 'put',
  path: '/v1/handlers/{id}',
  summary: 'Replace a handler',
  request: { ...id, ...ifMatch, ...jsonBody(HandlerReplacement) },
  responses: { 200: handlerAnswer, ...problems(400, 404, 412, 413) },
});

const patch = createRoute({
  method: 'patch',
  path: '/v1/handlers/{id}',
  summary: 'Change some fields (JSON Merge Patch); another target.type replaces the target',
  request: { ...id, ...ifMatch, ...jsonBody(z.looseObject({})) },
  responses: { 200: handlerAnswer, ...problems(400, 404, 412, 413) },
});

const remove = createRoute({
  method: 'delete',
  path: '/v1/handlers/{id}',
  summary: 'Delete a handler; its executions stay readable until they expire',
  request: { ...id, ...ifMatch },
  responses: { 204: { description: 'It is gone' }, ...problems(400, 404, 412) },
});

const toggle = (verb: 'enable' | 'disable') =>
  createRoute({
    method: 'post',
    path: `/v1/handlers/{id}/${verb}` as const,
    summary: verb === 'enable' ? 'Let a handler run' : 'Stop a handler; what it misses is held',
    request: id,
    responses: { 200: handlerAnswer, ...problems(400, 404, 409) },
  });

export function addHandlerRoutes(app: OpenAPIHono, services: Services): void {
  const { handlers, dataKey, executions, now } = services;

  app.openapi(list, async (context) => {
    const { event, type, status, q, limit, cursor } = context.req.valid('query');
    const patterns = event === undefined ? null : new Set(patternsFor(event));
    const all = (await handlers.readAll()).handlers
      .map(({ handler }) => handler)
      .filter((handler) => (status === undefined ? handler.status !== 'archived' : handler.status === status))
      .filter((handler) => type === undefined || handler.target.type === type)
      .filter((handler) => patterns === null || handler.events.some((pattern) => patterns.has(pattern)))
      .filter((handler) => q === undefined || mentions(handler, q))
      .toSorted((a, b) => comparePositions(positionOf(a), positionOf(b)));
    const after = cursor === undefined ? null : decodeCursor(cursor);
    const rest =
      after === null ? all : all.filter((handler) => comparePositions(positionOf(handler), after) > 0);
    const items = rest.slice(0, limit);
    const last = items.at(-1);
    const nextCursor = last !== undefined && rest.length > limit ? encodeCursor(positionOf(last)) : null;
    return context.json({ items, nextCursor }, 200);
  });

  app.openapi(create, async (context) => {
    const input = context.req.valid('json');
    checkTarget(input, services);
    const secret = newSigningSecret();
    const createdAt = now().toISOString();
    const handler: Handler = {
      id: `h_${randomBytes(12).toString('base64url')}`,
      ...input,
      version: 1,
      createdAt,
      updatedAt: createdAt,
    };
    await handlers.create({ handler, sealedSecrets: [sealSecret(await dataKey(), handler.id, secret)] });
    return context.json({ ...handler, secret }, 201, {
      etag: etagOf(handler),
      location: `/v1/handlers/${handler.id}`,
    });
  });

  app.openapi(read, async (context) => {
    const { handler } = await handlers.get(context.req.valid('param').id);
    const latest = await executions.list({ handlerId: handler.id }, 1);
    // No circuit can open yet, so every one is closed.
    const health = {
      circuit: 'closed' as const,
      since: null,
      lastExecutionAt: latest.records[0]?.startedAt ?? null,
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
    const wanted = context.req.valid('header')['if-match'];
    checkTarget(input, services);
    const handler = await change(context.req.valid('param').id, wanted, () => input);
    return context.json(handler, 200, { etag: etagOf(handler) });
  });

  app.openapi(patch, async (context) => {
    // A body that is empty and of no type counts as {}; the patch would be done without having said anything.
    if ((await context.req.text()) === '') {
      throw new InvalidInputError([{ field: 'body', message: 'is empty' }]);
    }
    const changes = context.req.valid('json');
    const wanted = context.req.valid('header')['if-match'];
    const handler = await change(context.req.valid('param').id, wanted, (current) => {
      const input = applyPatch(current, changes);
      checkTarget(input, services);
      return input;
    });
    return context.json(handler, 200, { etag: etagOf(handler) });
  });

  app.openapi(remove, async (context) => {
    const wanted = context.req.valid('header')['if-match'];
    await writeOver(context.req.valid('param').id, wanted, ({ handler }) =>
      handlers.remove(handler.id, handler.version),
    );
    return context.body(null, 204);
  });

  app.openapi(toggle('enable'), async (context) => {
    const handler = await setStatus(context.req.valid('param').id, 'enabled');
    return context.json(handler, 200, { etag: etagOf(handler) });
  });

  app.openapi(toggle('disable'), async (context) => {
    const handler = await setStatus(context.req.valid('param').id, 'disabled');
    return context.json(handler, 200, { etag: etagOf(handler) });
  });

  const setStatus = (handlerId: string, status: 'enabled' | 'disabled') =>
    change(handlerId, undefined, (current) => {
      if (current.status === 'archived') {
        throw new ConflictError(
          'state',
          `The handler ${handlerId} is archived; its status is set by an edit only.`,
        );
      }
      return { ...inputOf(current), status };
    });

  /** Applies an edit to a handler, and raises its version. */
  const change = (
    handlerId: string,
    wantedVersion: string | undefined,
    edit: (current: Handler) => HandlerInput,
  ): Promise<Handler> =>
    writeOver(handlerId, wantedVersion, async ({ handler: current, sealedSecrets }) => {
      const handler: Handler = {
        ...edit(current),
        id: current.id,
        version: current.version + 1,
        createdAt: current.createdAt,
        updatedAt: now().toISOString(),
      };
      await handlers.replace({ handler, sealedSecrets }, current.version);
      return handler;
    });

  /** Reads a handler and writes against the version that was read; again, if another write came between. */
  async function writeOver<Result>(
    handlerId: string,
    wantedVersion: string | undefined,
    write: (stored: StoredHandler) => Promise<Result>,
  ): Promise<Result> {
    for (let tries = 1; ; tries++) {
      const stored = await handlers.get(handlerId);
      requireVersion(stored.handler, wantedVersion);
      try {
        return await write(stored);
      } catch (error) {
        const isOvertaken = error instanceof ConflictError && error.reason === 'version';
        if (!isOvertaken || wantedVersion !== undefined || tries >= maxTries) throw error;
      }
    }
  }
}

function inputOf(handler: Handler): HandlerInput {
  const { id: _id, version: _version, createdAt: _createdAt, updatedAt: _updatedAt, ...input } = handler;
  return input;
}

function applyPatch(current: Handler, changes: Record<string, unknown>): HandlerInput {
  const input = inputOf(current);
  const targetType = (changes['target'] as { type?: unknown } | null | undefined)?.type;
  const isOtherTarget = targetType !== undefined && targetType !== current.target.type;
  const unknown = [
    ...unknownRemovals(changes, HandlerInput.shape),
    ...(isOtherTarget ? [] : unknownRemovals(changes['target'], current.target, 'target.')),
  ];
  if (unknown.length > 0) throw new InvalidInputError(unknown);
  const parsed = HandlerInput.safeParse(
    mergePatch(isOtherTarget ? { ...input, target: {} } : input, changes),
  );
  if (!parsed.success) throw new InvalidInputError(parsed.error.issues.flatMap(toFieldErrors));
  return parsed.data;
}

// What a patch removes is gone before the schema could say that there is no such field.
const unknownRemovals = (changes: unknown, known: object, prefix = ''): FieldError[] =>
  Object.entries(changes ?? {})
    .filter(([key, value]) => value === null && !Object.hasOwn(known, key))
    .map(([key]) => ({ field: `${prefix}${key}`, message: 'is not a known field' }));

/** Refuses a target that this deployment may not call, as far as the URL alone tells. */
function checkTarget({ target }: HandlerInput, { allowHttp, guard }: Services): void {
  const url = new URL(target.url);
  const problem =
    url.protocol === 'http:' && !allowHttp
      ? 'plain http:// needs the setting allowHttp (HANDOFF_ALLOW_HTTP=true on one machine)'
      : guard.hostProblem(url.hostname);
  if (problem !== null) throw new InvalidInputError([{ field: 'target.url', message: problem }]);
}

const etagOf = ({ version }: Handler): string => `"${version}"`;

function requireVersion(handler: Handler, wanted: string | undefined): void {
  if (wanted === undefined || wanted.trim() === '*') return;
  const versions = wanted.split(',').map((etag) => etag.trim().replace(/^W\//u, ''));
  if (versions.includes(etagOf(handler))) return;
  throw new ConflictError('version', `The handler is at version ${handler.version}, not at ${wanted}.`);
}

function mentions({ name, description, target }: Handler, text: string): boolean {
  const wanted = text.toLowerCase();
  return [name, description, target.url].some((field) => field.toLowerCase().includes(wanted));
}

type Position = [priority: number, name: string, id: string];

const positionOf = ({ priority, name, id: handlerId }: Handler): Position => [priority, name, handlerId];

function comparePositions([priorityA, nameA, idA]: Position, [priorityB, nameB, idB]: Position): number {
  return priorityA - priorityB || compareText(nameA, nameB) || compareText(idA, idB);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

const encodeCursor = (position: Position): string =>
  Buffer.from(JSON.stringify(position)).toString('base64url');

const Cursor = z.tuple([z.number(), z.string(), z.string()]);

function decodeCursor(cursor: string): Position {
  try {
    return Cursor.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
  } catch (cause) {
    throw new InvalidInputError([{ field: 'cursor', message: 'is not a cursor of this list' }], { cause });
  }
}
