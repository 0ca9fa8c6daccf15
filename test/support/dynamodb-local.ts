import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

const projectFile = fileURLToPath(new URL('../dynamodb-local/pom.xml', import.meta.url));
const guardFile = fileURLToPath(new URL('until-stdin-closes.ts', import.meta.url));
const cacheFolder = fileURLToPath(new URL('../../.dynamodb-local', import.meta.url));
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/DynamoDBLocal.DownloadingAndRunning.html
const oldestJava = 17;
const fetchTimeoutMs = 300_000;
const startTimeoutMs = 60_000;
const askEveryMs = 50;

/** What this machine lacks, in one sentence for the person at the terminal. */
export class MissingToolError extends Error {
  override name = 'MissingToolError' as const;
}

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
 * Has Maven fetch DynamoDB Local, once for each content of its pom.xml. Throws a MissingToolError.
 *
 * @returns the folder of its libraries
 */
export async function fetchDynamoDbLocal(folder = cacheFolder): Promise<string> {
  await requireJava();
  const project = createHash('sha256').update(await readFile(projectFile));
  const libraries = join(folder, project.digest('hex').slice(0, 12));
  if (existsSync(libraries)) return libraries;

  // Under another name until it is complete: an interrupted run leaves nothing that looks so.
  const unfinished = `${libraries}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true });
  const options = ['--quiet', '--batch-mode', '--strict-checksums', '--file', projectFile];
  // Not the short `dependency:`: without a network Maven says only that it knows no such prefix.
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies';
  await run('mvn', [...options, goal, `-DoutputDirectory=${unfinished}`], { timeout: fetchTimeoutMs }).catch(
    (cause: Error & { code?: unknown; stdout?: string }) => {
      throw new MissingToolError(
        cause.code === 'ENOENT'
          ? 'Maven is needed here, as mvn in the PATH; it cannot be started.'
          : `Maven cannot fetch DynamoDB Local: ${firstError(cause.stdout) ?? cause.message}`,
        { cause },
      );
    },
  );
  await rename(unfinished, libraries);
  return libraries;
}

/** Of what Maven prints, the first line that says what is wrong. */
const firstError = (printed = ''): string | undefined =>
  /\[ERROR\] (.+?)(?: -> \[Help 1\])?$/mu.exec(printed)?.[1];

async function requireJava(): Promise<void> {
  const wanted = `Java ${oldestJava} or later is needed here, as java in the PATH`;
  const { stderr } = await run('java', ['-version']).catch((cause: unknown) => {
    throw new MissingToolError(`${wanted}; it cannot be started.`, { cause });
  });
  // `openjdk version "17.0.15" 2025-04-15`, and `java version "1.8.0_292"` up to Java 8.
  const version = /version "(.+?)"/u.exec(stderr)?.[1] ?? 'unknown';
  if (!(Number.parseInt(version, 10) >= oldestJava)) {
    throw new MissingToolError(`${wanted}; this is ${version}.`);
  }
}
