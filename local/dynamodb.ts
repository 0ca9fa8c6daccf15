import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DynamoDBClient,
  ListTablesCommand,
  waitUntilTableExists,
} from '@aws-sdk/client-dynamodb';
import { executionsTable, handlersTable } from '../shared/aws/tables.ts';
import { region } from './aws-identity.ts';
import { DiskError } from './disk-error.ts';
import { StartError } from './start-error.ts';

/** Where in the data folder the tables are. */
export const tablesFolder = 'dynamodb';

/** The names that the functions get in their environment. */
export const tableNames = { handlers: 'handlers', executions: 'executions' } as const;

export type EmbeddedDynamoDb = {
  /** `http://127.0.0.1:<port>`. */
  endpoint: string;
  /** What a client needs: the thread answers nobody else. Another one at every start. */
  credentials: { accessKeyId: string; secretAccessKey: string };
  /** Resolves when the thread ended although nobody stopped it. What needs the tables cannot go on then. */
  failed: Promise<Error>;
  /** Closes the files and ends the thread, by force after `graceMs`. */
  stop: (graceMs: number) => Promise<void>;
};

// Both limits or none: with the first alone the thread collects all the time and is half as fast, and without
// any it keeps 100 MB more. With 64 MB of old generation, eight writes at once of 25 items of 260 KB killed it.
const resourceLimits = { maxOldGenerationSizeMb: 192, maxYoungGenerationSizeMb: 32 };

const firstStopGraceMs = 5000;

const keySchema = (partitionKey: string, sortKey: string) => [
  { AttributeName: partitionKey, KeyType: 'HASH' as const },
  { AttributeName: sortKey, KeyType: 'RANGE' as const },
];

const textAttributes = (...names: string[]) =>
  names.map((AttributeName) => ({ AttributeName, AttributeType: 'S' as const }));

type TableNames = Record<keyof typeof tableNames, string>;

const { attention } = executionsTable;
const tablesNamed = (names: TableNames): (CreateTableCommandInput & { TableName: string })[] => [
  {
    TableName: names.handlers,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: textAttributes(handlersTable.partitionKey, handlersTable.sortKey),
    KeySchema: keySchema(handlersTable.partitionKey, handlersTable.sortKey),
  },
  {
    TableName: names.executions,
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: textAttributes(
      executionsTable.partitionKey,
      executionsTable.sortKey,
      attention.partitionKey,
      attention.sortKey,
    ),
    KeySchema: keySchema(executionsTable.partitionKey, executionsTable.sortKey),
    GlobalSecondaryIndexes: [
      {
        IndexName: attention.indexName,
        KeySchema: keySchema(attention.partitionKey, attention.sortKey),
        Projection: { ProjectionType: 'KEYS_ONLY' },
      },
    ],
  },
];

/** Makes the two tables where they are absent. An existing one is left as it is. */
export async function createTables(client: DynamoDBClient, names: TableNames = tableNames): Promise<void> {
  // Also the probe: a second opener of the same files listens like the first and fails at its first request.
  const { TableNames: present = [] } = await client.send(new ListTablesCommand({}));
  for (const table of tablesNamed(names)) {
    if (present.includes(table.TableName)) continue;
    await client.send(new CreateTableCommand(table));
    await waitUntilTableExists({ client, minDelay: 0.01, maxDelay: 0.1, maxWaitTime: 5 }, table);
  }
}

/**
 * Starts the embedded DynamoDB with both tables, in a thread of its own. Its data is in `folder`, or in memory
 * when that is null. Throws a StartError when another process has the folder open.
 */
export async function startDynamoDb(folder: string | null): Promise<EmbeddedDynamoDb> {
  if (folder !== null && !existsSync(folder)) await makeFolder(folder);
  return openFolder(folder);
}

/** Why the thread has died: a disk that is full, most often, or something that nobody has foreseen. */
function deathOf(cause: unknown): Error {
  const isDisk = cause instanceof Error && 'code' in cause && cause.code === 'LEVEL_IO_ERROR';
  return isDisk
    ? new DiskError(`The tables cannot be written: ${cause.message}.`, { cause })
    : new Error('The embedded DynamoDB died.', { cause });
}

// dynalite stores a new table twice, as CREATING and as ACTIVE: one whose process was killed in between could never be
// used nor deleted. So the tables are made under another name, and the folder appears with all of them or not at all.
async function makeFolder(folder: string): Promise<void> {
  const unfinished = `${folder}.new`;
  await rm(unfinished, { recursive: true, force: true });
  const { stop } = await openFolder(unfinished);
  await stop(firstStopGraceMs);
  await rename(unfinished, folder);
}

async function openFolder(folder: string | null): Promise<EmbeddedDynamoDb> {
  const credentials = { accessKeyId: randomBytes(16).toString('hex'), secretAccessKey: 'unused' };
  const worker = new Worker(new URL('dynamodb-worker.ts', import.meta.url), {
    workerData: { folder, accessKeyId: credentials.accessKeyId },
    resourceLimits,
    execArgv: [],
    env: { AWS_REGION: region },
  });
  let isStopping = false;
  let hasDied = false;
  const ended = Promise.withResolvers<Error>();
  worker.once('error', (cause: unknown) => ended.resolve(deathOf(cause)));
  worker.once('exit', (code) => {
    if (!isStopping) ended.resolve(new Error(`The embedded DynamoDB ended with code ${code}.`));
  });
  const exited = once(worker, 'exit');
  exited.catch(() => undefined);

  async function stop(graceMs: number): Promise<void> {
    isStopping = true;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
    worker.postMessage('stop');
    const timer = setTimeout(() => void worker.terminate(), graceMs);
    // Node may crash when the process ends while LevelDB is still closing in the thread.
    await exited.catch(() => undefined);
    clearTimeout(timer);
  }

  const failure = ended.promise.then((error) => {
    hasDied = true;
    throw error;
  });
  failure.catch(() => undefined);
  let client: DynamoDBClient | undefined;
  try {
    const [{ port }] = (await Promise.race([once(worker, 'message'), failure])) as [{ port: number }];
    const endpoint = `http://127.0.0.1:${port}`;
    client = new DynamoDBClient({
      endpoint,
      region,
      credentials,
      maxAttempts: 1,
    });
    await Promise.race([createTables(client), failure]);
    return { endpoint, credentials, failed: ended.promise, stop };
  } catch (error) {
    await stop(1000);
    // dynalite hides LevelDB's own reason; of the possible ones, a second engine is by far the likeliest.
    if (folder !== null && hasDied) {
      throw new StartError(
        `The tables in ${folder} cannot be opened: another engine is using the folder, its files are not readable, or the disk is full.`,
        { cause: error },
      );
    }
    throw error;
  } finally {
    client?.destroy();
  }
}
