import { request } from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { createHttpApi } from '../../local/http-api.ts';
import { type ListeningServer, listen } from '../../local/server.ts';
import { log } from '../../shared/log.ts';

const authorization = 'Bearer secret';
let server: ListeningServer;
let url: string;
let events: APIGatewayProxyEventV2[];
let result: () => APIGatewayProxyStructuredResultV2;

beforeEach(async () => {
  events = [];
  result = () => ({ statusCode: 200, body: 'ok' });
  const api = createHttpApi({
    tokens: [
      { token: 'secret', role: 'admin' },
      { token: 'looking', role: 'read' },
    ],
    handler: async (event) => {
      events.push(event);
      return result();
    },
  });
  server = await listen('127.0.0.1', 0, api);
  url = `http://127.0.0.1:${server.port}`;
});
afterEach(() => server.close(0));

const call = (path: string, { headers, ...init }: RequestInit = {}): Promise<Response> =>
  fetch(`${url}${path}`, { ...init, headers: { authorization, ...(headers as Record<string, string>) } });

describe('the gatekeeper', () => {
  it('lets GET /healthz and GET / through without a token', async () => {
    const health = await fetch(`${url}/healthz`);
    expect([health.status, await health.json()]).toEqual([200, { status: 'ok' }]);
    const root = await fetch(url);
    expect(await root.json()).toEqual({ name: 'Handoff', api: '/v1', openapi: '/v1/openapi.json' });
    expect(events).toEqual([]);
  });

  it.each(['Bearer wrong', 'Bearer secretx', 'Bearer ', 'Basic secret', 'secret', 'Bearer secret secret'])(
    'refuses %j',
    async (wrong) => {
      const answer = await call('/v1/handlers', { headers: { authorization: wrong } });
      expect(answer.status).toBe(401);
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="handoff"');
      expect(await answer.json()).toMatchObject({ type: 'about:blank', title: 'Unauthorized', status: 401 });
      expect(events).toEqual([]);
    },
  );

  it.each([
    ['GET', '/v1/handlers'],
    ['POST', '/healthz'],
    ['GET', '/healthz/'],
    ['GET', '/?x=1'],
    ['OPTIONS', '/v1/handlers'],
  ])('refuses %s %s without a token', async (method, path) => {
    expect((await fetch(`${url}${path}`, { method })).status).toBe(401);
  });

  it('tells the function what the token is for', async () => {
    await call('/v1/handlers');
    await call('/v1/handlers', { headers: { authorization: 'Bearer looking' } });
    expect(events.map(({ requestContext }) => requestContext)).toMatchObject([
      {
        authorizer: {
          jwt: { claims: { sub: 'token:admin', client_id: 'token:admin', scope: 'handoff/admin' } },
        },
      },
      {
        authorizer: {
          jwt: { claims: { sub: 'token:read', client_id: 'token:read', scope: 'handoff/read' } },
        },
      },
    ]);
  });

  it('takes the scheme in any case, as RFC 9110 has it', async () => {
    expect((await call('/v1/handlers', { headers: { authorization: 'bearer secret' } })).status).toBe(200);
  });
});

describe('the event', () => {
  it('has what API Gateway puts into its payload 2.0', async () => {
    await call('/v1/handlers/h%201?limit=2&status=a&status=b', {
      method: 'PUT',
      body: '{"name":"é"}',
      headers: {
        'Content-Type': 'application/json',
        'X-Two': 'one, two',
        Cookie: 'a=1; b=2',
        'User-Agent': 'test',
      },
    });
    const [event] = events;
    expect(event).toMatchObject({
      version: '2.0',
      routeKey: '$default',
      rawPath: '/v1/handlers/h%201',
      rawQueryString: 'limit=2&status=a&status=b',
      queryStringParameters: { limit: '2', status: 'a,b' },
      cookies: ['a=1', 'b=2'],
      headers: { 'content-type': 'application/json', 'x-two': 'one, two', 'user-agent': 'test' },
      requestContext: {
        http: {
          method: 'PUT',
          path: '/v1/handlers/h%201',
          protocol: 'HTTP/1.1',
          sourceIp: '127.0.0.1',
          userAgent: 'test',
        },
        stage: '$default',
        time: expect.stringMatching(/^\d{2}\/[A-Z][a-z]{2}\/\d{4}:\d{2}:\d{2}:\d{2} \+0000$/u) as string,
      },
      body: '{"name":"é"}',
      isBase64Encoded: false,
    });
    expect(event?.headers).not.toHaveProperty('cookie');
  });

  it('joins repeated headers with commas', async () => {
    const sent = request(`${url}/v1`, { headers: { authorization, 'x-many': ['1', '2'] } }).end();
    const [response] = (await once(sent, 'response')) as [NodeJS.ReadableStream];
    response.resume();
    expect(events[0]?.headers['x-many']).toBe('1,2');
  });

  it('has no body where there is none', async () => {
    await call('/v1');
    expect(events[0]).not.toHaveProperty('body');
    expect(events[0]).not.toHaveProperty('queryStringParameters');
    expect(events[0]).not.toHaveProperty('cookies');
  });

  it.each([
    ['application/octet-stream', Buffer.from('text')],
    ['application/json', Buffer.from([0xc3, 0x28])],
  ])('carries %s that is not text as base64', async (type, body) => {
    await call('/v1', { method: 'POST', body, headers: { 'content-type': type } });
    expect(events[0]).toMatchObject({ body: body.toString('base64'), isBase64Encoded: true });
  });
});

describe('the answer', () => {
  it('is what the function says', async () => {
    result = () => ({
      statusCode: 201,
      headers: { etag: '"1"', 'x-number': 2, 'content-type': 'application/json' },
      cookies: ['a=1', 'b=2'],
      body: '{"é":1}',
    });
    const answer = await call('/v1', { method: 'POST', body: '{}' });
    expect(answer.status).toBe(201);
    expect(Object.fromEntries(answer.headers)).toMatchObject({ etag: '"1"', 'x-number': '2' });
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(await answer.text()).toBe('{"é":1}');
  });

  it('decodes base64', async () => {
    result = () => ({
      statusCode: 200,
      body: Buffer.from([0, 255]).toString('base64'),
      isBase64Encoded: true,
    });
    expect(Buffer.from(await (await call('/v1')).arrayBuffer())).toEqual(Buffer.from([0, 255]));
  });

  it('has no body for 204 and HEAD', async () => {
    result = () => ({ statusCode: 204 });
    expect((await call('/v1', { method: 'DELETE' })).status).toBe(204);
    result = () => ({ statusCode: 200, body: 'text' });
    expect(await (await call('/v1', { method: 'HEAD' })).text()).toBe('');
  });

  it.each<[string, () => APIGatewayProxyStructuredResultV2]>([
    [
      'throws',
      () => {
        throw new Error('secret detail');
      },
    ],
    ['answers nonsense', () => ({ body: 'no status' })],
    ['answers a header that cannot be', () => ({ statusCode: 200, headers: { 'bad name': '1' } })],
    ['answers a status that cannot be', () => ({ statusCode: 99 })],
  ])('is a neutral 500 when the function %s', async (_, broken) => {
    const logged = vi.spyOn(log, 'error').mockReturnValue();
    result = broken;
    const answer = await call('/v1/handlers');
    expect(answer.status).toBe(500);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(await answer.text()).not.toContain('secret detail');
    expect(logged).toHaveBeenCalledTimes(1);
    expect(logged).toHaveBeenCalledWith('api.failed', expect.objectContaining({ path: '/v1/handlers' }));
  });
});

describe('a body that is too large', () => {
  const tooMuch = 1_048_576 + 65_536 + 1;

  it('is refused by its length before it is read', async () => {
    const answer = await call('/v1/events', { method: 'POST', body: 'x'.repeat(tooMuch) });
    expect(answer.status).toBe(413);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(events).toEqual([]);
  });

  it('is refused where it does not say its length', async () => {
    const body = new ReadableStream({
      start(controller) {
        for (let sent = 0; sent < tooMuch; sent += 65_536) controller.enqueue(new Uint8Array(65_536));
        controller.close();
      },
    });
    const answer = await call('/v1/events', { method: 'POST', body, duplex: 'half' });
    expect(answer.status).toBe(413);
  });

  it('is taken up to the limit', async () => {
    const answer = await call('/v1/events', { method: 'POST', body: 'x'.repeat(tooMuch - 1) });
    expect(answer.status).toBe(200);
  });
});

describe('a client that breaks off', () => {
  it('does no harm', async () => {
    const socket = connect(server.port, '127.0.0.1');
    socket.write(
      'POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\ncontent-length: 100\r\n\r\n{',
    );
    await once(socket, 'connect');
    socket.resetAndDestroy();
    await once(socket, 'close');
    expect((await call('/v1')).status).toBe(200);
    expect(events).toHaveLength(1);
  });

  it('gets a 400 for what is not HTTP', async () => {
    const socket = connect(server.port, '127.0.0.1');
    socket.end('nonsense\r\n\r\n');
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    expect(chunk.toString()).toMatch(/^HTTP\/1.1 400/u);
  });

  it('gets a 431 for a URL that is too long, as a problem like all others', async () => {
    const answer = await call(`/v1/handlers?q=${'x'.repeat(16_384)}`);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([431, 'application/problem+json']);
    expect(await answer.json()).toEqual({
      type: 'about:blank',
      title: 'Request Header Fields Too Large',
      status: 431,
      detail: 'The URL and the headers together are too large.',
    });
    expect(events).toEqual([]);
  });

  it('gets a 400 for a target that is not a path', async () => {
    const socket = connect(server.port, '127.0.0.1');
    socket.write('GET http://x/v1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\n\r\n');
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    expect(chunk.toString()).toMatch(/^HTTP\/1.1 400/u);
    socket.destroy();
  });
});
