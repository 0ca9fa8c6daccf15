import type { APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { handle, type LambdaEvent } from 'hono/aws-lambda';
import { parseEnv } from '../../shared/env.ts';
import { log } from '../../shared/log.ts';
import { ApiEnv } from './env.ts';
import { problemOf } from './problem.ts';
import { createRouter } from './router.ts';
import { buildServices } from './services.ts';

/** A request as API Gateway's HTTP API hands it over (payload format 2.0). */
export type ApiEvent = Extract<LambdaEvent, { rawPath: string }>;

let serve: ReturnType<typeof handle> | undefined;

/** Called by API Gateway for every request that its authorizer let through. */
export async function handler(event: ApiEvent): Promise<APIGatewayProxyStructuredResultV2> {
  serve ??= handle(createRouter(buildServices(parseEnv(ApiEnv, process.env))));
  const startedAt = Date.now();
  const answer = isServable(event)
    ? ((await serve(withoutStrayBody(event))) as APIGatewayProxyStructuredResultV2)
    : methodNotAllowed;
  // Without the query and the headers: what is searched for, and who asks, is nobody's business here.
  log.info('request.answered', {
    method: event.requestContext.http.method,
    path: event.rawPath,
    status: answer.statusCode,
    durationMs: Date.now() - startedAt,
  });
  return answer;
}

// The Request that Hono makes of an event throws for other methods (TRACE, CONNECT).
const servable = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const isServable = ({ requestContext }: ApiEvent): boolean => servable.includes(requestContext.http.method);
const methodNotAllowed = {
  statusCode: 405,
  headers: {
    'content-type': 'application/problem+json',
    'x-content-type-options': 'nosniff',
    allow: servable.join(', '),
  },
  body: JSON.stringify(problemOf(405, 'No path allows this method.')),
};

// A client may send a body with GET, where it means nothing; the Request that Hono makes of the event would throw.
function withoutStrayBody(event: ApiEvent): ApiEvent {
  const { method } = event.requestContext.http;
  return method === 'GET' || method === 'HEAD' ? { ...event, body: null } : event;
}
