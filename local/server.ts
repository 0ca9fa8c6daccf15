import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
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
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw listenError(error, host, port);
  }
  return { port: (server.address() as AddressInfo).port, close: (graceMs) => closeServer(server, graceMs) };
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
