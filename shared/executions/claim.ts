import { randomUUID } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, PutCommand, UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { ExecutionRecord } from './execution.ts';
import type { HourlyCounts } from './hours.ts';
import { fromItem, toItem, type Retention } from './item.ts';
import type { ExecutionKey } from './key.ts';
import { replaceableBy, type Waiting } from './life-cycle.ts';
import type { WakeUps } from './wake-ups.ts';

/** An execution that waits, as the retrier finds it. */
export type WaitingExecution = {
  record: ExecutionRecord & { state: Waiting };
  /** Until then somebody else is at it; ISO 8601. */
  claimedUntil: string | null;
  /** How often it was claimed since its last attempt ended, each time without a result. */
  lostClaims: number;
};

/** The right to make the next attempt, for a time. */
export type Claim = { token: string };

/** The claims of later attempts. A first attempt needs none: its message is with one dispatcher at a time. */
export function createClaims({
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
  /** The execution as it is now, strongly consistent. Null when it does not wait, or is gone. */
  async function readWaiting({ pk, sk }: ExecutionKey): Promise<WaitingExecution | null> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: { pk, sk }, ConsistentRead: true }),
    );
    if (Item?.['status'] !== 'waiting') return null;
    return {
      record: fromItem(Item) as WaitingExecution['record'],
      claimedUntil: (Item['claimedUntil'] as string | undefined) ?? null,
      lostClaims: (Item['claims'] as number | undefined) ?? 0,
    };
  }

  /**
   * Claims the next attempt. Null when somebody else was faster, or has changed the execution since it was read.
   *
   * @param leaseMs longer than the call can take: when it is over and nothing was settled, the worker is dead
   */
  async function claim({ record, claimedUntil }: WaitingExecution, leaseMs: number): Promise<Claim | null> {
    const token = randomUUID();
    const until = new Date(now().getTime() + leaseMs).toISOString();
    try {
      await dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: record.key,
          // The sweeper looks when the lease is over.
          UpdateExpression:
            'SET claimedUntil = :until, claimToken = :token, attentionKey = :until ADD claims :one',
          ConditionExpression: `#status = :waiting AND generation = :generation AND nextAttemptAt = :due AND ${
            claimedUntil === null ? 'attribute_not_exists(claimedUntil)' : 'claimedUntil = :seen'
          }`,
          ExpressionAttributeNames: { '#status': 'status' },
          ExpressionAttributeValues: {
            ':until': until,
            ':token': token,
            ':one': 1,
            ':waiting': 'waiting',
            ':generation': record.generation,
            ':due': record.state.nextAttemptAt,
            ...(claimedUntil !== null && { ':seen': claimedUntil }),
          },
        }),
      );
      return { token };
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return null;
      throw error;
    }
  }

  /**
   * Writes what came of a claimed attempt, and sends the wake-up call of the next one.
   *
   *   A  claims, calls ................................ 200   | the lease is over, so B may claim too
   *   B                       claims, calls ... 500, writes   | whoever holds the claim writes; a success may replace
   *                                                           | any non-success of its generation, claimed or not
   *
   * @returns `unwoken` is why no wake-up call could be sent: the sweeper will send it. `lost`: somebody else's result is
   *   in the log, and that is enough. Or it is our own, and only the answer to the write was lost: the wake-up call goes
   *   out all the same, since a stale one does nothing
   */
  async function settle(
    { record: before }: WaitingExecution,
    record: ExecutionRecord,
    { token }: Claim,
  ): Promise<{ lost: boolean; unwoken: unknown }> {
    await hours.countMove(record, before.state.status, {
      attempted: record.attemptCount > before.attemptCount,
    });
    const lost = !(await put(record, token));
    const unwoken = await wakeUps.sendFor(record).then(
      () => null,
      (error: unknown) => error,
    );
    return { lost, unwoken };
  }

  /** False when the log holds something else by now that this must not replace. */
  async function put(record: ExecutionRecord, token: string): Promise<boolean> {
    const succeeded = record.state.status === 'succeeded';
    const replaceable = replaceableBy('succeeded');
    try {
      await dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: toItem(record, retention, now()),
          ConditionExpression: succeeded
            ? `generation = :generation AND #status IN (${replaceable.map((_, index) => `:status${index}`).join(', ')})`
            : 'generation = :generation AND claimToken = :token',
          ...(succeeded && { ExpressionAttributeNames: { '#status': 'status' } }),
          ExpressionAttributeValues: {
            ':generation': record.generation,
            ...(succeeded
              ? Object.fromEntries(replaceable.map((status, index) => [`:status${index}`, status]))
              : { ':token': token }),
          },
        }),
      );
      return true;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return false;
      throw error;
    }
  }

  return { readWaiting, claim, settle };
}
