import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { Agent, buildConnector } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { createAddressGuard } from '../../../shared/delivery/address-guard.ts';
import { createAgent } from '../../../shared/delivery/agent.ts';
import { deliverHttp, type HttpRequest } from '../../../shared/delivery/http.ts';
import { isRetryableStatus, maxResponseBytes } from '../../../shared/delivery/outcome.ts';
import { closedPort, startRawServer, startReceiver } from '../../support/http-server.ts';
import { selfSigned } from '../../support/self-signed.ts';

const loopback = { allowCidrs: ['127.0.0.0/8'], allowLoopback: true };

const agents: Agent[] = [];
function agentWith(guard = createAddressGuard(loopback)): Agent {
  const agent = createAgent(guard);
  agents.push(agent);
  return agent;
}
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.destroy()));
});

/** So long that a test which waits for it fails by its own time limit. */
const longTimeoutMs = 30_000;
/** For tests in which the deadline is what ends the attempt. */
const shortTimeoutMs = 150;

const deliver = (url: string, more: Partial<HttpRequest> = {}, agent = agentWith()) =>
  deliverHttp(agent, { url, method: 'POST', headers: {}, body: '{}', timeoutMs: longTimeoutMs, ...more });

/** What becomes of a delivery when the endpoint answers like this. */
async function outcomeOf(answer: (response: ServerResponse) => void, more: Partial<HttpRequest> = {}) {
  await using receiver = await startReceiver((_, response) => answer(response));
  return await deliver(receiver.url, more);
}

/** The same for an endpoint that writes its bytes itself. */
async function outcomeOfRaw(answer: (socket: Socket) => void, more: Partial<HttpRequest> = {}) {
  await using server = await startRawServer(answer);
  return await deliver(server.url, more);
}

const failed = (
  retryable: boolean,
  statusCode: number | null,
  error: string,
  response: string | null = null,
) => ({
  kind: 'failed',
  retryable,
  statusCode,
  error,
  response,
});
const unanswered = (error: string) => failed(true, null, error);

/** Writes on until the other side has had enough. Resolves when the connection is gone. */
function writeForever(response: ServerResponse | Socket, chunk: Buffer): void {
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
}

describe('deliverHttp', () => {
  it('sends method, path, query, headers and body as they are', async () => {
    await using receiver = await startReceiver();
    await deliver(`${receiver.url}/a%20b/?c=d&e=%C3%A9`, {
      method: 'PATCH',
      headers: { 'X-Test': 'yes', 'content-type': 'application/json' },
      body: '{"name":"Łódź"}',
    });
    const [request] = receiver.requests;
    expect(request).toMatchObject({
      method: 'PATCH',
      path: '/a%20b/?c=d&e=%C3%A9',
      body: '{"name":"Łódź"}',
      headers: {
        'x-test': 'yes',
        'content-type': 'application/json',
        'content-length': '18',
        host: new URL(receiver.url).host,
      },
    });
  });

  it.each([200, 201, 202, 206, 299])('takes a %i as success, with its body', async (status) => {
    expect(await outcomeOf((response) => void response.writeHead(status).end('thanks'))).toEqual({
      kind: 'succeeded',
      statusCode: status,
      response: 'thanks',
    });
  });

  it.each([200, 204])('has no response when a %i has no body', async (status) => {
    expect(await outcomeOf((response) => void response.writeHead(status).end())).toEqual({
      kind: 'succeeded',
      statusCode: status,
      response: null,
    });
  });

  it.each([300, 301, 302, 303, 304, 307, 308])(
    'does not follow a %i and does not retry it',
    async (status) => {
      await using receiver = await startReceiver(
        (_, response) => void response.writeHead(status, { location: '/elsewhere' }).end(),
      );
      expect(await deliver(receiver.url)).toEqual(
        failed(false, status, `http: status ${status}, redirects are not followed`),
      );
      expect(receiver.requests).toHaveLength(1);
    },
  );

  it.each([
    [400, false],
    [404, false],
    [408, true],
    [409, true],
    [425, true],
    [429, true],
    [500, true],
    [503, true],
    [599, true],
  ])('a %i fails with its body; retryable: %s', async (status, retryable) => {
    expect(await outcomeOf((response) => void response.writeHead(status).end('no'))).toEqual(
      failed(retryable, status, `http: status ${status}`, 'no'),
    );
  });

  it.each([
    ['410 Gone', 410, {}, 'disable'],
    ['its header', 400, { 'webhook-delivery': 'disable' }, 'disable'],
    ['its header, written otherwise', 503, { 'Webhook-Delivery': ' Disable ' }, 'disable'],
    ['its header', 500, { 'webhook-delivery': 'abort-message' }, 'abort'],
    ['nothing that is known', 500, { 'webhook-delivery': 'abort' }, undefined],
    ['what cannot be one thing', 500, { 'webhook-delivery': ['disable', 'abort-message'] }, undefined],
  ] as const)('hears what an endpoint demands by %s: %i %o', async (_, status, headers, demand) => {
    const outcome = await outcomeOf(
      (response) => void response.writeHead(status, { ...headers } as never).end(),
    );
    expect(outcome).toMatchObject({ kind: 'failed', statusCode: status });
    expect('demand' in outcome ? outcome.demand : undefined).toBe(demand);
  });

  it('hears of a success that it shall be the last one, and not that it shall not be repeated', async () => {
    const outcomeWith = (demand: string) =>
      outcomeOf((response) => void response.writeHead(200, { 'webhook-delivery': demand }).end());
    expect(await outcomeWith('disable')).toMatchObject({ kind: 'succeeded', demand: 'disable' });
    expect(await outcomeWith('abort-message')).not.toHaveProperty('demand');
  });

  it('hands on when the endpoint wants to be asked again', async () => {
    const outcome = await outcomeOf(
      (response) => void response.writeHead(429, { 'retry-after': '120' }).end(),
    );
    expect(outcome).toMatchObject({ kind: 'failed', retryable: true, retryAfter: '120' });
  });

  it('waits for the answer behind a 103', async () => {
    const outcome = await outcomeOf((response) => {
      response.writeEarlyHints({ link: '</a.css>; rel=preload' });
      response.writeProcessing();
      response.writeHead(201).end('done');
    });
    expect(outcome).toEqual({ kind: 'succeeded', statusCode: 201, response: 'done' });
  });

  it('rejects when the agent has been closed, which says nothing about the target', async () => {
    const agent = agentWith();
    await agent.close();
    await expect(deliver('http://127.0.0.1:9/', {}, agent)).rejects.toMatchObject({
      code: 'UND_ERR_DESTROYED',
    });
  });
});

describe('deliverHttp, the response', () => {
  it('keeps a body of exactly the limit whole', async () => {
    const body = 'x'.repeat(maxResponseBytes);
    expect(await outcomeOf((response) => void response.end(body))).toMatchObject({ response: body });
  });

  it('cuts a larger one at a character border', async () => {
    // 4,095 bytes, then a character of two: it does not fit whole.
    const body = `${'x'.repeat(maxResponseBytes - 1)}é and more`;
    expect(await outcomeOf((response) => void response.end(body))).toEqual({
      kind: 'succeeded',
      statusCode: 200,
      response: 'x'.repeat(maxResponseBytes - 1),
    });
  });

  it('puts a character together that arrives in two pieces', async () => {
    const [first, second] = [Buffer.from('é').subarray(0, 1), Buffer.from('é').subarray(1)];
    const outcome = await outcomeOf((response) => {
      response.write(first);
      response.flushHeaders();
      setImmediate(() => response.end(second));
    });
    expect(outcome).toMatchObject({ response: 'é' });
  });

  it('replaces what is not UTF-8, and U+0000', async () => {
    const body = Buffer.from([0x61, 0xff, 0x62, 0x00, 0x63, 0xc3]);
    expect(await outcomeOf((response) => void response.end(body))).toMatchObject({
      response: 'a\uFFFDb\uFFFDc\uFFFD',
    });
  });

  it('stays within the limit when what is replaced takes more room', async () => {
    const outcome = await outcomeOf((response) => void response.end(Buffer.alloc(100_000, 0xff)));
    expect(outcome.response).toBe('\uFFFD'.repeat(Math.floor(maxResponseBytes / 3)));
  });

  it('does not decompress', async () => {
    const outcome = await outcomeOf((response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(1_000_000)));
    });
    expect(outcome).toMatchObject({ kind: 'succeeded', statusCode: 200 });
    expect(outcome.response?.startsWith('\u001F')).toBe(true);
  });

  it('is storable text within the limit, whatever the bytes are', async () => {
    let body = Buffer.alloc(0);
    await using receiver = await startReceiver((_, response) => void response.end(body));
    const agent = agentWith();
    const text = fc.string({ unit: 'binary', maxLength: 3000 }).map((value) => Buffer.from(value));
    const bytes = fc.uint8Array({ maxLength: 6000 }).map((value) => Buffer.from(value));
    await fc.assert(
      fc.asyncProperty(fc.oneof(text, bytes), async (sent) => {
        body = sent;
        const { response } = await deliver(receiver.url, {}, agent);
        const whole = new TextDecoder().decode(sent).replaceAll('\u0000', '\uFFFD');
        expect(whole.startsWith(response ?? '')).toBe(true);
        expect(response?.isWellFormed() ?? true).toBe(true);
        const size = Buffer.byteLength(response ?? '');
        expect(size).toBeLessThanOrEqual(maxResponseBytes);
        // Nothing is cut that would have fitted.
        if (Buffer.byteLength(whole) <= maxResponseBytes && sent.length <= maxResponseBytes) {
          expect(response ?? '').toBe(whole);
        } else {
          expect(size).toBeGreaterThan(maxResponseBytes - 4);
        }
      }),
      { numRuns: 200, examples: [[Buffer.from('é'.repeat(2049))], [Buffer.from(`x${'é'.repeat(2048)}`)]] },
    );
  });

  it('of 50 MB is cut off by hanging up, and is no failure', async () => {
    const gone = Promise.withResolvers<'read to its end' | 'cut off'>();
    await using receiver = await startReceiver((_, response) => {
      response.once('close', () => gone.resolve(response.writableFinished ? 'read to its end' : 'cut off'));
      response.writeHead(200, { 'content-length': 50_000_000 }).end(Buffer.alloc(50_000_000, 'x'));
    });
    expect(await deliver(receiver.url)).toEqual({
      kind: 'succeeded',
      statusCode: 200,
      response: 'x'.repeat(maxResponseBytes),
    });
    expect(await gone.promise).toBe('cut off');
  });

  it('that floods without an end is cut off, and is no failure', async () => {
    const outcome = await outcomeOf((response) => writeForever(response, Buffer.alloc(16_384, 'x')));
    expect(outcome).toEqual({
      kind: 'succeeded',
      statusCode: 200,
      response: 'x'.repeat(maxResponseBytes),
    });
  });

  it('that never ends is cut off at the deadline, and is no failure', async () => {
    expect(
      await outcomeOf((response) => void response.write('so far'), { timeoutMs: shortTimeoutMs }),
    ).toEqual({
      kind: 'succeeded',
      statusCode: 200,
      response: 'so far',
      isBrokenOff: true,
    });
  });

  it('that drips is cut off at the deadline, however steadily it drips', async () => {
    const outcome = await outcomeOf(
      (response) => {
        const drip = setInterval(() => response.write('.'), 5);
        response.once('close', () => clearInterval(drip));
      },
      { timeoutMs: shortTimeoutMs },
    );
    expect(outcome).toMatchObject({ kind: 'succeeded', statusCode: 200 });
    expect(outcome.response).toMatch(/^\.+$/u);
  });

  it('that breaks off is kept as far as it came, and is no failure', async () => {
    const outcome = await outcomeOfRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nso far');
      // Half a character is left out, and not taken for something that is not UTF-8.
      socket.end(Buffer.from('é').subarray(0, 1));
    });
    expect(outcome).toEqual({
      kind: 'succeeded',
      statusCode: 200,
      response: 'so far',
      isBrokenOff: true,
    });
  });

  it('that is reset is no failure', async () => {
    const outcome = await outcomeOfRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nso far\r\n', () =>
        setImmediate(() => socket.resetAndDestroy()),
      );
    });
    expect(outcome).toMatchObject({ kind: 'succeeded', statusCode: 200 });
  });

  it('that is not valid chunks is no failure', async () => {
    const outcome = await outcomeOfRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nthis is no chunk size\r\n');
    });
    expect(outcome).toEqual({ kind: 'succeeded', statusCode: 200, response: null });
  });

  it('of a failure that never ends leaves the failure what it is', async () => {
    const outcome = await outcomeOf((response) => void response.writeHead(503).write('broken'), {
      timeoutMs: shortTimeoutMs,
    });
    expect(outcome).toEqual({
      ...failed(true, 503, 'http: status 503', 'broken'),
      isBrokenOff: true,
    });
  });
});

describe('deliverHttp, no answer', () => {
  it('says that the target refuses the connection', async () => {
    expect(await deliver(`http://127.0.0.1:${await closedPort()}/`)).toEqual(
      unanswered('connection: refused by the target'),
    );
  });

  it('says that the target resets the connection', async () => {
    expect(await outcomeOfRaw((socket) => void socket.resetAndDestroy())).toEqual(
      unanswered('connection: reset by the target'),
    );
  });

  it('says that the target hangs up', async () => {
    expect(await outcomeOfRaw((socket) => void socket.end())).toEqual(
      unanswered('connection: closed by the target before it answered'),
    );
  });

  it('says that the target does not answer in time, and hangs up', async () => {
    await using server = await startRawServer(() => {});
    expect(await deliver(server.url, { timeoutMs: shortTimeoutMs })).toEqual(
      unanswered(`timeout: no answer within ${shortTimeoutMs} ms`),
    );
    const socket = await server.firstSocket;
    if (!socket.destroyed) await once(socket, 'close');
  });

  it('gives up a TLS handshake that is never answered', async () => {
    await using server = await startRawServer(() => {});
    const url = server.url.replace('http:', 'https:');
    expect(await deliver(url, { timeoutMs: shortTimeoutMs })).toEqual(
      unanswered(`timeout: no answer within ${shortTimeoutMs} ms`),
    );
    const socket = await server.firstSocket;
    if (!socket.destroyed) await once(socket, 'close');
  });

  it('does not wait longer for headers that drip', async () => {
    const outcome = await outcomeOfRaw(
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\n');
        const drip = setInterval(() => socket.write('x-a: b\r\n'), 5);
        socket.once('close', () => clearInterval(drip));
      },
      { timeoutMs: shortTimeoutMs },
    );
    expect(outcome).toEqual(unanswered(`timeout: no answer within ${shortTimeoutMs} ms`));
  });

  it('does not wait longer for an answer behind 103s without an end', async () => {
    const outcome = await outcomeOfRaw(
      (socket) => {
        const drip = setInterval(() => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 5);
        socket.once('close', () => clearInterval(drip));
      },
      { timeoutMs: shortTimeoutMs },
    );
    expect(outcome).toEqual(unanswered(`timeout: no answer within ${shortTimeoutMs} ms`));
  });

  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['a broken status line', 'HTTP/1.1 abc\r\n\r\n'],
    ['a broken header', 'HTTP/1.1 200 OK\r\nbad header\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx'],
  ])('says that %s is not HTTP', async (_, bytes) => {
    expect(await outcomeOfRaw((socket) => void socket.write(bytes))).toEqual(
      unanswered('http: the answer is not valid HTTP/1.1'),
    );
  });

  it.each([
    ['one huge header', `x-a: ${'a'.repeat(100_000)}\r\n`],
    ['many headers', 'x-a: b\r\n'.repeat(10_000)],
  ])('says that %s is too much', async (_, headers) => {
    expect(await outcomeOfRaw((socket) => void socket.write(`HTTP/1.1 200 OK\r\n${headers}\r\n`))).toEqual(
      unanswered('http: the headers of the answer are too large'),
    );
  });

  it('does not read headers without an end', async () => {
    const outcome = await outcomeOfRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      writeForever(socket, Buffer.from('x-a: b\r\n'.repeat(1000)));
    });
    expect(outcome).toEqual(unanswered('http: the headers of the answer are too large'));
  });

  it.each(['100 Continue', '101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket'])(
    'says that nobody asked for a %j',
    async (status) => {
      expect(await outcomeOfRaw((socket) => void socket.write(`HTTP/1.1 ${status}\r\n\r\n`))).toEqual(
        unanswered('http: an answer that the request did not ask for'),
      );
    },
  );
});

describe('deliverHttp, names and addresses', () => {
  const failing = (code: string) =>
    createAddressGuard(loopback, (_host, _options, callback) =>
      callback(Object.assign(new Error(code), { code, syscall: 'getaddrinfo' }), []),
    );

  it.each([
    ['ENOTFOUND', 'dns: no address for crm.example'],
    ['EAI_AGAIN', 'dns: crm.example could not be resolved (EAI_AGAIN)'],
  ])('says that a name cannot be resolved: %s', async (code, error) => {
    expect(await deliver('http://crm.example/', {}, agentWith(failing(code)))).toEqual(unanswered(error));
  });

  it.each([
    ['http://127.0.0.1:9/', '127.0.0.1 is a loopback address'],
    ['https://[::ffff:10.0.0.1]/', '::ffff:a00:1 is a private address'],
    ['http://2852039166/latest/meta-data/', '169.254.169.254 is a link-local address'],
    ['http://localhost:9/', 'localhost is a loopback name'],
  ])('refuses %s for good', async (url, problem) => {
    const guard = createAddressGuard({ allowCidrs: [], allowLoopback: false });
    expect(await deliver(url, {}, agentWith(guard))).toEqual(
      failed(false, null, `refused address: ${problem}`),
    );
  });

  it('refuses a name that resolves to a refused address', async () => {
    const guard = createAddressGuard(loopback, (_host, _options, callback) =>
      callback(null, [{ address: '10.0.0.1', family: 4 }]),
    );
    expect(await deliver('https://crm.example/', {}, agentWith(guard))).toEqual(
      failed(false, null, 'refused address: 10.0.0.1 is a private address (of crm.example)'),
    );
  });

  it('sends nothing when the connection comes about after the deadline', async () => {
    await using receiver = await startReceiver();
    // An agent that goes on connecting, whatever becomes of the request.
    const connect = buildConnector({ allowH2: false });
    const asked = Promise.withResolvers<() => void>();
    const connected = Promise.withResolvers<void>();
    const agent = new Agent({
      allowH2: false,
      connect: (options, callback) =>
        asked.resolve(() =>
          connect(options, (...result) => {
            callback(...result);
            connected.resolve();
          }),
        ),
    });
    agents.push(agent);
    const late = deliver(`${receiver.url}/late`, { timeoutMs: shortTimeoutMs }, agent);
    const goOn = await asked.promise;
    expect(await late).toEqual(unanswered(`timeout: no answer within ${shortTimeoutMs} ms`));
    goOn();
    await connected.promise;
    await deliver(`${receiver.url}/next`);
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/next']);
  });
});

describe('deliverHttp, connections and timers', () => {
  it('uses a connection again after a small response', async () => {
    await using receiver = await startReceiver(
      (_, response) => void response.end('x'.repeat(maxResponseBytes)),
    );
    const agent = agentWith();
    for (let sent = 0; sent < 20; sent += 1) await deliver(receiver.url, {}, agent);
    // Two and not one: a connection is free one turn of the event loop after its answer, and these follow at once.
    expect(receiver.connectionCount()).toBeLessThanOrEqual(2);
  });

  it('does not use a connection again on which an answer is still to come', async () => {
    const late: (() => void)[] = [];
    await using receiver = await startReceiver(({ path }, response) => {
      if (path === '/slow') late.push(() => response.end('late'));
      else response.end('in time');
    });
    const agent = agentWith();
    const slow = await deliver(`${receiver.url}/slow`, { timeoutMs: shortTimeoutMs }, agent);
    expect(slow).toEqual(unanswered(`timeout: no answer within ${shortTimeoutMs} ms`));
    for (const answer of late) answer();
    expect(await deliver(`${receiver.url}/next`, {}, agent)).toMatchObject({ response: 'in time' });
  });

  it('does not hold other deliveries to the same target up behind a slow one', async () => {
    const release = Promise.withResolvers<void>();
    await using receiver = await startReceiver(async ({ path }, response) => {
      if (path === '/slow') await release.promise;
      response.end();
    });
    const agent = agentWith();
    const slow = deliver(`${receiver.url}/slow`, {}, agent);
    await receiver.waitForRequests(1);
    expect(await deliver(`${receiver.url}/fast`, {}, agent)).toMatchObject({ kind: 'succeeded' });
    release.resolve();
    expect(await slow).toMatchObject({ kind: 'succeeded' });
  });

  it('leaves no timer behind', async () => {
    await using receiver = await startReceiver();
    const agent = agentWith();
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    const deliveries = Array.from({ length: 20 }, () => deliver(receiver.url, {}, agent));
    const during = timers();
    await Promise.all(deliveries);
    expect(during - before).toBeGreaterThanOrEqual(20);
    expect(timers() - before).toBeLessThan(5);
  });

  it('sees an answer that has arrived while this process was busy past the deadline', async () => {
    await using server = await startRawServer((socket) => socket.end('HTTP/1.1 204 No Content\r\n\r\n'));
    const agent = agentWith();
    const delivery = deliver(server.url, { timeoutMs: 100 }, agent);
    const socket = await server.firstSocket;
    // The answer is written now; blocking from here on keeps the client from reading it in time.
    await once(socket, 'data');
    const until = Date.now() + 200;
    while (Date.now() < until);
    expect(await delivery).toMatchObject({ kind: 'succeeded', statusCode: 204 });
  });
});

describe('deliverHttp, TLS', () => {
  it('refuses a certificate that nobody trusts, and retries', async () => {
    await using receiver = await startReceiver(undefined, { tls: selfSigned() });
    expect(await deliver(receiver.url)).toEqual(unanswered('tls: self-signed certificate'));
    expect(receiver.requests).toEqual([]);
  });

  it('says that the endpoint does not speak TLS', async () => {
    await using receiver = await startReceiver();
    const outcome = await deliver(receiver.url.replace('http:', 'https:'));
    expect(outcome).toEqual(unanswered('tls: wrong version number'));
  });

  describe('with a certificate that is trusted', () => {
    const trusted = getCACertificates('default');
    afterEach(() => setDefaultCACertificates(trusted));
    const trust = (certificate: { key: string; cert: string }) => {
      setDefaultCACertificates([...trusted, certificate.cert]);
      return certificate;
    };

    it('delivers', async () => {
      await using receiver = await startReceiver(undefined, { tls: trust(selfSigned()) });
      expect(await deliver(receiver.url)).toEqual({ kind: 'succeeded', statusCode: 204, response: null });
    });

    it('refuses one that has expired', async () => {
      await using receiver = await startReceiver(undefined, {
        tls: trust(selfSigned({ notAfter: '200101000000Z' })),
      });
      expect(await deliver(receiver.url)).toEqual(unanswered('tls: certificate has expired'));
    });

    it('refuses one for another host', async () => {
      await using receiver = await startReceiver(undefined, {
        tls: trust(selfSigned({ address: [10, 0, 0, 1] })),
      });
      expect(await deliver(receiver.url)).toEqual(unanswered('tls: the certificate is not for 127.0.0.1'));
    });
  });
});

describe('isRetryableStatus', () => {
  it('is true for 408, 409, 425, 429 and 5xx, and for nothing else', () => {
    const retryable = Array.from({ length: 1000 }, (_, status) => status).filter(isRetryableStatus);
    const serverErrors = Array.from({ length: 100 }, (_, index) => 500 + index);
    expect(retryable).toEqual([408, 409, 425, 429, ...serverErrors]);
  });
});
