import { randomUUID } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { recoveriesPartition } from './recoveries.ts';

/** The right to work on recoveries, and the pace that all of them share. */
export type Turn = {
  /** How many executions may be released now. */
  room: () => number;
  /**
   * Sets aside the times of so many executions, before any of them is released, and lengthens the turn. False when it was somebody
   * else's turn meanwhile.
   */
  reserve: (count: number) => Promise<boolean>;
  /** When the next execution is due. */
  nextDue: () => Date;
  end: () => Promise<void>;
};

/** How many executions a minute are released, over all recoveries. */
const perMinute = 1000;
const minuteMs = 60_000;

// A page is over in seconds. When a sweeper died, another one goes on after this time.
const leaseMs = 60_000;
const minLeaseMs = 5000;

/**
 * Lets one sweeper at a time work on recoveries. Two would do no harm, since every write of theirs is conditional, but they would be twice
 * as fast.
 *
 * @param scale multiplies the minute and the lease; 1 but in tests
 */
export function createRecoveryTurns({
  dynamo,
  tableName,
  scale,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  scale: number;
  now: () => Date;
}) {
  const aheadMs = minuteMs * scale;
  const gapMs = aheadMs / perMinute;
  const lease = Math.max(minLeaseMs, leaseMs * scale);

  /** Null when it is another sweeper's turn. */
  async function take(): Promise<Turn | null> {
    const token = randomUUID();
    const nowMs = now().getTime();
    const taken = await write({
      // What lasts for longer than a lease was written by a clock that was wrong.
      ConditionExpression:
        'attribute_not_exists(#until) OR #until <= :now OR #until > :tooFar OR #token = :token',
      UpdateExpression: 'SET #until = :until, #token = :token',
      ExpressionAttributeNames: { '#until': 'until', '#token': 'token' },
      ExpressionAttributeValues: {
        ':now': nowMs,
        ':tooFar': nowMs + 2 * lease,
        ':until': nowMs + lease,
        ':token': token,
      },
    });
    return taken && openTurn(token, (taken['pacedTo'] as number | undefined) ?? 0);
  }

  function openTurn(token: string, savedPace: number): Turn {
    // Nobody sets times aside that are further than a minute off, unless by a clock that was wrong.
    let pacedTo = savedPace > now().getTime() + 2 * aheadMs ? 0 : savedPace;
    const begin = () => Math.max(pacedTo, now().getTime());
    const ours = {
      ConditionExpression: '#token = :token',
      ExpressionAttributeNames: { '#until': 'until', '#token': 'token' },
    };

    return {
      room: () => Math.max(0, Math.floor((now().getTime() + aheadMs - begin()) / gapMs)),
      async reserve(count) {
        const kept = await write({
          ...ours,
          UpdateExpression: 'SET #until = :until, pacedTo = :pacedTo',
          ExpressionAttributeValues: {
            ':token': token,
            ':until': now().getTime() + lease,
            ':pacedTo': Math.ceil(begin() + count * gapMs),
          },
        });
        return kept !== null;
      },
      nextDue() {
        const due = begin();
        pacedTo = due + gapMs;
        return new Date(due);
      },
      async end() {
        await write({
          ...ours,
          // The times that were set aside and not needed are free again.
          UpdateExpression: 'SET pacedTo = :pacedTo REMOVE #until, #token',
          ExpressionAttributeValues: { ':token': token, ':pacedTo': Math.ceil(pacedTo) },
        });
      },
    };
  }

  /** What the row is after a change of it; null when the condition does not hold. */
  async function write(
    change: Pick<
      ConstructorParameters<typeof UpdateCommand>[0],
      'ConditionExpression' | 'UpdateExpression' | 'ExpressionAttributeNames' | 'ExpressionAttributeValues'
    >,
  ): Promise<Record<string, unknown> | null> {
    try {
      const { Attributes = {} } = await dynamo.send(
        new UpdateCommand({ TableName: tableName, Key: turnKey, ReturnValues: 'ALL_NEW', ...change }),
      );
      return Attributes;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return null;
      throw error;
    }
  }

  return { take };
}

// Before the recoveries, like the marks of those that are running.
const turnKey = { pk: recoveriesPartition, sk: '#TURN' };
