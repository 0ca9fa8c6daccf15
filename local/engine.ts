import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { eventsQueue } from '../shared/aws/queues.ts';
import { busName } from './aws-identity.ts';
import { createAwsEndpoint } from './aws-endpoint.ts';
import { type EngineConfig, isLoopback } from './config.ts';
import { openDataKeyFile } from './data-key.ts';
import { startDynamoDb, tableNames, tablesFolder } from './dynamodb.ts';
import { startEventSource } from './event-source.ts';
import { setFunctionEnvironment } from './function-environment.ts';
import { type Functions, loadFunctions } from './functions.ts';
import { createHttpApi } from './http-api.ts';
import { openQueues } from './queue.ts';
import { listen } from './server.ts';
import { StartError } from './start-error.ts';
import { madeToken } from './token.ts';

// The engine must be gone 5 s after SIGTERM. Requests and batches end side by side, then the tables close.
const requestGraceMs = 1500;
const batchGraceMs = 3000;
const tablesGraceMs = 1000;

export type Engine = {
  /** Where the API and the AWS endpoint are, e.g. `http://127.0.0.1:8080`. */
  url: string;
  /** What the API wants as `Authorization: Bearer <token>`. */
  token: string;
  /** Resolves when the engine cannot go on. It still has to be stopped then. */
  failed: Promise<Error>;
  /** Ends within 5 seconds. What was accepted and not finished goes on at the next start. */
  stop(): Promise<void>;
};

/**
 * Starts everything on one machine: the queue, the tables, the functions and the public port. Throws a StartError
 * whose sentence tells the user what to change. Sets variables in `process.env` and the functions keep what they
 * found there, so one process can run one engine; `load` is for tests that bring functions of their own.
 */
export async function startEngine(
  config: EngineConfig,
  load: () => Promise<Functions> = loadFunctions,
): Promise<Engine> {
  const undo: (() => void | Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };

  async function start(): Promise<Engine> {
    const folder = config.HANDOFF_DATA === 'memory' ? null : await dataFolder(config.HANDOFF_DATA);

    // First, because its lock keeps a second engine off the rest of the folder.
    const queues = openQueues({
      file: folder === null ? ':memory:' : join(folder, 'queues.sqlite'),
      fsync: config.HANDOFF_FSYNC,
    });
    undo.push(() => queues.close());
    const visibilityTimeoutMs = eventsQueue.visibilityTimeoutSeconds * 1000;
    const deadLetters = { queue: 'events-dead-letters', maxReceiveCount: eventsQueue.maxReceiveCount };
    queues.open(deadLetters.queue, { visibilityTimeoutMs });
    const events = queues.open('events', { visibilityTimeoutMs, deadLetters });

    const dataKey = await openDataKeyFile(folder);
    undo.push(() => dataKey.discard());
    const token = config.HANDOFF_TOKEN ?? (await madeToken(folder));
    const tables = await startDynamoDb(folder === null ? null : join(folder, tablesFolder));
    undo.push(() => tables.stop(tablesGraceMs));

    // The functions publish on a port of their own: the public one may be closed to AWS calls.
    const privateEndpoint = createAwsEndpoint({ queue: events, isLoopback: true });
    const privateServer = await listen('127.0.0.1', 0, privateEndpoint);
    undo.push(() => privateServer.close(0));

    setFunctionEnvironment(process.env, {
      handlersTable: tableNames.handlers,
      executionsTable: tableNames.executions,
      dataKeyFile: dataKey.file,
      busName,
      allowHttp: config.HANDOFF_ALLOW_HTTP,
      allowCidrs: config.HANDOFF_ALLOW_CIDRS.join(','),
      retryScale: config.HANDOFF_RETRY_SCALE,
      dynamoDbEndpoint: tables.endpoint,
      credentials: tables.credentials,
      eventBridgeEndpoint: `http://127.0.0.1:${privateServer.port}`,
    });
    const functions = await load();

    const awsEndpoint = createAwsEndpoint({ queue: events, isLoopback: isLoopback(config.HOST) });
    const httpApi = createHttpApi({ handler: functions.api, token });
    const server = await listen(config.HOST, config.PORT, (request, response) =>
      request.method === 'POST' && request.url === '/'
        ? awsEndpoint(request, response)
        : httpApi(request, response),
    );
    const eventSource = startEventSource({
      queue: events,
      handler: functions.dispatcher,
      functionName: 'dispatcher',
      timeoutMs: eventsQueue.dispatcherTimeoutSeconds * 1000,
      retryScale: config.HANDOFF_RETRY_SCALE,
    });
    undo.push(async () => {
      await Promise.all([server.close(requestGraceMs), eventSource.stop(batchGraceMs)]);
    });

    return { url: urlOf(config.HOST, server.port), token, failed: tables.failed, stop };
  }

  try {
    return await start();
  } catch (error) {
    await stop();
    throw error;
  }
}

async function dataFolder(path: string): Promise<string> {
  const folder = resolve(path);
  try {
    // It holds the token, the key and every event.
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new StartError(`HANDOFF_DATA: the folder ${folder} cannot be made (${(cause as Error).message}).`, {
      cause,
    });
  }
  return folder;
}

function urlOf(host: string, port: number): string {
  // Nobody can call "any address".
  const callable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${callable.includes(':') ? `[${callable}]` : callable}:${port}`;
}
