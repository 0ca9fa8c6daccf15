import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, PutCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { isExpired } from '../aws/tables.ts';
import { isClaimed } from './claim.ts';
import type { ExecutionRecord } from './execution.ts';
import type { HourlyCounts } from './hours.ts';
import { fromItem, toItem, type Retention } from './item.ts';
import type { ExecutionKey } from './key.ts';
import type { WakeUps } from './wake-ups.ts';

export type Moved =
  | { kind: 'moved'; record: ExecutionRecord }
  /** There is no such execution (any more). */
  | { kind: 'missing' }
  /** An attempt is under way. */
  | { kind: 'claimed' }
  /** It is not what the change is for. */
  | { kind: 'unwanted' }
  /** It changed while this was done. */
  | { kind: 'overtaken' };

export type Mover = ReturnType<typeof createMover>;

/** Changes executions of which no attempt is under way: released, held, ended, or opened again. */
export function createMover({
  dynamo,
  tableName,
  hours,
  wakeUps,
  retention,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  hours: HourlyCounts;
  wakeUps: WakeUps;
  retention: Retention;
  now: () => Date;
}) {
  /**
   * Reads an execution, changes it, and writes it unless something else has changed it meanwhile; then its wake-up call is sent, if it
   * waits. Should that fail, this rejects, and the sweeper sends the call.
   *
   * @param change gives the execution as it is to be, or null to leave it alone; may take its time, for what changes meanwhile is not overwritten
   */
  async function move(
    key: ExecutionKey,
    change: (record: ExecutionRecord) => ExecutionRecord | null | Promise<ExecutionRecord | null>,
  ): Promise<Moved> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: { pk: key.pk, sk: key.sk }, ConsistentRead: true }),
    );
    if (Item?.['status'] === undefined || isExpired(Item, now())) return { kind: 'missing' };
    const claimedUntil = Item['claimedUntil'] as string | undefined;
    if (isClaimed(claimedUntil ?? null, now())) return { kind: 'claimed' };
    // Two executions that wait differ by it: released by one is not released by another one again.
    const due = Item['nextAttemptAt'] as string | undefined;
    const before = fromItem(Item);
    const record = await change(before);
    if (record === null) return { kind: 'unwanted' };
    await hours.countMove(record, before.state.status, { attempted: false });
    try {
      await dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: toItem(record, retention, now()),
          ConditionExpression: `#status = :status AND generation = :generation AND attemptCount = :attemptCount AND ${
            claimedUntil === undefined ? 'attribute_not_exists(claimedUntil)' : 'claimedUntil = :seen'
          }${due === undefined ? ' AND attribute_not_exists(nextAttemptAt)' : ' AND nextAttemptAt = :due'}`,
          ExpressionAttributeNames: { '#status': 'status' },
          ExpressionAttributeValues: {
            ':status': before.state.status,
            ':generation': before.generation,
            ':attemptCount': before.attemptCount,
            ...(claimedUntil !== undefined && { ':seen': claimedUntil }),
            ...(due !== undefined && { ':due': due }),
          },
        }),
      );
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
      // The answer to a first try of the SDK may have been lost, and this be its second: a call that is stale does nothing.
      await wakeUps.sendFor(record);
      return { kind: 'overtaken' };
    }
    await wakeUps.sendFor(record);
    return { kind: 'moved', record };
  }

  return { move };
}
