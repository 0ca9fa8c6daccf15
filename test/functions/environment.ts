import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeleteCommand, paginateScan, ScanCommand } from '@aws-sdk/lib-dynamodb';
import { newSigningSecret } from '../../shared/delivery/signature.ts';
import { encodeExecutionId } from '../../shared/executions/key.ts';
import { createExecutionSearch } from '../../shared/executions/search.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { sealSecret } from '../../shared/handlers/secret-envelope.ts';
import { createHandlerStore } from '../../shared/handlers/store.ts';
import { aHandler } from '../support/builders.ts';
import { startTestDynamo } from '../support/dynamo.ts';
import { startDynamoWire } from '../support/dynamo-wire.ts';

/**
 * What every function finds around it: both tables behind a wire that counts and fails calls, a data key, and
 * the variables that lead there. The tests' own reads and writes go past the wire.
 */
export async function startEnvironment() {
  const tables = await startTestDynamo();
  const { dynamo, handlersTable, executionsTable } = tables;
  // A client looks for its endpoint at its first call: this one has its own from here on.
  await dynamo.send(new ScanCommand({ TableName: handlersTable }));
  const wire = await startDynamoWire(tables.endpoint);
  process.env['AWS_ENDPOINT_URL_DYNAMODB'] = wire.url;

  const folder = await mkdtemp(join(tmpdir(), 'handoff-'));
  const dataKey = randomBytes(32);
  const keyFile = join(folder, 'data-key');
  await writeFile(keyFile, dataKey);

  const store = createHandlerStore({ dynamo, tableName: handlersTable });
  const executions = createExecutionSearch({
    dynamo,
    tableName: executionsTable,
    shards: 1,
    now: () => new Date(),
  });

  /** Stores a handler as the API would. */
  async function register(input: Parameters<typeof aHandler>[0]): Promise<Handler & { secret: string }> {
    const handler = aHandler(input);
    const secret = newSigningSecret();
    await store.create({ handler, sealedSecrets: [sealSecret(dataKey, handler.id, secret)] });
    return { ...handler, secret };
  }

  /** Empties both tables. */
  async function clear(): Promise<void> {
    wire.reset();
    for (const TableName of [handlersTable, executionsTable]) {
      const pages = paginateScan({ client: dynamo }, { TableName, ProjectionExpression: 'pk, sk' });
      for await (const { Items = [] } of pages) {
        await Promise.all(
          Items.map(({ pk, sk }) => dynamo.send(new DeleteCommand({ TableName, Key: { pk, sk } }))),
        );
      }
    }
  }

  /** What the log holds of a handler. */
  const logOf = async ({ id }: { id: string }) => {
    const { records } = await executions.list({ handlerId: id }, 1000);
    return Promise.all(records.map(({ key }) => executions.get(encodeExecutionId(key))));
  };

  return {
    ...tables,
    wire,
    dataKey,
    store,
    variables: {
      HANDLERS_TABLE: handlersTable,
      EXECUTIONS_TABLE: executionsTable,
      DATA_KEY: `file:${keyFile}`,
      ALLOW_HTTP: 'true',
      ALLOW_CIDRS: '127.0.0.0/8',
    },
    register,
    clear,
    logOf,
    async [Symbol.asyncDispose]() {
      await tables[Symbol.asyncDispose]();
      await wire.close();
      await rm(folder, { recursive: true });
    },
  };
}

export type Environment = Awaited<ReturnType<typeof startEnvironment>>;
