import { randomBytes } from 'node:crypto';
import { PutCommand, QueryCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { z } from 'zod';
import { auditPartitionPrefix, expiresAfter, isExpired } from '../aws/tables.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { ConflictError, ForbiddenError, InvalidInputError, NotFoundError, TooLargeError } from '../errors.ts';
import { parseExact } from '../filters/exact-json.ts';
import { log } from '../log.ts';
import type { Actor, AuditEntry, Change } from './change.ts';

// A page of a list is made of so many reads at most; a month without a change takes one.
const maxReads = 20;
const endSuffix = '#END';

/** What is known before a change: written then, and never again. */
type Beginning = Change & { by: string; ip: string };
/** Written when it is known how the change ended. Beside the first row, because nobody may touch that one. */
type Ending = { outcome: 'done' | 'refused'; endedAt: string; result: string | object | undefined };

/** The two as they are read. */
type BeginRow = Pick<AuditEntry, 'action' | 'subject' | 'by' | 'ip' | 'before' | 'after'>;
type EndRow = Pick<AuditEntry, 'endedAt' | 'result'> & Pick<Ending, 'outcome'>;

/**
 * Who changed what, in the handlers table, a partition a month. Rows are only ever added: the roles of the functions have no right to
 * change or delete them.
 *
 * @param keptDays how long an entry is kept
 */
export function createAuditTrail({
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
  /**
   * Notes a change, makes it, and notes how it ended. Nothing is changed when the first note cannot be written. A change that is refused (the
   * caller's fault) is noted as that; one that fails otherwise stays unconfirmed, because nobody knows how much of it was done.
   *
   * @param resultOf what of the result is worth noting
   */
  async function record<Result>(
    { name: by, ip }: Actor,
    change: Change,
    make: () => Promise<Result>,
    resultOf: (result: Result) => object | undefined = () => undefined,
  ): Promise<Result> {
    const key = newKey(now());
    const { before, after } = change;
    const row: Beginning = { ...change, before: packFilter(before), after: packFilter(after), by, ip };
    await add(key, row);
    let result: Result;
    try {
      result = await make();
    } catch (error) {
      if (isRefusal(error)) await confirm(key, 'refused', error.message);
      throw error;
    }
    await confirm(key, 'done', resultOf(result));
    return result;
  }

  // The change is made: an error would make its caller make it again.
  const confirm = ({ pk, sk }: Key, outcome: Ending['outcome'], result: Ending['result']): Promise<void> =>
    add({ pk, sk: sk + endSuffix }, { outcome, endedAt: now().toISOString(), result } satisfies Ending).catch(
      (error: unknown) => log.error('audit.unconfirmed', { entry: sk, outcome, error }),
    );

  async function add(key: Key, row: Beginning | Ending): Promise<void> {
    await dynamo.send(
      new PutCommand({
        TableName: tableName,
        Item: { ...key, ...row, expiresAt: expiresAfter(now(), keptDays) },
      }),
    );
  }

  /**
   * A page of entries, newest first. After months without one it can be short, even empty, and yet have a next one.
   *
   * @param cursor `nextCursor` of the page before. Throws InvalidInputError when it is none
   */
  async function list(
    limit: number,
    cursor?: string,
  ): Promise<{ entries: AuditEntry[]; nextCursor: string | null }> {
    const oldest = new Date(now().getTime() - keptDays * 86_400_000).toISOString().slice(0, 7);
    const entries: AuditEntry[] = [];
    let position: Key | null =
      cursor === undefined ? monthEnd(now().toISOString().slice(0, 7)) : decodeCursor(cursor, Position);
    for (let reads = 0; reads < maxReads && position !== null && entries.length < limit; reads++) {
      // Two rows an entry, and the one that is needed to see that a pair is whole.
      const { rows, isLast } = await readBefore(position, 2 * limit + 1);
      // The end of an entry comes right before its beginning, so the last row may have lost its other half.
      const whole = isLast ? rows : rows.slice(0, -1);
      const found = entriesOf(whole);
      const room = limit - entries.length;
      entries.push(...found.slice(0, room).flatMap(({ entry }) => (entry === null ? [] : [entry])));
      if (found.length > room) position = found[room - 1]?.key ?? position;
      else if (isLast) position = previousMonth(position, oldest);
      else position = found.at(-1)?.key ?? position;
    }
    return { entries, nextCursor: position === null ? null : encodeCursor(position) };
  }

  async function readBefore(
    { pk, sk }: Key,
    limit: number,
  ): Promise<{ rows: Record<string, unknown>[]; isLast: boolean }> {
    const { Items = [], LastEvaluatedKey } = await dynamo.send(
      new QueryCommand({
        TableName: tableName,
        KeyConditionExpression: 'pk = :pk AND sk < :sk',
        ExpressionAttributeValues: { ':pk': pk, ':sk': sk },
        ScanIndexForward: false,
        Limit: limit,
        ConsistentRead: true,
      }),
    );
    return { rows: Items, isLast: LastEvaluatedKey === undefined };
  }

  /** Each entry at the key of its first row; null when it has expired. */
  function entriesOf(rows: readonly Record<string, unknown>[]): { key: Key; entry: AuditEntry | null }[] {
    const ends = new Map<string, EndRow>();
    return rows.flatMap((row) => {
      const key = { pk: row['pk'] as string, sk: row['sk'] as string };
      if (key.sk.endsWith(endSuffix)) {
        ends.set(key.sk.slice(0, -endSuffix.length), row as EndRow);
        return [];
      }
      const end = ends.get(key.sk);
      return [{ key, entry: isExpired(row, now()) ? null : entryOf(key, row as BeginRow, end) }];
    });
  }

  return { record, list };
}

type Key = { pk: string; sk: string };

const Position = z.strictObject({
  pk: z.string().regex(/^AUDIT#\d{4}-\d\d$/u),
  sk: z.string().max(64),
});

/** Sorts by time within its month. */
function newKey(at: Date): Key {
  const time = at.toISOString();
  return { pk: auditPartitionPrefix + time.slice(0, 7), sk: `${time}#${randomBytes(6).toString('hex')}` };
}

// `~` sorts behind every digit.
const monthEnd = (month: string): Key => ({ pk: auditPartitionPrefix + month, sk: '~' });

function previousMonth({ pk }: Key, oldest: string): Key | null {
  const [year = 0, month = 0] = pk.slice(auditPartitionPrefix.length).split('-').map(Number);
  const before = new Date(Date.UTC(year, month - 2)).toISOString().slice(0, 7);
  return before < oldest ? null : monthEnd(before);
}

const entryOf = (
  { sk }: Key,
  { action, subject, by, ip, before, after }: BeginRow,
  end: EndRow | undefined,
): AuditEntry => ({
  id: sk,
  at: sk.slice(0, sk.indexOf('#')),
  action,
  subject,
  by,
  ip,
  before: unpackFilter(before),
  after: unpackFilter(after),
  outcome: end?.outcome ?? 'unconfirmed',
  endedAt: end?.endedAt ?? null,
  result: end?.result ?? null,
});

// The filter of a handler as text, as the handlers' own rows have it: with the spelling of its numbers, and with names of any kind.
const packFilter = (noted: Change['before']): Change['before'] =>
  noted !== null && 'filter' in noted && noted.filter !== null
    ? { ...noted, filter: JSON.stringify(noted.filter) }
    : noted;

const unpackFilter = (noted: AuditEntry['before']): AuditEntry['before'] =>
  typeof noted?.['filter'] === 'string' ? { ...noted, filter: parseExact(noted['filter']) } : noted;

/** What is told to the caller, and has changed nothing. */
const isRefusal = (error: unknown): error is Error =>
  [ConflictError, ForbiddenError, InvalidInputError, NotFoundError, TooLargeError].some(
    (kind) => error instanceof kind,
  );
