import { readFile } from 'node:fs/promises';
import type { EngineProcess } from '../../test/support/engine.ts';

/** Node prints where its inspector listens, when it is started with this: twice, because the engine starts once more in its own place. */
export const withInspector = ['--inspect=127.0.0.1:0'];

/**
 * What a process and its threads hold after a garbage collection, in MB, without the mapped files of the tables, which the system may take
 * back. Without the collection one would measure when V8 last came to it. Linux only.
 */
export async function heldMemoryMb({ process: { pid }, lines }: EngineProcess): Promise<number> {
  const url = lines
    .map((line) => /^Debugger listening on (?<url>ws:\S+)/u.exec(line)?.groups?.['url'])
    .findLast(Boolean);
  if (url === undefined) throw new Error('The engine was started without its inspector.');
  await collectGarbage(url);
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/RssAnon:\s+(?<kb>\d+)/u.exec(status)?.groups?.['kb'] ?? Number.NaN) / 1024;
}

type InspectorMessage = { id?: number; method?: string; params?: { sessionId?: string; message?: string } };

/** Of the main thread and of all others, by the protocol of Chrome's developer tools. */
async function collectGarbage(url: string): Promise<void> {
  const socket = new WebSocket(url);
  const pending = new Map<number, () => void>();
  const threads: string[] = [];
  let lastId = 0;
  const ask = (method: string, wrap: (message: object) => object = (message) => message): Promise<void> =>
    new Promise((resolve) => {
      lastId += 1;
      pending.set(lastId, resolve);
      socket.send(JSON.stringify(wrap({ id: lastId, method, params: { waitForDebuggerOnStart: false } })));
    });
  socket.addEventListener('message', ({ data }) => {
    const { id, method, params } = JSON.parse(String(data)) as InspectorMessage;
    if (method === 'NodeWorker.attachedToWorker') threads.push(params?.sessionId ?? '');
    // What a thread answers comes wrapped in a message, with an id of its own.
    const inner = method === 'NodeWorker.receivedMessageFromWorker' ? params?.message : undefined;
    const answered = inner === undefined ? id : (JSON.parse(inner) as InspectorMessage).id;
    if (answered !== undefined) pending.get(answered)?.();
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', () => reject(new Error('The inspector of the engine does not answer.')));
  });
  try {
    await ask('NodeWorker.enable');
    await ask('HeapProfiler.collectGarbage');
    for (const sessionId of threads) {
      // Its answer, which comes first and says that the message was passed on, has no use and the id 0.
      await ask('HeapProfiler.collectGarbage', (message) => ({
        id: 0,
        method: 'NodeWorker.sendMessageToWorker',
        params: { sessionId, message: JSON.stringify(message) },
      }));
    }
  } finally {
    socket.close();
  }
}
