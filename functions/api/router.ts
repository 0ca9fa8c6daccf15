import { OpenAPIHono, type Hook } from '@hono/zod-openapi';
import { HTTPException } from 'hono/http-exception';
import type { Context, Env, MiddlewareHandler } from 'hono';
import packageJson from '../../package.json' with { type: 'json' };
import {
  ConflictError,
  ForbiddenError,
  InvalidInputError,
  InvalidTokenError,
  NotFoundError,
  TooLargeError,
  type FieldError,
} from '../../shared/errors.ts';
import { log } from '../../shared/log.ts';
import type { Role } from '../../shared/role.ts';
import { checkRole, needs, rolesOf } from './access.ts';
import { toFieldErrors } from './field-errors.ts';
import { contentTypeError, readJsonBody } from './json-body.ts';
import { addAsyncApiRoutes } from './routes/asyncapi.ts';
import { addAuditRoutes } from './routes/audit.ts';
import { addProblems, problemOf, type Problem } from './problem.ts';
import { addDeadLetterRoutes } from './routes/dead-letters.ts';
import { addEventTypeRoutes } from './routes/event-types.ts';
import { addEventRoutes } from './routes/events.ts';
import { addExecutionRoutes } from './routes/executions.ts';
import { addFilterRoutes } from './routes/filters.ts';
import { addHandlerTestRoutes } from './routes/handler-tests.ts';
import { addHandlerRoutes } from './routes/handlers.ts';
import { addRecoveryRoutes } from './routes/recoveries.ts';
import { addScriptRoutes } from './routes/scripts.ts';
import { addStatsRoutes } from './routes/stats.ts';
import type { Services } from './services.ts';

/** The management API: its routes, and the one place where errors become HTTP. */
export function createRouter(services: Services): OpenAPIHono {
  const app = new OpenAPIHono({ defaultHook: rejectInvalid });

  // The check comes before the routes, and they say what it is to check.
  const needed = new Map<string, Role>();
  app.use(forbidGuessing);
  app.use('/v1/*', checkRole(needed, services.groupsClaim), readJsonBody);
  addHandlerTestRoutes(app, services);
  addHandlerRoutes(app, services);
  addFilterRoutes(app);
  addExecutionRoutes(app, services);
  addRecoveryRoutes(app, services);
  addEventRoutes(app, services);
  addEventTypeRoutes(app, services);
  addAsyncApiRoutes(app, services);
  addScriptRoutes(app, services);
  addStatsRoutes(app, services);
  addDeadLetterRoutes(app, services);
  addAuditRoutes(app, services);
  for (const [route, role] of rolesOf(app)) needed.set(route, role);

  addProblems(app);
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    description:
      "On one machine: a token of the engine, which has a role. In AWS: an access token of the deployment's user pool, or of the issuer that was set for it; people have their role from a group, machine clients from a scope. `security` of each route names the role that it takes: read, operate or admin, each with what the ones before it may.",
  });
  app.doc31('/v1/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Handoff',
      version: packageJson.version,
      license: { name: 'Apache 2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
      description:
        'Handlers, executions and events. Errors are `application/problem+json` (RFC 9457); what comes from API Gateway itself is a `GatewayError`. A later version may add fields to answers.',
    },
    servers: [{ url: '/', description: 'Where this description is' }],
    security: needs('read'),
    tags,
  });

  app.notFound((context) => {
    const allowed = methods.filter((method) => hasRoute(app, method, context.req.path));
    return allowed.length === 0
      ? sendProblem(context, problemOf(404, `There is no ${context.req.path}.`))
      : sendProblem(context, problemOf(405, `${context.req.path} allows ${allowed.join(', ')}.`), {
          allow: allowed.join(', '),
        });
  });
  app.onError((error, context) => {
    const problem = toProblem(error);
    if (problem.status === 500) {
      log.error('request.failed', { method: context.req.method, path: context.req.path, error });
    }
    return sendProblem(context, problem, challengeOf(error));
  });
  return app;
}

const tags = [
  { name: 'Handlers', description: 'Reactions to events: which events, one target, a priority, a status' },
  { name: 'Executions', description: 'The log: one handler and one event, with every attempt' },
  { name: 'Recoveries', description: 'Runs in the background that deliver a range of executions again' },
  { name: 'Events', description: 'Publishing on the bus' },
  { name: 'Event types', description: 'The catalogue of what upstreams send' },
  { name: 'Scripts', description: 'Code of this deployment that a handler may name as its target' },
  { name: 'Statistics', description: 'What ran, by hours' },
  { name: 'Dead letters', description: 'What could not be read or run' },
  { name: 'Audit', description: 'Who changed what through this API' },
];

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

// The router also lists the middleware of a path; a route is what answers.
const hasRoute = (app: OpenAPIHono, method: string, path: string): boolean =>
  app.router
    .match(method, path)[0]
    .some(([[handler, route]]) => route.method === method && handler !== undefined);

const rejectInvalid: Hook<unknown, Env, string, unknown> = (result) => {
  if (!result.success) throw new InvalidInputError(result.error.issues.flatMap(toFieldErrors));
};

/** What the caller of a request that was turned away has to come with (RFC 6750). */
function challengeOf(error: Error): Record<string, string> {
  if (error instanceof InvalidTokenError) return { 'www-authenticate': 'Bearer error="invalid_token"' };
  if (!(error instanceof ForbiddenError)) return {};
  return { 'www-authenticate': `Bearer error="insufficient_scope", scope="${error.scope}"` };
}

function toProblem(error: Error): Problem {
  if (error instanceof InvalidInputError) return invalid(error.fields);
  if (error instanceof InvalidTokenError) return problemOf(401, error.message);
  if (error instanceof ForbiddenError) return problemOf(403, error.message);
  if (error instanceof NotFoundError) return problemOf(404, error.message);
  if (error instanceof ConflictError) return problemOf(error.reason === 'version' ? 412 : 409, error.message);
  if (error instanceof TooLargeError) return problemOf(413, error.message);
  // Hono's own: a type that it reads more strictly than we do (`application/json ; charset=utf-8`), which is the same fault
  // as any other type, and a body of type JSON that is empty.
  if (error instanceof HTTPException && error.status === 415) return invalid([contentTypeError]);
  if (error instanceof HTTPException && error.status === 400) {
    return invalid([{ field: 'body', message: 'is empty' }]);
  }
  return problemOf(500, 'Something went wrong on our side. The log has the details.');
}

// Thousands of bad headers would be thousands of sentences; who mends these sees the next ones.
const maxFieldErrors = 100;

// A key or a text of the caller's stands in some of them, as long as the body can be; Lambda's answers end at 6 MB.
const maxShownLength = 1000;
const shorten = (text: string): string =>
  text.length > maxShownLength ? `${text.slice(0, maxShownLength)}...` : text;

const invalid = (fields: readonly FieldError[]) =>
  problemOf(
    400,
    'The request is not valid.',
    fields
      .slice(0, maxFieldErrors)
      .map(({ field, message }) => ({ field: shorten(field), message: shorten(message) })),
  );

/** What people have written into handlers and events is JSON, and no browser may take it for a page. */
const forbidGuessing: MiddlewareHandler = async (context, next) => {
  await next();
  context.header('x-content-type-options', 'nosniff');
};

const sendProblem = (context: Context, problem: Problem, headers: Record<string, string> = {}) =>
  context.body(JSON.stringify(problem), problem.status as 400, {
    'content-type': 'application/problem+json',
    ...headers,
  });
