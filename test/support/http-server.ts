import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';

import { signatureProblem } from './known-secrets.ts';

const loopback = '127.0.0.1';

export type ReceivedRequest = {
  method: string;
  /** Path and query. */
  path: string;
  /** Names in lower case. */
  headers: IncomingHttpHeaders;
  body: string;
  /** When the whole request had arrived. */
  at: Date;
};

export type Respond = (request: ReceivedRequest, response: ServerResponse) => void | Promise<void>;

export type Receiver = AsyncDisposable & {
  /** `http://127.0.0.1:<port>`, no slash at the end. */
  url: string;
  port: number;
  /** In the order of their arrival. */
  requests: ReceivedRequest[];
  /** Connections that were ever opened to it. */
  connectionCount: () => number;
  /** Resolves with all requests as soon as there are `count` of them. */
  waitForRequests: (count: number) => Promise<ReceivedRequest[]>;
  /** Rejects when a delivery of a handler of this test was not signed with its secret. */
  close: () => Promise<void>;
};

/**
 * A real HTTP endpoint on loopback, or on another address of this machine. `respond` is called when a request has arrived
 * completely; without it every request gets a 204. With `tls` it speaks HTTPS.
 */
export async function startReceiver(
  respond: Respond = (_, response) => void response.writeHead(204).end(),
  { tls, host = loopback }: { tls?: { key: string; cert: string }; host?: string } = {},
): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  const waiting = new Set<() => void>();
  const problems: string[] = [];
  const server = tls === undefined ? createServer() : createTlsServer(tls);
  let connections = 0;
  server.on('connection', () => (connections += 1));
  server.on('request', (incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const request: ReceivedRequest = {
        method: incoming.method ?? '',
        path: incoming.url ?? '',
        headers: incoming.headers,
        body: Buffer.concat(chunks).toString(),
        at: new Date(),
      };
      requests.push(request);
      const problem = signatureProblem(request);
      if (problem !== null) problems.push(problem);
      for (const check of waiting) check();
      void respond(request, response);
    });
  });
  const port = await listen(server, host);
  const close = async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    if (problems.length > 0) throw new Error(problems.join('\n'));
  };
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host}:${port}`,
    port,
    requests,
    connectionCount: () => connections,
    waitForRequests: (count) =>
      new Promise((resolve) => {
        const check = () => {
          if (requests.length < count) return;
          waiting.delete(check);
          resolve(requests);
        };
        waiting.add(check);
        check();
      }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

export type RawServer = AsyncDisposable & {
  url: string;
  port: number;
  /** Every connection that was ever opened to it, closed ones too. */
  sockets: Socket[];
  /** Resolves with the first connection. */
  firstSocket: Promise<Socket>;
  close: () => Promise<void>;
};

/** A TCP endpoint that says whatever `answer` writes, once the first bytes of a connection have arrived. */
export async function startRawServer(answer: (socket: Socket) => void): Promise<RawServer> {
  const sockets: Socket[] = [];
  const first = Promise.withResolvers<Socket>();
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    // The client hangs up on most of what is tried here; that is the client's right.
    socket.on('error', () => {});
    socket.once('data', () => answer(socket));
    first.resolve(socket);
  });
  const port = await listen(server);
  const close = async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    sockets,
    firstSocket: first.promise,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A port on loopback on which nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createTcpServer();
  const port = await listen(server);
  server.close();
  await once(server, 'close');
  return port;
}

async function listen(server: Server, host = loopback): Promise<number> {
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
