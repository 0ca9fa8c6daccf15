import {
  DeleteCommand,
  GetCommand,
  paginateQuery,
  PutCommand,
  QueryCommand,
  type DynamoDBDocumentClient,
} from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { expiresAfter } from '../aws/tables.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { Keeping } from '../events/keeping.ts';

/** What could not be read or run, and why. It is kept with its reason, for people; only they have it tried again. */
export type DeadLetter = {
  /** The queue's message id: a message that is received again finds its own row. */
  id: string;
  /** When the queue first took the message. */
  receivedAt: Date;
  /** A sentence for the person who finds it. */
  reason: string;
  body: string;
};

/** A dead letter as lists show it. */
export type ListedDeadLetter = {
  id: string;
  /** ISO 8601. */
  receivedAt: string;
  reason: string;
  /** The beginning, of at most 4 KB. */
  body: string;
  /** The size of the whole body. */
  bodyBytes: number;
};

export type DeadLetters = ReturnType<typeof createDeadLetters>;

/** The partition of the rows; their sort key is `<received at>#<id>`. */
export const deadLettersPartition = 'DEAD_LETTER';
/** The partition of a body's parts; their sort key is the number of the part. The first one says when it was received. */
export const deadLetterBodyPartition = (id: string): string => `DEAD_LETTER_BODY#${id}`;

// An item ends at 400 KB and a message at 1 MB: a body takes up to three parts.
const partBytes = 380 * 1024;
const headBytes = 4096;
// A page of a list is made of so many reads at most.
const maxReads = 10;

/** The dead letters, in the executions table. */
export function createDeadLetters({
  dynamo,
  tableName,
  keeping,
  keptDays,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  keeping: Keeping;
  keptDays: number;
  now: () => Date;
}) {
  /**
   * Stores a dead letter whole; what is redacted in it is sealed, behind the rest. The row comes last: where it stands, its body is complete.
   */
  async function record({ id, receivedAt, reason, body }: DeadLetter): Promise<void> {
    const expiresAt = expiresAfter(now(), keptDays);
    const { raw, sealed = new Uint8Array() } = await keeping.keep(body);
    const text = Buffer.from(raw);
    const bytes = Buffer.concat([text, sealed]);
    // An empty body has a part too: it is what a letter is found by.
    const parts = Array.from({ length: Math.max(1, Math.ceil(bytes.length / partBytes)) }, (_, index) =>
      bytes.subarray(index * partBytes, (index + 1) * partBytes),
    );
    for (const [index, part] of parts.entries()) {
      await put({
        pk: deadLetterBodyPartition(id),
        sk: String(index),
        part,
        ...(index === 0 && { receivedAt: receivedAt.toISOString(), sealedBytes: sealed.length }),
        expiresAt,
      });
    }
    await put({
      ...rowKey(id, receivedAt.toISOString()),
      reason,
      body: headOf(text),
      bodyBytes: text.length,
      bodyParts: parts.length,
      expiresAt,
    });
  }

  async function put(Item: Record<string, unknown>): Promise<void> {
    await dynamo.send(new PutCommand({ TableName: tableName, Item }));
  }

  /**
   * A page of dead letters, newest first. It reads a bounded amount: where many have expired and are not deleted yet, a page
   * can be short, even empty, and yet have a next one.
   *
   * @param limit how many, at most
   * @param cursor `nextCursor` of the page before. Throws InvalidInputError when it is none
   */
  async function list(
    limit: number,
    cursor?: string,
  ): Promise<{ letters: ListedDeadLetter[]; nextCursor: string | null }> {
    const start = cursor === undefined ? null : decodeCursor(cursor, SortKey);
    const rows: Row[] = [];
    let after: string | null = start;
    let reads = 0;
    do {
      // One more than asked for tells whether there is a next page.
      const { items, next } = await readRows(limit + 1, after);
      rows.push(...items);
      after = next;
      reads++;
    } while (rows.length <= limit && after !== null && reads < maxReads);
    const lastSk = (rows.length > limit ? rows[limit - 1]?.sk : after) ?? null;
    return {
      letters: rows.slice(0, limit).map(fromRow),
      nextCursor: lastSk === null ? null : encodeCursor(lastSk),
    };
  }

  async function readRows(
    limit: number,
    after: string | null,
  ): Promise<{ items: Row[]; next: string | null }> {
    const { Items = [], LastEvaluatedKey } = await dynamo.send(
      new QueryCommand({
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk',
        FilterExpression: 'expiresAt > :now',
        ExpressionAttributeValues: { ':pk': deadLettersPartition, ':now': nowSeconds() },
        ScanIndexForward: false,
        Limit: limit,
        // Who has just redriven a letter must not find it in the list.
        ConsistentRead: true,
        ...(after !== null && { ExclusiveStartKey: { pk: deadLettersPartition, sk: after } }),
      }),
    );
    return { items: Items as Row[], next: (LastEvaluatedKey?.['sk'] as string | undefined) ?? null };
  }

  /** The dead letter with this id; null when there is none. Strongly consistent. */
  async function find(id: string): Promise<ListedDeadLetter | null> {
    const firstPart = await get({ pk: deadLetterBodyPartition(id), sk: '0' }, 'receivedAt');
    if (firstPart === undefined) return null;
    const row = await get(rowKey(id, firstPart['receivedAt'] as string));
    return row === undefined || (row['expiresAt'] as number) <= nowSeconds() ? null : fromRow(row as Row);
  }

  async function get(
    Key: { pk: string; sk: string },
    ProjectionExpression?: string,
  ): Promise<Record<string, unknown> | undefined> {
    const { Item } = await dynamo.send(
      new GetCommand({ TableName: tableName, Key, ConsistentRead: true, ProjectionExpression }),
    );
    return Item;
  }

  /** The whole body of a dead letter, as it came; null when another request is just removing it. */
  async function readBody({
    id,
    bodyBytes,
  }: Pick<ListedDeadLetter, 'id' | 'bodyBytes'>): Promise<string | null> {
    const items: Record<string, unknown>[] = [];
    const pages = paginateQuery(
      { client: dynamo },
      {
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': deadLetterBodyPartition(id) },
        ConsistentRead: true,
      },
    );
    for await (const { Items = [] } of pages) items.push(...Items);
    const bytes = Buffer.concat(items.map(({ part }) => part as Uint8Array));
    const sealedBytes = (items[0]?.['sealedBytes'] as number | undefined) ?? 0;
    if (bytes.length !== bodyBytes + sealedBytes) return null;
    const raw = bytes.subarray(0, bodyBytes).toString();
    if (sealedBytes === 0) return raw;
    return (await keeping.reveal({ raw, sealed: bytes.subarray(bodyBytes) })).text;
  }

  /**
   * Forgets a dead letter. The row goes first, so that a row always has its whole body; parts that a crash left behind
   * expire.
   */
  async function remove({ id, receivedAt }: Pick<ListedDeadLetter, 'id' | 'receivedAt'>): Promise<void> {
    const { Attributes } = await dynamo.send(
      new DeleteCommand({ TableName: tableName, Key: rowKey(id, receivedAt), ReturnValues: 'ALL_OLD' }),
    );
    const partCount = (Attributes?.['bodyParts'] as number | undefined) ?? 0;
    await Promise.all(
      Array.from({ length: partCount }, (_, index) =>
        dynamo.send(
          new DeleteCommand({
            TableName: tableName,
            Key: { pk: deadLetterBodyPartition(id), sk: String(index) },
          }),
        ),
      ),
    );
  }

  const nowSeconds = () => Math.floor(now().getTime() / 1000);

  return { record, list, find, readBody, remove };
}

type Row = { sk: string; reason: string; body: string; bodyBytes: number };

const rowKey = (id: string, receivedAt: string) => ({ pk: deadLettersPartition, sk: `${receivedAt}#${id}` });

function fromRow({ sk, reason, body, bodyBytes }: Row): ListedDeadLetter {
  const timeEnd = sk.indexOf('#');
  return { id: sk.slice(timeEnd + 1), receivedAt: sk.slice(0, timeEnd), reason, body, bodyBytes };
}

// As a stream the decoder keeps back a character that was cut in two.
const headOf = (bytes: Buffer): string =>
  new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(0, headBytes), { stream: true });

// The position of a row. DynamoDB refuses other keys with an error.
const SortKey = z.string().regex(/^\d{4}-[\d:.TZ-]{1,24}#[\x21-\x7e]{1,128}$/u);
