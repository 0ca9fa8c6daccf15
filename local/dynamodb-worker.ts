// The thread in which the embedded DynamoDB runs, so that its work never holds up the engine's own.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { ClassicLevel } from 'classic-level';
import './atomic-index.ts';
import './closed-iterators.ts';
import dynalite from 'dynalite';

if (parentPort === null) throw new Error('This file runs as a thread only.');
const { folder, accessKeyId } = workerData as { folder: string | null; accessKeyId: string };

// What dynalite does not expect (a full disk, say) it throws, which ends the thread and with it the engine. That
// is meant: after a failed write LevelDB refuses all others until it is opened again.
// dynalite reads an item before it writes one, and LevelDB answers from memory in a few microseconds; the detour through
// libuv's thread pool costs ten times that. This thread has nothing else to do while it waits.
const level = ClassicLevel.prototype as unknown as Record<
  '_get' | '_getSync' | '_open',
  (...args: unknown[]) => unknown
>;
level._get = async function get(this: typeof level, ...args) {
  return this._getSync(...args);
};

// LevelDB keeps the index of every file in memory, a key of some 150 bytes for each block. Its blocks of 4 KB are compressed to a tenth, so that
// 100,000 executions would add 12 MB.
const { _open: open } = level;
level._open = function withLargeBlocks(this: typeof level, options) {
  return open.call(this, { ...(options as object), blockSize: 65_536 });
};

const server = dynalite({
  ...(folder !== null && { path: folder }),
  createTableMs: 0,
  updateTableMs: 0,
  deleteTableMs: 0,
});
// dynalite takes any credentials and lets every web page in (CORS). Its port is on loopback, where other users, a page
// in a browser and the handlers' own targets can reach it: so it hears only who has the key of this start.
const [answer] = server.listeners('request') as ((
  request: IncomingMessage,
  response: ServerResponse,
) => void)[];
server.removeAllListeners('request');
server.on('request', (request: IncomingMessage, response: ServerResponse) => {
  const isOurs = request.headers.authorization?.includes(`Credential=${accessKeyId}/`) === true;
  if (isOurs && request.headers.origin === undefined) answer?.(request, response);
  else response.writeHead(403).end();
});
// dynalite throws when a client goes away in the middle of a request, which would end the thread. This listener
// runs after the one that installs the throwing one.
server.on('request', (request: IncomingMessage) => {
  request.removeAllListeners('error');
  request.on('error', () => undefined);
});
// The clients keep their connections for longer than Node's 5 s, and a request must not meet a closing one.
server.keepAliveTimeout = 0;

server.listen(0, '127.0.0.1');
await once(server, 'listening');
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
parentPort.postMessage({ port: (server.address() as AddressInfo).port });

await once(parentPort, 'message');
// LevelDB is closed when the last connection is.
server.close(() => parentPort?.close());
server.closeAllConnections();
