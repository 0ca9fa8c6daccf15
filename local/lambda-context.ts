import { randomUUID } from 'node:crypto';
import type { Context } from 'aws-lambda';
import { accountId, region } from './aws-identity.ts';

/**
 * The second argument of a Lambda handler. `timeoutMs` is what the function would have in AWS, counted from now
 * by the machine's monotonic clock, because a deadline must not move when the wall clock is set.
 */
export function lambdaContext(functionName: string, timeoutMs: number): Context {
  const endsAt = performance.now() + timeoutMs;
  const awsRequestId = randomUUID();
  return {
    callbackWaitsForEmptyEventLoop: false,
    functionName,
    functionVersion: '$LATEST',
    invokedFunctionArn: `arn:aws:lambda:${region}:${accountId}:function:${functionName}`,
    memoryLimitInMB: '512',
    awsRequestId,
    logGroupName: `/aws/lambda/${functionName}`,
    logStreamName: awsRequestId,
    getRemainingTimeInMillis: () => Math.max(0, Math.round(endsAt - performance.now())),
    // Relics of Node 0.10 that the type demands.
    done: () => undefined,
    fail: () => undefined,
    succeed: () => undefined,
  };
}
