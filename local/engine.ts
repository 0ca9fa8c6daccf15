import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { eventsQueue, retriesQueue } from '../shared/aws/queues.ts';
import { findScripts, type Script } from '../shared/scripts/find-scripts.ts';
import { busName } from './aws-identity.ts';
import { createAwsEndpoint } from './aws-endpoint.ts';
import { type EngineConfig, isLoopback } from './config.ts';
import { openDataKeyFile } from './data-key.ts';
import { startDynamoDb, tableNames, tablesFolder } from './dynamodb.ts';
import { startEventSource } from './event-source.ts';
import { madeAwsKeys } from './aws-keys.ts';
import type { AwsKeys } from './aws-signature.ts';
import { setFunctionEnvironment } from './function-environment.ts';
import { type Functions, loadFunctions } from './functions.ts';
import { createHttpApi } from './http-api.ts';
import { createLambdaEndpoint, scriptFunctionPrefix } from './lambda-endpoint.ts';
import { openQueues, type Queue, type Queues } from './queue.ts';
import { createPrivateEndpoint } from './private-endpoint.ts';
import { startSchedule } from './schedule.ts';
import { listen } from './server.ts';
import { createSqsEndpoint, queueUrl } from './sqs-endpoint.ts';
import { StartError } from './start-error.ts';
import { madeToken } from './token.ts';

// The engine must be gone 5 s after SIGTERM. Requests and batches end side by side, then the tables close.
const requestGraceMs = 1500;
const batchGraceMs = 3000;
const tablesGraceMs = 1000;

// In AWS a rule starts the sweeper every minute, which is as often as a rule can. Here a run costs nothing.
const sweepEveryMs = 10_000;
// However short the waits of a test are made: a sweep reads eight partitions.
const minSweepEveryMs = 250;
// Wake-up calls come in bunches, because SQS waits for whole seconds. In small portions they do not hold up first attempts.
const inSmallPortions = { batchSize: 3, batches: 3, maxBatches: 500 };
const sweeperTimeoutMs = 60_000;

// Each is a process of its own; the dispatcher and the retrier may both have so many.
const maxConcurrentScripts = 8;

export type Engine = {
  /** Where the API and the AWS endpoint are, e.g. `http://127.0.0.1:8080`. */
  url: string;
  /** What the API wants as `Authorization: Bearer <token>`. */
  token: string;
  /** What AWS calls have to be signed with; null where any credentials are good. */
  awsKeys: AwsKeys | null;
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
    const events = openQueue(queues, 'events', eventsQueue);
    const retries = openQueue(queues, 'retries', retriesQueue);
    const scripts = readScripts(config.HANDOFF_SCRIPTS);

    const dataKey = await openDataKeyFile(folder);
    undo.push(() => dataKey.discard());
    const token = config.HANDOFF_TOKEN ?? (await madeToken(folder));
    const tables = await startDynamoDb(folder === null ? null : join(folder, tablesFolder));
    undo.push(() => tables.stop(tablesGraceMs));

    // What the functions call is on a port of its own, for them alone.
    const { accessKeyId } = tables.credentials;
    const lambda = createLambdaEndpoint({
      scripts,
      accessKeyId,
      path: config.PATH,
      ...(folder !== null && { temporaryFolder: await emptyFolder(join(folder, 'scripts')) }),
    });
    undo.push(() => lambda.stop());
    const privateServer = await listen(
      '127.0.0.1',
      0,
      createPrivateEndpoint({
        eventBridge: createAwsEndpoint({ queue: events.queue, keys: tables.credentials }),
        sqs: createSqsEndpoint({
          queues: new Map(
            [events, retries].flatMap(({ queue, deadLetters }) => [
              [queue.name, queue],
              [deadLetters.name, deadLetters],
            ]),
          ),
          accessKeyId,
        }),
        lambda: lambda.listener,
      }),
    );
    undo.push(() => privateServer.close(0));
    const urlOfQueue = ({ name }: Queue): string => queueUrl(privateServer.port, name);

    setFunctionEnvironment(process.env, {
      handlersTable: tableNames.handlers,
      executionsTable: tableNames.executions,
      dataKeyFile: dataKey.file,
      busName,
      allowHttp: config.HANDOFF_ALLOW_HTTP,
      allowCidrs: config.HANDOFF_ALLOW_CIDRS.join(','),
      redactPaths: config.HANDOFF_REDACT_PATHS.join(','),
      retryScale: config.HANDOFF_RETRY_SCALE,
      circuitBreaker: config.HANDOFF_CIRCUIT_BREAKER,
      autoDisableDays: config.HANDOFF_AUTO_DISABLE_DAYS,
      dynamoDbEndpoint: tables.endpoint,
      credentials: tables.credentials,
      privateEndpoint: `http://127.0.0.1:${privateServer.port}`,
      queueUrls: {
        events: urlOfQueue(events.queue),
        retries: urlOfQueue(retries.queue),
        eventsDeadLetters: urlOfQueue(events.deadLetters),
        retriesDeadLetters: urlOfQueue(retries.deadLetters),
      },
      scripts: scripts.map(({ name }) => name),
      scriptFunctionPrefix,
      maxConcurrentScripts,
    });
    const functions = await load();

    const awsKeys = isLoopback(config.HOST) ? null : await madeAwsKeys(folder);
    const awsEndpoint = createAwsEndpoint({ queue: events.queue, keys: awsKeys });
    const httpApi = createHttpApi({
      handler: functions.api,
      tokens: [{ token, role: 'admin' }, ...config.HANDOFF_TOKENS],
    });
    const server = await listen(config.HOST, config.PORT, (request, response) =>
      request.method === 'POST' && request.url === '/'
        ? awsEndpoint(request, response)
        : httpApi(request, response),
    );
    const retryScale = config.HANDOFF_RETRY_SCALE;
    const dispatching = startEventSource({
      queue: events.queue,
      handler: functions.dispatcher,
      functionName: 'dispatcher',
      timeoutMs: eventsQueue.dispatcherTimeoutSeconds * 1000,
      retryScale,
    });
    const retrying = startEventSource({
      queue: retries.queue,
      handler: functions.retrier,
      functionName: 'retrier',
      ...inSmallPortions,
      timeoutMs: retriesQueue.retrierTimeoutSeconds * 1000,
      retryScale,
    });
    const sweeping = startSchedule({
      everyMs: Math.max(minSweepEveryMs, sweepEveryMs * retryScale),
      handler: functions.sweeper,
      functionName: 'sweeper',
      timeoutMs: sweeperTimeoutMs,
    });
    undo.push(async () => {
      await Promise.all([
        server.close(requestGraceMs),
        ...[dispatching, retrying, sweeping].map((running) => running.stop(batchGraceMs)),
      ]);
      // What still runs must not log that its script or its queue is gone: it comes back at the next start.
      await tables.stop(tablesGraceMs);
    });

    return { url: urlOf(config.HOST, server.port), token, awsKeys, failed: tables.failed, stop };
  }

  try {
    return await start();
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A queue and the one for its dead letters. */
function openQueue(
  queues: Queues,
  name: string,
  {
    visibilityTimeoutSeconds,
    maxReceiveCount,
  }: { visibilityTimeoutSeconds: number; maxReceiveCount: number },
): { queue: Queue; deadLetters: Queue } {
  const visibilityTimeoutMs = visibilityTimeoutSeconds * 1000;
  const deadLetters = queues.open(`${name}-dead-letters`, { visibilityTimeoutMs });
  const queue = queues.open(name, {
    visibilityTimeoutMs,
    deadLetters: { queue: deadLetters.name, maxReceiveCount },
  });
  return { queue, deadLetters };
}

function readScripts(folder: string): Script[] {
  try {
    return findScripts(resolve(folder));
  } catch (cause) {
    throw new StartError(`HANDOFF_SCRIPTS: ${(cause as Error).message}`, { cause });
  }
}

/** Without what an engine left there that was killed. */
async function emptyFolder(path: string): Promise<string> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { mode: 0o700 });
  return path;
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
