import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import {
  BatchGetCommand,
  BatchWriteCommand,
  GetCommand,
  PutCommand,
  type DynamoDBDocumentClient,
} from '@aws-sdk/lib-dynamodb';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionRecord } from './execution.ts';
import { isExpired } from '../aws/tables.ts';
import type { HourlyCounts } from './hours.ts';
import { toItem, type Retention } from './item.ts';
import { keyToString, type ExecutionKey } from './key.ts';
import { replaceableBy, type ExecutionStatus, type StatusReason } from './life-cycle.ts';
import type { WakeUps } from './wake-ups.ts';

// Limits of BatchGetItem and BatchWriteItem.
const maxBatchGet = 100;
const maxBatchWrite = 25;
// DynamoDB hands back what it had no capacity for: 25, 50, 100 ... 1,600 ms, a little over three seconds in all.
const maxUnprocessedTries = 8;
const firstBackoffMs = 25;
// How long a success waits for others to share its write, and what was not called lets the calls beside it go first.
const lingerMs = 100;
// Nobody retries by hand what has succeeded a moment ago.
const slowMs = 1000;

/** The execution log, as the dispatcher writes it. */
export function createExecutionLog({
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
   * Which of these executions are in the log already, by strings of `keyToString`, and where they stand. A hint that saves calls,
   * not a lock: eventually consistent unless asked otherwise, which costs twice as much, and a doubled call is allowed.
   */
  async function findRecorded(
    keys: readonly ExecutionKey[],
    { isConsistent = false }: { isConsistent?: boolean } = {},
  ): Promise<Map<string, Recorded>> {
    const recorded = new Map<string, Recorded>();
    await Promise.all(
      chunk(distinct(keys), maxBatchGet).map(async (chunkOfKeys) => {
        let missing: Record<string, unknown>[] = chunkOfKeys.map(({ pk, sk }) => ({ pk, sk }));
        for (let tries = 0; missing.length > 0; tries++) {
          await backOff(tries, `BatchGetItem left ${missing.length} keys unprocessed`);
          const { Responses, UnprocessedKeys } = await dynamo.send(
            new BatchGetCommand({
              RequestItems: {
                [tableName]: {
                  Keys: missing,
                  ConsistentRead: isConsistent,
                  ProjectionExpression: 'pk, sk, #status, reason',
                  ExpressionAttributeNames: { '#status': 'status' },
                },
              },
            }),
          );
          for (const item of Responses?.[tableName] ?? []) {
            const { status, reason } = item as { status: ExecutionStatus; reason?: StatusReason };
            recorded.set(keyToString(item as ExecutionKey), { status, reason: reason ?? null });
          }
          missing = UnprocessedKeys?.[tableName]?.Keys ?? [];
        }
      }),
    );
    return recorded;
  }

  /** Where an execution stands now, strongly consistent; null when it is not in the log. */
  async function statusOf({ pk, sk }: ExecutionKey): Promise<ExecutionStatus | null> {
    const { Item } = await dynamo.send(
      new GetCommand({
        TableName: tableName,
        Key: { pk, sk },
        ConsistentRead: true,
        ProjectionExpression: '#status, expiresAt',
        ExpressionAttributeNames: { '#status': 'status' },
      }),
    );
    if (Item === undefined || isExpired(Item, now())) return null;
    return (Item['status'] as ExecutionStatus | undefined) ?? null;
  }

  /**
   * Collects the executions of one batch of messages. First-attempt successes are written 25 at a time without a
   * condition; everything else by a single conditional write, and then its wake-up call is sent.
   */
  function openBatch() {
    const written: ExecutionRecord[] = [];
    const overtaken: ExecutionRecord[] = [];
    const unwritten: Unwritten[] = [];
    const unwoken: unknown[] = [];
    const writes: Promise<void>[] = [];
    let successes: ExecutionRecord[] = [];
    const uncalled: (() => void)[] = [];
    let linger: NodeJS.Timeout | undefined;

    /**
     * Takes an execution whose first attempt ended, or that was held.
     *
     * @param redelivered whether its message was received before: then another dispatcher may have been here, and
     *   a success too is written under the condition; so is one that took long, since the queue may have handed its message out
     *   twice and somebody have gone on from the other success meanwhile
     * @param wasHalted whether it is in the log as held behind a halting handler, which has succeeded now
     */
    function add(
      record: ExecutionRecord,
      { redelivered, wasHalted = false }: { redelivered: boolean; wasHalted?: boolean },
    ): void {
      if (record.state.status !== 'succeeded' || redelivered || wasHalted || isSlow(record)) {
        const write = (): void =>
          track([record], async () => {
            try {
              return await putFirst(record, wasHalted);
            } finally {
              await wake(record);
            }
          });
        // An attempt that is not written down would be made again. What is parked or put off was none, and a hundred of
        // those would hold up the calls to others.
        if (record.attemptCount > 0) return write();
        uncalled.push(write);
        linger ??= setTimeout(writeCollected, lingerMs);
        return;
      }
      // BatchWriteItem takes a key once; two events of a broken upstream may share one.
      if (successes.some(({ key }) => keyToString(key) === keyToString(record.key))) writeSuccesses();
      successes.push(record);
      if (successes.length >= maxBatchWrite) writeSuccesses();
      else linger ??= setTimeout(writeCollected, lingerMs);
    }

    // Whatever became of the write: a stale call does nothing, and the item may be there although the write failed. That
    // none could be sent is worth a line in the log, and no reason to do the event again: the sweeper will send it.
    const wake = (record: ExecutionRecord): Promise<void> =>
      wakeUps.sendFor(record).catch((error: unknown) => void unwoken.push(error));

    function writeCollected(): void {
      clearTimeout(linger);
      linger = undefined;
      for (const write of uncalled.splice(0)) write();
      writeSuccesses();
    }

    function writeSuccesses(): void {
      const records = successes;
      successes = [];
      if (records.length > 0) track(records, () => putSuccesses(records));
    }

    // Failures are collected, not thrown: each belongs to its message alone, which goes back to the queue.
    function track(records: ExecutionRecord[], write: () => Promise<{ lost: boolean }>): void {
      writes.push(
        write().then(
          ({ lost }) => {
            (lost ? overtaken : written).push(...records);
          },
          (error: unknown) => {
            unwritten.push(...records.map((record) => ({ record, error })));
          },
        ),
      );
    }

    /**
     * Writes what is left and tells which executions are in the log, of which there is something else, which are not and why, and why
     * wake-up calls could not be sent.
     */
    async function close(): Promise<{
      written: ExecutionRecord[];
      overtaken: ExecutionRecord[];
      unwritten: Unwritten[];
      unwoken: unknown[];
    }> {
      writeCollected();
      await Promise.all(writes);
      return { written, overtaken, unwritten, unwoken };
    }

    return { add, close };
  }

  async function putSuccesses(records: readonly ExecutionRecord[]): Promise<{ lost: false }> {
    await hours.count(records);
    let requests = records.map((record) => ({ PutRequest: { Item: toItem(record, retention, now()) } }));
    for (let tries = 0; requests.length > 0; tries++) {
      await backOff(tries, `BatchWriteItem left ${requests.length} executions unprocessed`);
      const { UnprocessedItems } = await dynamo.send(
        new BatchWriteCommand({ RequestItems: { [tableName]: requests } }),
      );
      requests = (UnprocessedItems?.[tableName] ?? []) as typeof requests;
    }
    return { lost: false };
  }

  // Two dispatchers may hold the same message:
  //
  //   A  call ......... 500, writes `waiting`            | the item is there: B's outcome may only replace it
  //   B        call ............ 200, writes `succeeded` | when the table of moves allows it, within the generation
  //
  // Losing against what is there is no error: the other one's outcome is in the log, and that is enough.
  async function putFirst(record: ExecutionRecord, wasHalted: boolean): Promise<{ lost: boolean }> {
    await (wasHalted ? hours.countMove(record, 'held') : hours.count([record]));
    try {
      await dynamo.send(
        new PutCommand({
          TableName: tableName,
          Item: toItem(record, retention, now()),
          ...conditionFor(record, wasHalted),
        }),
      );
      return { lost: false };
    } catch (error) {
      if (error instanceof ConditionalCheckFailedException) return { lost: true };
      throw error;
    }
  }

  return { findRecorded, statusOf, openBatch };
}

const isSlow = ({ attempts }: ExecutionRecord): boolean => (attempts.at(-1)?.durationMs ?? 0) > slowMs;

/** Where an execution stands that is in the log. */
export type Recorded = { status: ExecutionStatus; reason: StatusReason | null };

/** What may be there already when a first attempt is written: nothing, or what its outcome may replace. */
function conditionFor({ state, generation }: ExecutionRecord, wasHalted: boolean) {
  if (state.status === 'succeeded') {
    const replaceable = replaceableBy('succeeded');
    return {
      ConditionExpression: `attribute_not_exists(pk) OR (#generation = :generation AND #status IN (${replaceable.map((_, index) => `:status${index}`).join(', ')}))`,
      ExpressionAttributeNames: { '#generation': 'generation', '#status': 'status' },
      ExpressionAttributeValues: {
        ':generation': generation,
        ...Object.fromEntries(replaceable.map((status, index) => [`:status${index}`, status])),
      },
    };
  }
  if (!wasHalted) return { ConditionExpression: 'attribute_not_exists(pk)' };
  return {
    ConditionExpression: '#generation = :generation AND #status = :held AND reason = :halted',
    ExpressionAttributeNames: { '#generation': 'generation', '#status': 'status' },
    ExpressionAttributeValues: { ':generation': generation, ':held': 'held', ':halted': 'halted' },
  };
}

/** An execution that could not be written to the log, and why. */
export type Unwritten = { record: ExecutionRecord; error: unknown };

async function backOff(tries: number, problem: string): Promise<void> {
  if (tries >= maxUnprocessedTries) throw new Error(`${problem} after ${tries} tries.`);
  if (tries > 0) await delay(firstBackoffMs * 2 ** (tries - 1));
}

// BatchGetItem takes a key once.
const distinct = (keys: readonly ExecutionKey[]): ExecutionKey[] => [
  ...new Map(keys.map((key) => [keyToString(key), key])).values(),
];

const chunk = <Element>(elements: readonly Element[], size: number): Element[][] =>
  Array.from({ length: Math.ceil(elements.length / size) }, (_, index) =>
    elements.slice(index * size, (index + 1) * size),
  );
