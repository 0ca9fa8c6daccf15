import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BatchWriteCommand, paginateScan, ScanCommand } from '@aws-sdk/lib-dynamodb';
import pLimit from 'p-limit';
import { openQueues, type Queue, type Queues } from '../../local/queue.ts';
import { listen } from '../../local/server.ts';
import { createSqsEndpoint, queueUrl } from '../../local/sqs-endpoint.ts';
import { eventsQueue, retriesQueue } from '../../shared/aws/queues.ts';
import { newSigningSecret } from '../../shared/delivery/signature.ts';
import { encodeExecutionId } from '../../shared/executions/key.ts';
import { createExecutionSearch } from '../../shared/executions/search.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { sealSecret } from '../../shared/secrets/secret-envelope.ts';
import { startBus } from './bus.ts';
import { createHandlerStore } from '../../shared/handlers/store.ts';
import { aHandler } from '../support/builders.ts';
import { startTestDynamo } from '../support/dynamo.ts';
import { knowSecret } from '../support/known-secrets.ts';
import { startDynamoWire } from '../support/dynamo-wire.ts';
import { createSqsFaults } from '../support/sqs-faults.ts';

// Of BatchWriteItem; and more at once than a few only queue up where tables are embedded.
const maxBatchWrite = 25;
const writesAtOnce = 5;

/**
 * What every function finds around it: both tables behind a wire that counts and fails calls, the queues behind SQS's
 * protocol, a data key, and the variables that lead there. The tests' own reads and writes go past the wire.
 *
 * @param options.now the clock of the queues, for tests that let days pass
 */
export async function startEnvironment({ now = () => new Date() }: { now?: () => Date } = {}) {
  const tables = await startTestDynamo();
  const { dynamo, handlersTable, executionsTable } = tables;
  // A client looks for its endpoint at its first call: this one has its own from here on.
  await dynamo.send(new ScanCommand({ TableName: handlersTable }));
  const wire = await startDynamoWire(tables.endpoint);
  process.env['AWS_ENDPOINT_URL_DYNAMODB'] = wire.url;

  const queuesByName = new Map<string, Queue>();
  let queuesFile = openAllQueues(queuesByName, now);
  const accessKeyId = process.env['AWS_ACCESS_KEY_ID'] ?? '';
  const sqsFaults = createSqsFaults(createSqsEndpoint({ queues: queuesByName, accessKeyId }));
  const sqsServer = await listen('127.0.0.1', 0, sqsFaults.listener);
  process.env['AWS_ENDPOINT_URL_SQS'] = `http://127.0.0.1:${sqsServer.port}`;

  const bus = await startBus();
  const folder = await mkdtemp(join(tmpdir(), 'handoff-'));
  const dataKey = randomBytes(32);
  const keyFile = join(folder, 'data-key');
  await writeFile(keyFile, dataKey);

  const store = createHandlerStore({ dynamo, tableName: handlersTable, now });
  const executions = createExecutionSearch({
    dynamo,
    tableName: executionsTable,
    shards: 1,
    now: () => new Date(),
  });

  /** Stores a handler as the API would. */
  async function register(
    input: Parameters<typeof aHandler>[0],
  ): Promise<ReturnType<typeof aHandler> & { secret: string }> {
    const handler = aHandler(input);
    return { ...handler, secret: await registerAs(handler) };
  }

  async function registerAs(handler: Handler): Promise<string> {
    const secret = newSigningSecret();
    knowSecret(handler.id, secret);
    await store.create({ handler, sealedSecrets: [sealSecret(dataKey, handler.id, secret)] });
    return secret;
  }

  /** Empties both tables and all queues. */
  async function clear(): Promise<void> {
    wire.reset();
    bus.clear();
    sqsFaults.clear();
    queuesFile.close();
    queuesFile = openAllQueues(queuesByName, now);
    // Some tests leave thousands.
    for (const TableName of [handlersTable, executionsTable]) {
      const pages = paginateScan({ client: dynamo }, { TableName, ProjectionExpression: 'pk, sk' });
      for await (const { Items = [] } of pages) {
        const batches = Array.from({ length: Math.ceil(Items.length / maxBatchWrite) }, (_, index) =>
          Items.slice(index * maxBatchWrite, (index + 1) * maxBatchWrite),
        );
        await pLimit(writesAtOnce).map(batches, (batch) =>
          dynamo.send(
            new BatchWriteCommand({
              RequestItems: {
                [TableName]: batch.map(({ pk, sk }) => ({ DeleteRequest: { Key: { pk, sk } } })),
              },
            }),
          ),
        );
      }
    }
  }

  /** What the log holds of a handler. */
  const logOf = async ({ id }: { id: string }) => {
    const { records } = await executions.list({ handlerId: id }, 1000);
    return Promise.all(records.map(({ key }) => executions.get(encodeExecutionId(key))));
  };

  // Asked for at every use, because they are others after `clear`.
  function queueOf(name: string): Queue {
    const queue = queuesByName.get(name);
    if (queue === undefined) throw new Error(`There is no queue ${name}.`);
    return queue;
  }
  const urlOf = (name: string): string => queueUrl(sqsServer.port, name);

  return {
    ...tables,
    wire,
    sqsFaults,
    bus,
    dataKey,
    store,
    /** The same queues past SQS's protocol. */
    queues: {
      get events() {
        return queueOf(queueNames.events);
      },
      get retries() {
        return queueOf(queueNames.retries);
      },
      get eventsDeadLetters() {
        return queueOf(queueNames.eventsDeadLetters);
      },
      get retriesDeadLetters() {
        return queueOf(queueNames.retriesDeadLetters);
      },
    },
    variables: {
      HANDLERS_TABLE: handlersTable,
      EXECUTIONS_TABLE: executionsTable,
      DATA_KEY: `file:${keyFile}`,
      EVENT_BUS: 'handoff',
      EVENTS_QUEUE: urlOf(queueNames.events),
      RETRIES_QUEUE: urlOf(queueNames.retries),
      EVENTS_DEAD_LETTERS_QUEUE: urlOf(queueNames.eventsDeadLetters),
      RETRIES_DEAD_LETTERS_QUEUE: urlOf(queueNames.retriesDeadLetters),
      ALLOW_HTTP: 'true',
      ALLOW_CIDRS: '127.0.0.0/8',
    },
    register,
    /** The same for any handler; answers its secret. */
    registerAs,
    clear,
    logOf,
    async [Symbol.asyncDispose]() {
      await tables[Symbol.asyncDispose]();
      await wire.close();
      await bus.close();
      await sqsServer.close(0);
      queuesFile.close();
      await rm(folder, { recursive: true });
    },
  };
}

const queueNames = {
  events: 'events',
  retries: 'retries',
  eventsDeadLetters: 'events-dead-letters',
  retriesDeadLetters: 'retries-dead-letters',
} as const;

/** Opens empty queues, with the settings that they have everywhere. */
function openAllQueues(byName: Map<string, Queue>, now: () => Date): Queues {
  const queues = openQueues({ file: ':memory:', now: () => now().getTime() });
  for (const [name, deadLetters, { visibilityTimeoutSeconds, maxReceiveCount }] of [
    [queueNames.events, queueNames.eventsDeadLetters, eventsQueue],
    [queueNames.retries, queueNames.retriesDeadLetters, retriesQueue],
  ] as const) {
    const visibilityTimeoutMs = visibilityTimeoutSeconds * 1000;
    byName.set(deadLetters, queues.open(deadLetters, { visibilityTimeoutMs }));
    byName.set(
      name,
      queues.open(name, { visibilityTimeoutMs, deadLetters: { queue: deadLetters, maxReceiveCount } }),
    );
  }
  return queues;
}

export type Environment = Awaited<ReturnType<typeof startEnvironment>>;
