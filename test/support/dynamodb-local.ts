import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { fetchLibraries } from './maven.ts';

const projectFile = fileURLToPath(new URL('../dynamodb-local/pom.xml', import.meta.url));
const guardFile = fileURLToPath(new URL('until-stdin-closes.ts', import.meta.url));
const cacheFolder = fileURLToPath(new URL('../../.dynamodb-local', import.meta.url));
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.DownloadingAndRunning.html
const oldestJava = 17;
const startTimeoutMs = 60_000;
const askEveryMs = 50;

export type DynamoDbLocal = {
  /** `http://127.0.0.1:<port>`. It takes any access key of letters and digits. */
  endpoint: string;
  /** Ends the process and waits for its end. */
  end: () => Promise<void>;
};

/**
 * Starts AWS's own DynamoDB for tests, empty, in memory and on a free port. It ends with this process, however that ends.
 * Throws a MissingToolError: there is no way round what it needs.
 */
export async function startDynamoDbLocal(folder = cacheFolder): Promise<DynamoDbLocal> {
  const libraries = await fetchDynamoDbLocal(folder);
  const port = await findFreePort();
  const java = [
    // Without it Java may take a quarter of the machine's memory before it cleans up.
    '-Xmx512m',
    `-Djava.library.path=${libraries}`,
    '-cp',
    join(libraries, '*'),
    'com.amazonaws.services.dynamodbv2.local.main.ServerRunner',
    // One does not work without the other.
    // https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.UsageNotes.html
    '-inMemory',
    '-sharedDb',
    '-disableTelemetry',
    '-port',
    String(port),
  ];
  const server = spawn(process.execPath, [guardFile, 'java', ...java], { stdio: 'pipe' });
  const printed: string[] = [];
  for (const stream of [server.stdout, server.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => printed.push(text));
  }
  const closed = once(server, 'close');
  const end = async (): Promise<void> => {
    server.stdin.end();
    await closed;
  };

  const endpoint = `http://127.0.0.1:${port}`;
  const abandoned = new AbortController();
  const ended = closed.then(([code]) => {
    throw new Error(`DynamoDB Local ended (${code}) before it was ready:\n${printed.join('')}`);
  });
  ended.catch(() => undefined);
  try {
    await Promise.race([isAnswering(endpoint, abandoned.signal), ended]);
  } catch (error) {
    await end();
    throw error;
  } finally {
    abandoned.abort();
  }
  return { endpoint, end };
}

// It prints its port before it listens, and nothing when it does.
async function isAnswering(endpoint: string, signal: AbortSignal): Promise<void> {
  const givesUpAt = Date.now() + startTimeoutMs;
  for (;;) {
    try {
      await fetch(endpoint, { signal });
      return;
    } catch (cause) {
      if (signal.aborted) return;
      if (Date.now() > givesUpAt) {
        throw new Error(`DynamoDB Local does not answer after ${startTimeoutMs / 1000} s.`, { cause });
      }
    }
    await delay(askEveryMs);
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Has Maven fetch DynamoDB Local. Throws a MissingToolError.
 *
 * @returns the folder of its libraries
 */
export const fetchDynamoDbLocal = (folder = cacheFolder): Promise<string> =>
  fetchLibraries({ name: 'DynamoDB Local', projectFile, folder, oldestJava });
