import { PutCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { expiresAfter } from '../aws/tables.ts';

/** What could not be read as an event, and why. It is kept with its reason, for people; it is never tried again. */
export type DeadLetter = {
  /** The queue's message id: a message that is received again finds its own row. */
  id: string;
  /** When the queue took the message. */
  receivedAt: Date;
  /** A sentence for the person who finds it. */
  reason: string;
  body: string;
};

/** The partition of the rows; their sort key is `<received at>#<id>`. */
export const deadLettersPartition = 'DEAD_LETTER';
/** The partition of a body's parts; their sort key is the number of the part. */
export const deadLetterBodyPartition = (id: string): string => `DEAD_LETTER_BODY#${id}`;

// An item ends at 400 KB and a message at 1 MB: a body takes up to three parts.
const partBytes = 380 * 1024;

/** The dead letters, in the executions table. */
export function createDeadLetters({
  dynamo,
  tableName,
  keptDays,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  keptDays: number;
  now: () => Date;
}) {
  /** Stores a dead letter whole. The row comes last: where it stands, its body is complete. */
  async function record({ id, receivedAt, reason, body }: DeadLetter): Promise<void> {
    const expiresAt = expiresAfter(now(), keptDays);
    const bytes = Buffer.from(body);
    const parts = Array.from({ length: Math.ceil(bytes.length / partBytes) }, (_, index) =>
      bytes.subarray(index * partBytes, (index + 1) * partBytes),
    );
    for (const [index, part] of parts.entries()) {
      await dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: { pk: deadLetterBodyPartition(id), sk: String(index), part, expiresAt },
        }),
      );
    }
    await dynamo.send(
      new PutCommand({
        TableName: tableName,
        Item: {
          pk: deadLettersPartition,
          sk: `${receivedAt.toISOString()}#${id}`,
          reason,
          bodyBytes: bytes.length,
          bodyParts: parts.length,
          expiresAt,
        },
      }),
    );
  }

  return { record };
}
