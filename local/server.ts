import { once } from 'node:events';
import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { log } from '../shared/log.ts';
import { StartError } from './start-error.ts';

/** How long a client may take to send one request. */
const requestTimeoutMs = 60_000;
/** Longer than the SDKs keep an idle connection in use, so that no request meets a closing one. */
const keepAliveTimeoutMs = 65_000;

export type RequestListener = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export type ListeningServer = {
  /** The one that was asked for, or the free one that was found. */
  port: number;
  /** Takes no new requests, waits up to `graceMs` for those under way and then cuts them off. */
  close(graceMs: number): Promise<void>;
};

/**
 * Serves HTTP on `host` and `port` (0: any free one). Throws a StartError that names PORT or HOST when it cannot
 * listen there.
 */
export async function listen(
  host: string,
  port: number,
  listener: RequestListener,
): Promise<ListeningServer> {
  const server = createServer({ requestTimeout: requestTimeoutMs, keepAliveTimeout: keepAliveTimeoutMs });
  server.on('request', (request, response) => {
    // A client that goes away is none of the engine's business, and without a listener it would end it.
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    listener(request, response).catch((error: unknown) => {
      log.error('request.failed', { method: request.method, path: request.url, error: error as Error });
      response.destroy();
    });
  });
  server.on('clientError', refuse);
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw listenError(error, host, port);
  }
  return { port: (server.address() as AddressInfo).port, close: (graceMs) => closeServer(server, graceMs) };
}

// By Node's own code for what is wrong, with its status: https://nodejs.org/api/http.html#event-clienterror
const refusals: Partial<Record<string, { status: number; detail: string }>> = {
  HPE_HEADER_OVERFLOW: { status: 431, detail: 'The URL and the headers together are too large.' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, detail: 'The chunk extensions of the body are too large.' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, detail: 'The request took too long to arrive.' },
};

/** Answers what is no request that a listener could get. Node's own answer would have no body, and the API's errors are problems. */
function refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, detail } = refusals[error.code ?? ''] ?? { status: 400, detail: 'This is not HTTP.' };
  const title = STATUS_CODES[status] ?? '';
  const body = JSON.stringify({ type: 'about:blank', title, status, detail });
  socket.end(
    [
      `HTTP/1.1 ${status} ${title}`,
      'connection: close',
      'content-type: application/problem+json',
      `content-length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ].join('\r\n'),
  );
}

async function closeServer(server: Server, graceMs: number): Promise<void> {
  // Closes idle connections too.
  server.close();
  const timer = setTimeout(() => server.closeAllConnections(), graceMs);
  await once(server, 'close');
  clearTimeout(timer);
}

function listenError(error: unknown, host: string, port: number): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EADDRINUSE') {
    return new StartError(
      `Port ${port} on ${host} is in use: set PORT to another one, or to 0 for any free one.`,
      {
        cause: error,
      },
    );
  }
  if (code === 'EACCES') {
    return new StartError(`Port ${port} may not be used by this user: set PORT to 1024 or above.`, {
      cause: error,
    });
  }
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
    return new StartError(`This machine does not have the address ${host}: set HOST to one that it has.`, {
      cause: error,
    });
  }
  return error;
}
