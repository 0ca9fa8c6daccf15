import { AsyncLocalStorage } from 'node:async_hooks';
import { Socket } from 'node:net';
import { Agent, buildConnector } from 'undici';
import { AddressRefusedError, type AddressGuard } from './address-guard.ts';

/**
 * Run `dispatch` inside it with the signal of the request's deadline, and a connection that is being opened for
 * the request is given up with it. undici itself forgets the request but goes on connecting: an endpoint that
 * swallows packets would hold a file descriptor for every attempt, of which Lambda has 1,024.
 */
export const connectSignal = new AsyncLocalStorage<AbortSignal>();

// As long as a handler's longest timeout: the deadline of a request comes first, this only ends what it missed.
const connectTimeoutMs = 30_000;

/**
 * The pool of connections for all HTTP targets: one for each process, closed with `agent.close()`.
 * It connects to no address that the guard refuses (the request fails with `AddressRefusedError`), verifies
 * TLS, and follows no redirects: whoever is asked to call one URL must not end up at another.
 */
export function createAgent(guard: AddressGuard): Agent {
  return new Agent({
    connect: guardedConnector(guard),
    // Not HTTP/2: it is no faster here, and undici would hold all first requests of an origin back until one
    // connection has negotiated.
    allowH2: false,
    // One request at a time on a connection: a slow answer must not hold up the next delivery.
    pipelining: 1,
    // There is no `connections` on purpose: a request that waits in undici's queue uses up its timeout without
    // having been sent. Whoever calls bounds how many are under way.
    // Shorter than the 5 s after which Node and Apache close an idle connection: a request sent into a closing
    // connection is a failed attempt. A target that announces more (`Keep-Alive: timeout=60`) gets more.
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 60_000,
    // By the wall clock, at the next use: Lambda freezes timers between invocations. It also brings a changed
    // DNS entry into effect.
    clientTtl: 300_000,
    // Off: every request brings its own deadline for the whole of it, and these would be coarser (500 ms).
    headersTimeout: 0,
    bodyTimeout: 0,
    // What a target can make this process hold before its status is known. Node's default, whatever Node is told.
    maxHeaderSize: 16_384,
  });
}

function guardedConnector(guard: AddressGuard): buildConnector.connector {
  const connect = buildConnector({
    allowH2: false,
    timeout: connectTimeoutMs,
    lookup: guard.lookup,
    // Said, because the default is what NODE_TLS_REJECT_UNAUTHORIZED says.
    rejectUnauthorized: true,
    autoSelectFamily: true,
    // Node gives up on an address after 250 ms and tries the next: too soon for a target on another continent
    // whose other address cannot be reached from here.
    autoSelectFamilyAttemptTimeout: 1_000,
  });
  return (options, callback) => {
    // net.connect never looks up an address that is written as one, so `lookup` alone would miss those.
    const problem = guard.hostProblem(options.hostname);
    if (problem !== null) {
      callback(new AddressRefusedError(options.hostname, options.hostname, problem), null);
      return;
    }
    const signal = connectSignal.getStore();
    const giveUp = () => {
      if (connecting instanceof Socket) connecting.destroy(new Error('given up at the deadline'));
    };
    // It returns the socket, though its type does not say so.
    const connecting: unknown = connect(options, (error, socket) => {
      signal?.removeEventListener('abort', giveUp);
      if (error !== null) {
        callback(error, null);
        return;
      }
      // Again, on what was really connected to. Without an address the target has already hung up.
      const address = socket.remoteAddress;
      const refused = address === undefined ? null : guard.addressProblem(address);
      if (address !== undefined && refused === null) {
        callback(null, socket);
        return;
      }
      socket.destroy();
      callback(
        address === undefined || refused === null
          ? Object.assign(new Error('closed while connecting'), { code: 'ECONNRESET' })
          : new AddressRefusedError(options.hostname, address, refused),
        null,
      );
    });
    signal?.addEventListener('abort', giveUp, { once: true });
  };
}
