import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { KMSClient } from '@aws-sdk/client-kms';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { SQSClient } from '@aws-sdk/client-sqs';

// `requestTimeout` alone only logs a warning; with `throwOnRequestTimeout` the call fails and is tried again.
const requestHandler = (requestTimeout: number) => ({
  connectionTimeout: 1000,
  requestTimeout,
  throwOnRequestTimeout: true,
});

/** DynamoDB answers in milliseconds; what takes 5 s is lost. Four attempts ride out a throttled second. */
export function createDynamo(): DynamoDBDocumentClient {
  const client = new DynamoDBClient({ maxAttempts: 4, requestHandler: requestHandler(5000) });
  // Copies every item to hide secrets from a logger that is not there: 8 % of the dispatcher's CPU in a profile.
  client.middlewareStack.remove('loggerMiddleware');
  return DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
}

/** PutEvents is not idempotent, yet a repeat is allowed (at least once), so the usual three attempts stay. */
export const createEventBridge = (): EventBridgeClient =>
  new EventBridgeClient({ maxAttempts: 3, requestHandler: requestHandler(5000) });

/** Called once per environment, to unwrap the data key. */
export const createKms = (): KMSClient =>
  new KMSClient({ maxAttempts: 4, requestHandler: requestHandler(3000) });

/** SendMessage is answered in tens of milliseconds. A repeat by the SDK doubles a wake-up at worst, which does nothing. */
export const createSqs = (): SQSClient =>
  new SQSClient({ maxAttempts: 4, requestHandler: requestHandler(5000) });

/**
 * A script is invoked once: with the SDK's retries on, a timeout would run it twice. Each call brings its own time limit as
 * an abort signal; the sockets must not be the narrower limit (the default is 50).
 */
export const createLambda = (): LambdaClient =>
  new LambdaClient({
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: 1000,
      httpsAgent: { maxSockets: 1000 },
      httpAgent: { maxSockets: 1000 },
    },
  });
