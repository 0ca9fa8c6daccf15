import { createDynamo } from '../../shared/aws/clients.ts';
import { startDynamoDb, tableNames } from '../../local/dynamodb.ts';

/**
 * The embedded DynamoDB with both tables, in memory, and the project's own client on it. It sets this thread's AWS
 * variables, so that everything which builds its clients from the environment reaches it too.
 */
export async function startTestDynamo() {
  const { endpoint, credentials, stop } = await startDynamoDb(null);
  Object.assign(process.env, {
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_ENDPOINT_URL_DYNAMODB: endpoint,
  });
  const dynamo = createDynamo();
  return {
    dynamo,
    endpoint,
    handlersTable: tableNames.handlers,
    executionsTable: tableNames.executions,
    async [Symbol.asyncDispose]() {
      dynamo.destroy();
      await stop(2000);
    },
  };
}
