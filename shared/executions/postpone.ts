import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { WaitingExecution } from './claim.ts';
import type { Waiting } from './life-cycle.ts';
import type { WakeUps } from './wake-ups.ts';

/** What it takes to postpone an execution: all but its event. */
export type Postponable = Pick<WaitingExecution['record'], 'key' | 'generation' | 'state'> &
  Pick<WaitingExecution, 'claimedUntil'>;

/** Lets what waits wait for another time: no attempt was made, so nothing else of it changes. */
export function createPostponer({
  dynamo,
  tableName,
  wakeUps,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  wakeUps: WakeUps;
}) {
  /**
   * Writes when an execution is called, unless it has changed since it was read, and sends its wake-up call.
   *
   * @param lateMs how late the last one has come
   * @returns `problems` are why no wake-up call could be sent: the sweeper will send it. `lost`: somebody else was faster. Or it was the
   *   SDK's own first try, whose answer was lost: then the sweeper finds that nobody wakes it
   */
  return async function postpone(
    { key, generation, state: before, claimedUntil }: Postponable,
    state: Waiting,
    { lateMs }: { lateMs: number },
  ): Promise<{ lost: boolean; problems: unknown[] }> {
    try {
      await dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: key,
          UpdateExpression:
            'SET #reason = :reason, nextAttemptAt = :due, attentionKey = :sweepAt, wakeUpLateMs = :lateMs',
          ConditionExpression: `#status = :waiting AND generation = :generation AND nextAttemptAt = :seen AND ${
            claimedUntil === null ? 'attribute_not_exists(claimedUntil)' : 'claimedUntil = :claimed'
          }`,
          ExpressionAttributeNames: { '#status': 'status', '#reason': 'reason' },
          ExpressionAttributeValues: {
            ':reason': state.reason,
            ':due': state.nextAttemptAt,
            ':sweepAt': state.sweepAt,
            ':lateMs': lateMs,
            ':waiting': 'waiting',
            ':generation': generation,
            ':seen': before.nextAttemptAt,
            ...(claimedUntil !== null && { ':claimed': claimedUntil }),
          },
        }),
      );
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return { lost: true, problems: [] };
      throw error;
    }
    return wakeUps.sendFor({ key, generation, state }, { lateMs }).then(
      () => ({ lost: false, problems: [] }),
      (error: unknown) => ({ lost: false, problems: [error] }),
    );
  };
}
