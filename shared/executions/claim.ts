import { randomUUID } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, PutCommand, UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { maxScriptTimeoutMs } from '../handlers/handler.ts';
import type { ExecutionRecord } from './execution.ts';
import type { HourlyCounts } from './hours.ts';
import { fromItem, toItem, type Retention } from './item.ts';
import type { ExecutionKey } from './key.ts';
import { isParked, replaceableBy, type Parked, type Waiting } from './life-cycle.ts';
import type { WakeUps } from './wake-ups.ts';

/** An execution, as the retrier finds it. */
export type FoundExecution = {
  record: ExecutionRecord;
  /** Until then somebody else is at it; ISO 8601. */
  claimedUntil: string | null;
  /** How often it was claimed since its last attempt ended, each time without a result. */
  lostClaims: number;
};

/** One that waits for its time. */
export type WaitingExecution<State extends Waiting | Parked = Waiting> = FoundExecution & {
  record: { state: State };
};

export const isWaiting = (found: FoundExecution): found is WaitingExecution =>
  'nextAttemptAt' in found.record.state;

/** Longer than any lease: what says it lasts beyond this was written by a clock that was wrong. */
const maxLeaseMs = maxScriptTimeoutMs + 60_000;

/** Whether somebody is at it now. */
export function isClaimed(claimedUntil: string | null, now: Date): boolean {
  if (claimedUntil === null) return false;
  const leftMs = Date.parse(claimedUntil) - now.getTime();
  return leftMs > 0 && leftMs <= maxLeaseMs;
}

// The sweeper looks a little after the end of a lease, or a retrier whose clock is behind would find it still running.
const afterLeaseMs = 5000;

/** The right to make the next attempt, for a time. */
export type Claim = { token: string };

/** The claims of later attempts. A first attempt needs none: its message is with one dispatcher at a time. */
export function createClaims({
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
  /** Multiplies what is added to a lease; 1 but in tests. */
  scale: number;
  now: () => Date;
}) {
  /** An execution as it is now, strongly consistent; null when it is gone. */
  async function read({ pk, sk }: ExecutionKey): Promise<FoundExecution | null> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: { pk, sk }, ConsistentRead: true }),
    );
    if (Item?.['status'] === undefined) return null;
    return {
      record: fromItem(Item),
      claimedUntil: (Item['claimedUntil'] as string | undefined) ?? null,
      lostClaims: (Item['claims'] as number | undefined) ?? 0,
    };
  }

  /** The same for one that is parked; null when it is not. */
  async function readParked(key: ExecutionKey): Promise<WaitingExecution<Parked> | null> {
    const found = await read(key);
    return found === null || !isParked(found.record.state) ? null : (found as WaitingExecution<Parked>);
  }

  /**
   * Claims the next attempt. Null when somebody else was faster, or has changed the execution since it was read.
   *
   * @param leaseMs longer than the call can take: when it is over and nothing was settled, the worker is dead
   */
  async function claim(
    execution: WaitingExecution<Waiting | Parked>,
    leaseMs: number,
  ): Promise<Claim | null> {
    const { record } = execution;
    const token = randomUUID();
    const endsAt = now().getTime() + leaseMs;
    const until = new Date(endsAt).toISOString();
    const lookAt = new Date(endsAt + Math.ceil(afterLeaseMs * scale)).toISOString();
    // What is parked has no time at which the sweeper must look.
    const waitsForTime = !isParked(record.state);
    const as = asItWas(execution);
    try {
      await dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: record.key,
          UpdateExpression: `SET claimedUntil = :until, claimToken = :token${waitsForTime ? ', attentionKey = :lookAt' : ''} ADD claims :one`,
          ...as,
          ExpressionAttributeValues: {
            ...as.ExpressionAttributeValues,
            ':until': until,
            ...(waitsForTime && { ':lookAt': lookAt }),
            ':token': token,
            ':one': 1,
          },
        }),
      );
      return { token };
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
      // The answer to the first try of the SDK may have been lost, and its second try have met what the first one wrote.
      return (await isHeldWith(record.key, token)) ? { token } : null;
    }
  }

  async function isHeldWith({ pk, sk }: ExecutionKey, token: string): Promise<boolean> {
    const { Item } = await dynamo.send(
      new GetCommand({
        TableName: tableName,
        Key: { pk, sk },
        ConsistentRead: true,
        ProjectionExpression: 'claimToken',
      }),
    );
    return Item?.['claimToken'] === token;
  }

  /**
   * Writes what came of a claimed attempt, and sends the wake-up call of the next one.
   *
   *   A  claims, calls ................................ 200   | the lease is over, so B may claim too
   *   B                       claims, calls ... 500, writes   | whoever holds the claim writes; a success may replace
   *                                                           | any non-success of its generation, claimed or not
   *
   * @returns `problems` are why it could not be counted, or no wake-up call be sent: the sweeper will send it. `lost`: somebody else's result is
   *   in the log, and that is enough. Or it is our own, and only the answer to the write was lost: the wake-up call goes
   *   out all the same, since a stale one does nothing
   */
  async function settle(
    { record: before }: WaitingExecution<Waiting | Parked>,
    record: ExecutionRecord,
    { token }: Claim,
  ): Promise<{ lost: boolean; problems: unknown[] }> {
    const problems: unknown[] = [];
    const keep = (error: unknown) => void problems.push(error);
    // The row is there since the first attempt, so what was called is not thrown away for the sake of a count.
    await hours
      .countMove(record, before.state.status, { attempted: record.attemptCount > before.attemptCount })
      .catch(keep);
    const lost = !(await put(record, token));
    await wakeUps.sendFor(record).catch(keep);
    return { lost, problems };
  }

  /**
   * Writes how an execution waits from now on, without an attempt, and sends its next wake-up call. No claim: this is a single write, and
   * nothing is called before it. False when it has changed since it was read.
   */
  async function waitOn(execution: WaitingExecution, record: ExecutionRecord): Promise<boolean> {
    const { lostClaims } = execution;
    try {
      await dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: {
            ...toItem(record, retention, now()),
            ...(lostClaims > 0 && { claims: lostClaims }),
          },
          ...asItWas(execution),
        }),
      );
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
      // Maybe by the first try of the SDK, whose answer was lost: then its call has to go out, and a stale one does nothing.
      await wakeUps.sendFor(record);
      return false;
    }
    await wakeUps.sendFor(record);
    return true;
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

  return { read, readParked, claim, settle, waitOn };
}

/** The condition that nothing has changed an execution since it was read. */
function asItWas({ record, claimedUntil }: WaitingExecution<Waiting | Parked>) {
  const { state, generation } = record;
  return {
    ConditionExpression: `#status = :waiting AND generation = :generation AND ${
      isParked(state) ? 'attribute_not_exists(nextAttemptAt)' : 'nextAttemptAt = :due'
    } AND ${claimedUntil === null ? 'attribute_not_exists(claimedUntil)' : 'claimedUntil = :seen'}`,
    ExpressionAttributeNames: { '#status': 'status' },
    ExpressionAttributeValues: {
      ':waiting': 'waiting',
      ':generation': generation,
      ...(!isParked(state) && { ':due': state.nextAttemptAt }),
      ...(claimedUntil !== null && { ':seen': claimedUntil }),
    },
  };
}
