import { hash, randomUUID } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import {
  DeleteCommand,
  GetCommand,
  PutCommand,
  UpdateCommand,
  type DynamoDBDocumentClient,
} from '@aws-sdk/lib-dynamodb';
import { ConflictError } from '../errors.ts';

/** What the first request was answered, and its repeats are answered again. */
export type PublishedEvent = { id: string; time: string };

const keptSeconds = 24 * 3600;
// No request of the API is at work for longer than 30 s: what began a minute ago has died.
const abandonedAfterMs = 60_000;
// A claim fails against a row that is gone a moment later, when the first request has just failed or another has taken over.
const maxTries = 5;

type Row = {
  claimId: string;
  bodyHash: string;
  /** Milliseconds since 1970. */
  claimedAt: number;
  answer?: PublishedEvent;
  /** Seconds since 1970. */
  expiresAt: number;
};

/**
 * Requests that are done once for each key of their caller's (`Idempotency-Key`), for 24 hours. The keys are in the
 * executions table, hashed, a partition each.
 */
export function createIdempotency({
  dynamo,
  tableName,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  now: () => Date;
}) {
  // With the key, which is nowhere to be read: what is redacted in the log can be a PIN, and could be guessed from the rest and a hash of all.
  const bodyHashOf = (key: string, body: string): string => hash('sha256', JSON.stringify([key, body]));
  const keyOf = (key: string) => ({ pk: `IDEMPOTENCY#${hash('sha256', key)}`, sk: 'CLAIM' });

  /**
   * Publishes once for each key, and gives the first answer to every repeat. Throws ConflictError (`state`) when the key
   * belongs to another body, or while the first request is still being worked on. When `publish` fails, the key is free
   * again. A request that died between publishing and keeping its answer is done again: a minute later a repeat takes
   * its key over.
   *
   * @param body what tells one request from another
   */
  async function once(
    { key, body }: { key: string; body: string },
    publish: () => Promise<PublishedEvent>,
  ): Promise<{ answer: PublishedEvent; replayed: boolean }> {
    const claimId = randomUUID();
    const earlier = await claim(key, { claimId, bodyHash: bodyHashOf(key, body) });
    if (earlier !== null) return { answer: earlier, replayed: true };
    let answer: PublishedEvent;
    try {
      answer = await publish();
    } catch (error) {
      await release(key, claimId, error as Error);
      throw error;
    }
    await keep(key, claimId, answer);
    return { answer, replayed: false };
  }

  /** Claims the key, and gives null; or gives the answer that it already has. */
  async function claim(
    key: string,
    { claimId, bodyHash }: Pick<Row, 'claimId' | 'bodyHash'>,
  ): Promise<PublishedEvent | null> {
    for (let tries = 1; tries <= maxTries; tries++) {
      const at = now().getTime();
      const row: Row = { claimId, bodyHash, claimedAt: at, expiresAt: Math.ceil(at / 1000) + keptSeconds };
      if (await isClaimed(key, row)) return null;
      const found = await read(key);
      if (found === null || found.expiresAt * 1000 <= at) continue;
      // The answer to the first try of the SDK was lost, and its second try found what the first one wrote.
      if (found.claimId === claimId) return null;
      if (found.bodyHash !== bodyHash) {
        throw new ConflictError(
          'state',
          'This Idempotency-Key was used with another body within the last 24 hours; a new event needs a new key.',
        );
      }
      if (found.answer !== undefined) return found.answer;
      if (found.claimedAt > at - abandonedAfterMs) break;
    }
    throw new ConflictError(
      'state',
      'The first request with this Idempotency-Key is still being worked on; try again in a moment.',
    );
  }

  // An expired row may stand there for days: the time is compared, not the row's absence.
  const isClaimed = (key: string, row: Row): Promise<boolean> =>
    isDone(
      dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: { ...keyOf(key), ...row },
          ConditionExpression:
            'attribute_not_exists(pk) OR expiresAt <= :now OR (attribute_not_exists(answer) AND bodyHash = :bodyHash AND claimedAt <= :abandonedAt)',
          ExpressionAttributeValues: {
            ':now': row.claimedAt / 1000,
            ':bodyHash': row.bodyHash,
            ':abandonedAt': row.claimedAt - abandonedAfterMs,
          },
        }),
      ),
    );

  async function read(key: string): Promise<Row | null> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key: keyOf(key), ConsistentRead: true }),
    );
    return (Item as Row | undefined) ?? null;
  }

  // Another request has the key by now when this one took longer than a minute: then its answer is the one to keep.
  const keep = (key: string, claimId: string, answer: PublishedEvent): Promise<boolean> =>
    isDone(
      dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: keyOf(key),
          UpdateExpression: 'SET answer = :answer',
          ConditionExpression: 'claimId = :claimId',
          ExpressionAttributeValues: { ':answer': answer, ':claimId': claimId },
        }),
      ),
    );

  async function release(key: string, claimId: string, failure: Error): Promise<void> {
    try {
      await isDone(
        dynamo.send(
          new DeleteCommand({
            TableName: tableName,
            Key: keyOf(key),
            ConditionExpression: 'claimId = :claimId',
            ExpressionAttributeValues: { ':claimId': claimId },
          }),
        ),
      );
    } catch (cause) {
      throw new Error(
        `${failure.message} Its Idempotency-Key could not be released, and is free in a minute.`,
        {
          cause,
        },
      );
    }
  }

  return { once };
}

/** Whether a conditional write was done. */
async function isDone(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if (error instanceof ConditionalCheckFailedException) return false;
    throw error;
  }
}
