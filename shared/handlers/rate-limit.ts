import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import type { RateLimit } from './handler.ts';

/** The row of a handler with a rate limit: when its next slot is free. Not in the partition of the handlers, which is read whole. */
export const rateLimitKey = (handlerId: string) => ({ pk: `RATE#${handlerId}`, sk: 'NEXT' });

export type RateLimits = ReturnType<typeof createRateLimits>;

// Each round loses to another environment that has begun a new run of slots at this very moment.
const maxRounds = 5;

/** The slots of handlers with a rate limit: each is given out once, whoever asks. */
export function createRateLimits({
  dynamo,
  tableName,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  now: () => Date;
}) {
  // Where the slots of a handler ended when this environment last asked. It only says which update is tried first.
  const knownEnds = new Map<string, number>();

  /**
   * Takes the next `count` slots of a handler, 1 / perSecond apart, in one update: from now on, or from where those that are
   * taken end. Should the answer to a first try of the SDK be lost, its second try takes others, and the first ones stay empty.
   *
   * @returns when each of them is, the first one first
   */
  async function reserve(handlerId: string, { perSecond }: RateLimit, count: number): Promise<Date[]> {
    // Whole microseconds: a third of a second in milliseconds would be off by a thousandth, a three-hundredth by a fifth.
    const step = Math.ceil(1_000_000 / perSecond);
    for (let round = 0; round < maxRounds; round++) {
      const at = now().getTime() * 1000;
      const begin = () => beginAt(handlerId, at, count * step);
      const extend = () => extendBeyond(handlerId, at, count * step);
      const end =
        (knownEnds.get(handlerId) ?? 0) > at
          ? ((await extend()) ?? (await begin()))
          : ((await begin()) ?? (await extend()));
      if (end === null) continue;
      knownEnds.set(handlerId, end);
      return Array.from(
        { length: count },
        (_, index) => new Date(Math.ceil((end - (count - index) * step) / 1000)),
      );
    }
    throw new Error(`The slots of handler ${handlerId} changed ${maxRounds} times while some were taken.`);
  }

  /** Null when the slots that are taken reach beyond `at`. */
  const beginAt = (handlerId: string, at: number, length: number): Promise<number | null> =>
    update(handlerId, {
      UpdateExpression: 'SET freeFrom = :end',
      ConditionExpression: 'attribute_not_exists(freeFrom) OR freeFrom <= :now',
      ExpressionAttributeValues: { ':end': at + length, ':now': at },
    });

  /** Null when they do not. */
  const extendBeyond = (handlerId: string, at: number, length: number): Promise<number | null> =>
    update(handlerId, {
      UpdateExpression: 'ADD freeFrom :length',
      ConditionExpression: 'freeFrom > :now',
      ExpressionAttributeValues: { ':length': length, ':now': at },
    });

  /** Where the slots end now, in microseconds since 1970. */
  async function update(
    handlerId: string,
    expressions: Pick<
      UpdateCommand['input'],
      'UpdateExpression' | 'ConditionExpression' | 'ExpressionAttributeValues'
    >,
  ): Promise<number | null> {
    try {
      const { Attributes } = await dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: rateLimitKey(handlerId),
          ...expressions,
          ReturnValues: 'UPDATED_NEW',
        }),
      );
      return Attributes?.['freeFrom'] as number;
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return null;
      throw error;
    }
  }

  return { reserve };
}
