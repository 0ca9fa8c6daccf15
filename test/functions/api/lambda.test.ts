import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ApiEvent } from '../../../functions/api/lambda.ts';
import { captureLog } from '../log-lines.ts';
import { aHandlerInput, startApi, type Api, type Body } from './api.ts';
import { authorized, machine, person, type Claims } from './authorized.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api[Symbol.asyncDispose]());

/** What API Gateway hands over (payload format 2.0). */
function anApiEvent(
  method: string,
  rawPath: string,
  {
    query = '',
    body,
    claims = machine('handoff/admin'),
  }: { query?: string; body?: Body; claims?: Claims } = {},
) {
  const { headers, requestContext } = authorized(claims);
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath,
    rawQueryString: query,
    headers: {
      ...headers,
      host: 'api.example',
      'content-type': 'application/json',
      'x-forwarded-proto': 'https',
    },
    isBase64Encoded: body !== undefined,
    ...(body !== undefined && { body: Buffer.from(JSON.stringify(body)).toString('base64') }),
    requestContext: {
      accountId: '000000000000',
      apiId: 'api',
      ...requestContext,
      domainName: 'api.example',
      domainPrefix: 'api',
      http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: '192.0.2.1', userAgent: 'test' },
      requestId: 'r-1',
      routeKey: '$default',
      stage: '$default',
      time: '23/Nov/2026:10:00:00 +0000',
      timeEpoch: 1795428000000,
    },
  } as unknown as ApiEvent;
}

/** The function as a new environment loads it. */
async function loadHandler() {
  for (const [name, value] of Object.entries(api.variables)) vi.stubEnv(name, value);
  vi.resetModules();
  return (await import('../../../functions/api/lambda.ts')).handler;
}

describe('handler', () => {
  it('answers API Gateway: a handler is created, listed and deleted', async () => {
    const handler = await loadHandler();

    const created = await handler(
      anApiEvent('POST', '/v1/handlers', { body: { ...aHandlerInput(), name: 'Ünïcode' } }),
    );
    expect(created).toMatchObject({
      statusCode: 201,
      headers: { 'content-type': 'application/json', etag: '"1"' },
      isBase64Encoded: false,
    });
    const { id, secret }: Body = JSON.parse(created.body ?? '');
    expect(secret).toMatch(/^whsec_/u);

    const listed = await handler(anApiEvent('GET', '/v1/handlers', { query: 'q=%C3%BCn%C3%AF&limit=5' }));
    expect(JSON.parse(listed.body ?? '')).toMatchObject({
      items: [{ id, name: 'Ünïcode' }],
      nextCursor: null,
    });

    const deleted = await handler(anApiEvent('DELETE', `/v1/handlers/${id}`));
    expect(deleted.statusCode).toBe(204);

    const missing = await handler(anApiEvent('GET', `/v1/handlers/${id}`));
    expect(missing).toMatchObject({
      statusCode: 404,
      headers: { 'content-type': 'application/problem+json' },
    });
  });

  it('logs one wide line for each request, without what was asked or sent', async () => {
    const handler = await loadHandler();
    const lines = captureLog();
    await handler(anApiEvent('GET', '/v1/handlers', { query: 'q=whoever' }));
    await handler(anApiEvent('POST', '/v1/handlers', { body: { ...aHandlerInput(), name: 'Whoever' } }));
    await handler(anApiEvent('DELETE', '/v1/handlers/h_gone'));
    const answered = { level: 'INFO', message: 'request.answered', durationMs: expect.any(Number) as number };
    expect(lines).toMatchObject([
      { ...answered, method: 'GET', path: '/v1/handlers', status: 200 },
      { ...answered, method: 'POST', path: '/v1/handlers', status: 201 },
      { ...answered, method: 'DELETE', path: '/v1/handlers/h_gone', status: 404 },
    ]);
    expect(JSON.stringify(lines)).not.toMatch(/whoever|whsec_/iu);
  });

  it('goes by the groups of a person', async () => {
    const handler = await loadHandler();
    const statusFor = async (...groups: string[]) =>
      (await handler(anApiEvent('GET', '/v1/handlers', { claims: person(...groups) }))).statusCode;

    expect(await statusFor('staff', 'handoff/read')).toBe(200);
    expect(await statusFor('staff handoff/read')).toBe(403);
    expect(await statusFor()).toBe(403);
  });

  it('takes no notice of a body that comes with GET', async () => {
    const handler = await loadHandler();
    expect(await handler(anApiEvent('GET', '/v1/handlers', { body: { stray: true } }))).toMatchObject({
      statusCode: 200,
    });
  });

  it.each(['TRACE', 'CONNECT', 'BREW'])('answers 405 to %s, as a problem', async (method) => {
    const handler = await loadHandler();
    expect(await handler(anApiEvent(method, '/v1/handlers'))).toMatchObject({
      statusCode: 405,
      headers: { 'content-type': 'application/problem+json' },
    });
  });
});
