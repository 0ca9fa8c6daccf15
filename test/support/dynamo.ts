import { randomUUID } from 'node:crypto';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { inject } from 'vitest';
import { region } from '../../local/aws-identity.ts';
import { createTables, startDynamoDb, tableNames } from '../../local/dynamodb.ts';
import { createDynamo } from '../../shared/aws/clients.ts';

const dynamoDbLocal = inject('dynamoDbLocal');

/** Whether tests run on DynamoDB Local (`npm run test:dynamodb-local`) and not on the embedded DynamoDB. */
export const isDynamoDbLocal = dynamoDbLocal !== undefined;

/**
 * A DynamoDB with both tables, empty, in memory, and the project's own client on it. It sets this thread's AWS variables, so
 * that everything which builds its clients from the environment reaches it too.
 */
export async function startTestDynamo() {
  const { endpoint, credentials, names, stop } = await (dynamoDbLocal === undefined
    ? startEmbedded()
    : makeTables(dynamoDbLocal.endpoint));
  Object.assign(process.env, {
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: endpoint,
  });
  const dynamo = createDynamo();
  return {
    dynamo,
    endpoint,
    handlersTable: names.handlers,
    executionsTable: names.executions,
    async [Symbol.asyncDispose]() {
      dynamo.destroy();
      await stop();
    },
  };
}

async function startEmbedded() {
  const { stop, ...embedded } = await startDynamoDb(null);
  return { ...embedded, names: tableNames, stop: () => stop(2000) };
}

/** Tables under names of their own, because all test files share DynamoDB Local. They are gone when that ends. */
async function makeTables(endpoint: string) {
  const credentials = { accessKeyId: 'any', secretAccessKey: 'any' };
  const id = randomUUID();
  const names = { handlers: `handlers-${id}`, executions: `executions-${id}` };
  const client = new DynamoDBClient({ endpoint, region, credentials });
  await createTables(client, names);
  client.destroy();
  return { endpoint, credentials, names, stop: () => Promise.resolve() };
}
