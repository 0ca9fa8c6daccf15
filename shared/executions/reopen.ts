import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, PutCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { ConflictError, NotFoundError } from '../errors.ts';
import { isClaimed } from './claim.ts';
import type { ExecutionRecord } from './execution.ts';
import type { HourlyCounts } from './hours.ts';
import { fromItem, toItem, type Retention } from './item.ts';
import type { ExecutionKey } from './key.ts';
import { reopenExecution } from './settle.ts';
import type { WakeUps } from './wake-ups.ts';

/** Lets a person have executions tried once more. */
export function createReopener({
  dynamo,
  tableName,
  hours,
  wakeUps,
  retention,
  scale,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  hours: HourlyCounts;
  wakeUps: WakeUps;
  retention: Retention;
  scale: number;
  now: () => Date;
}) {
  /**
   * Makes the next attempt of an execution due now: of one that waits or is held the next one, of an ended one the first of
   * a new generation.
   *
   * @returns the execution as it is now; its attempt begins within moments
   * Throws NotFoundError; ConflictError (`state`) while an attempt is under way, or when it changes at this moment.
   */
  async function retryNow(key: ExecutionKey): Promise<ExecutionRecord> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: { pk: key.pk, sk: key.sk }, ConsistentRead: true }),
    );
    if (Item === undefined) throw new NotFoundError('execution', `${key.pk}#${key.sk}`);
    const claimedUntil = Item['claimedUntil'] as string | undefined;
    if (isClaimed(claimedUntil ?? null, now())) {
      throw new ConflictError('state', 'An attempt of this execution is under way.');
    }
    const before = fromItem(Item);
    const record = reopenExecution(before, { now: now(), scale });
    await hours.countMove(record, before.state.status, { attempted: false });
    try {
      await dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: toItem(record, retention, now()),
          ConditionExpression: `#status = :status AND generation = :generation AND attemptCount = :attemptCount AND ${
            claimedUntil === undefined ? 'attribute_not_exists(claimedUntil)' : 'claimedUntil = :seen'
          }`,
          ExpressionAttributeNames: { '#status': 'status' },
          ExpressionAttributeValues: {
            ':status': before.state.status,
            ':generation': before.generation,
            ':attemptCount': before.attemptCount,
            ...(claimedUntil !== undefined && { ':seen': claimedUntil }),
          },
        }),
      );
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) {
        // The answer to a first try of the SDK may have been lost, and this be its second: a call that is stale does nothing.
        await wakeUps.sendFor(record);
        throw new ConflictError('state', 'The execution has just changed.', { cause: error });
      }
      throw error;
    }
    // Should it fail, the caller gets an error and the sweeper sends the call.
    await wakeUps.sendFor(record);
    return record;
  }

  return { retryNow };
}
