import { isUtf8 } from 'node:buffer';
import { hash, randomUUID, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type {
  APIGatewayProxyEventV2WithJWTAuthorizer,
  APIGatewayProxyStructuredResultV2,
  Context,
} from 'aws-lambda';
import { roles, scopeOf, type Role } from '../shared/role.ts';
import { maxEventBytes } from '../shared/events/envelope.ts';
import { log } from '../shared/log.ts';
import { accountId } from './aws-identity.ts';
import { lambdaContext } from './lambda-context.ts';
import { sendProblem } from './problem.ts';
import { readBody } from './request-body.ts';

/** The largest request the API takes is an event, in a little JSON; the function has the finer limits. */
const maxBodyBytes = maxEventBytes + 65_536;
/** API Gateway gives up on a function after 30 s. */
const timeoutMs = 30_000;

export type ApiHandler = (
  event: APIGatewayProxyEventV2WithJWTAuthorizer,
  context: Context,
) => Promise<APIGatewayProxyStructuredResultV2>;

export type HttpApiOptions = {
  handler: ApiHandler;
  /** One of them a caller must send as `Authorization: Bearer <token>`. */
  tokens: readonly ApiToken[];
};

/** What a caller sends, and what that lets them do. */
export type ApiToken = { token: string; role: Role };

/**
 * Does what API Gateway's HTTP API does, with the engine's own gatekeeper in front: turns a request into an event
 * (payload format 2.0), calls the handler and answers with its result. Without the token only `GET /healthz` and
 * `GET /` are answered.
 */
export function createHttpApi({
  handler,
  tokens,
}: HttpApiOptions): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const roleOf = bearerCheck(tokens);

  return async (request, response) => {
    const openDocument = openDocuments.get(request.url ?? '');
    if (openDocument !== undefined && (request.method === 'GET' || request.method === 'HEAD')) {
      sendJson(response, openDocument);
      return;
    }
    const role = roleOf(request.headers.authorization);
    if (role === null) {
      sendProblem(response, {
        status: 401,
        title: 'Unauthorized',
        detail: 'The call needs the header "Authorization: Bearer <token>" with the token of this engine.',
        headers: { 'www-authenticate': 'Bearer realm="handoff"' },
      });
      return;
    }
    // A proxy may send the whole URL, and OPTIONS a star; no route begins like that.
    if (request.url?.startsWith('/') !== true) {
      sendProblem(response, {
        status: 400,
        title: 'Bad Request',
        detail: 'The target of the request must be a path.',
      });
      return;
    }
    let body: Buffer | null;
    try {
      body = await readBody(request, maxBodyBytes);
    } catch {
      return; // The client went away: there is nobody to answer.
    }
    if (body === null) {
      sendProblem(response, {
        status: 413,
        title: 'Content Too Large',
        detail: `The body may have at most ${maxBodyBytes} bytes.`,
      });
      return;
    }
    try {
      sendResult(response, await handler(apiEvent(request, body, role), lambdaContext('api', timeoutMs)));
    } catch (error) {
      log.error('api.failed', { method: request.method, path: request.url, error: error as Error });
      if (response.headersSent) response.destroy();
      else {
        sendProblem(response, {
          status: 500,
          title: 'Internal Server Error',
          detail: 'The request could not be answered. The log says why.',
        });
      }
    }
  };
}

const openDocuments = new Map<string, unknown>([
  ['/healthz', { status: 'ok' }],
  ['/', { name: 'Handoff', api: '/v1', openapi: '/v1/openapi.json' }],
]);

function sendJson(response: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(200, {
    'content-type': 'application/json',
    'x-content-type-options': 'nosniff',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

/**
 * Compares hashes, because they have the same length, which a comparison in constant time needs; and with all of them, because the first
 * that fits would tell by its time which one it is.
 */
function bearerCheck(tokens: readonly ApiToken[]): (authorization: string | undefined) => Role | null {
  const expected = tokens.map(({ token, role }) => ({ role, digest: hash('sha256', token, 'buffer') }));
  return (authorization = '') => {
    const [, given = ''] = /^Bearer +(\S+)$/iu.exec(authorization) ?? [];
    const digest = hash('sha256', given, 'buffer');
    const fitting = expected.filter((one) => timingSafeEqual(digest, one.digest));
    return roles.findLast((role) => fitting.some((one) => one.role === role)) ?? null;
  };
}

// API Gateway hands over such bodies as text and all others as base64.
const textType = /^(text\/|application\/(json|javascript|xml|[\w.-]+\+(json|xml))\b)/iu;

/** https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html */
function apiEvent(
  request: IncomingMessage,
  body: Buffer,
  role: Role,
): APIGatewayProxyEventV2WithJWTAuthorizer {
  const url = request.url ?? '/';
  const queryStart = url.indexOf('?');
  const rawPath = queryStart === -1 ? url : url.slice(0, queryStart);
  const rawQueryString = queryStart === -1 ? '' : url.slice(queryStart + 1);
  const { cookie, ...others } = request.headersDistinct;
  const headers = Object.fromEntries(
    Object.entries(others).map(([name, values]) => [name, values?.join(',')]),
  );
  const cookies = (cookie ?? []).flatMap((line) => line.split(/; */u)).filter((pair) => pair !== '');
  const query = joinRepeated(new URLSearchParams(rawQueryString));
  const isText = textType.test(headers['content-type'] ?? '') && isUtf8(body);
  const at = new Date();
  // As in AWS, the name of the API, not what a client wrote into its Host header.
  const domainName = 'localhost';
  const caller = `token:${role}`;
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath,
    rawQueryString,
    ...(cookies.length > 0 && { cookies }),
    headers,
    ...(Object.keys(query).length > 0 && { queryStringParameters: query }),
    requestContext: {
      accountId,
      apiId: 'handoff',
      // What the gateway makes of a token of a machine client, which is its own subject.
      authorizer: {
        principalId: '',
        integrationLatency: 0,
        jwt: { claims: { sub: caller, client_id: caller, scope: scopeOf(role) }, scopes: [] },
      },
      domainName,
      domainPrefix: domainName.split('.')[0] ?? domainName,
      http: {
        method: request.method ?? 'GET',
        path: rawPath,
        protocol: `HTTP/${request.httpVersion}`,
        sourceIp: request.socket.remoteAddress ?? '',
        userAgent: headers['user-agent'] ?? '',
      },
      requestId: randomUUID(),
      routeKey: '$default',
      stage: '$default',
      time: commonLogTime(at),
      timeEpoch: at.getTime(),
    },
    ...(body.length > 0 && { body: isText ? body.toString() : body.toString('base64') }),
    isBase64Encoded: body.length > 0 && !isText,
  };
}

function joinRepeated(parameters: URLSearchParams): Record<string, string> {
  return Object.fromEntries(
    [...new Set(parameters.keys())].map((name) => [name, parameters.getAll(name).join(',')]),
  );
}

/** `12/Mar/2020:19:03:58 +0000`, as access logs have it. */
function commonLogTime(at: Date): string {
  const [, day, month, year, time] = at.toUTCString().split(' ');
  return `${day}/${month}/${year}:${time} +0000`;
}

function sendResult(response: ServerResponse, result: APIGatewayProxyStructuredResultV2): void {
  if (typeof result?.statusCode !== 'number')
    throw new Error('The function did not answer with a statusCode.');
  const body = Buffer.from(result.body ?? '', result.isBase64Encoded === true ? 'base64' : 'utf8');
  for (const [name, value] of Object.entries(result.headers ?? {})) response.setHeader(name, String(value));
  if (result.cookies !== undefined) response.setHeader('set-cookie', result.cookies);
  response.writeHead(result.statusCode);
  response.end(body);
}
