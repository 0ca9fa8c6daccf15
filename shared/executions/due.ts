import { randomUUID } from 'node:crypto';
import { ConditionalCheckFailedException } from '@aws-sdk/client-dynamodb';
import { GetCommand, paginateQuery, UpdateCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import { maxDelaySeconds } from '../aws/queues.ts';
import { executionsTable } from '../aws/tables.ts';
import { attentionPartitions } from './item.ts';
import type { ExecutionKey } from './key.ts';
import type { Waiting } from './life-cycle.ts';
import { lostAt, wakeAt } from './retry-decision.ts';
import type { WakeUp } from './wake-ups.ts';

/** An entry of the index: an execution that the sweeper must look at. */
export type DueEntry = ExecutionKey & { attention: string; attentionKey: string };

/** The right to send the wake-up call of an entry, for as long as one can be under way. */
export type DueLease = {
  wakeUp: WakeUp;
  /** When the call is to come. */
  due: Date;
  /** For a call that the queue has not taken: the entry is due at the next run, and not only when the lease is over. */
  giveBack: () => Promise<void>;
};

type Due = Pick<Waiting, 'reason' | 'nextAttemptAt'> & {
  generation: number;
  /** How late its last wake-up call has come. */
  wakeUpLateMs?: number;
};

const callFor = ({ pk, sk }: ExecutionKey, { generation, wakeUpLateMs, ...waiting }: Due) => ({
  wakeUp: { pk, sk, generation },
  due: wakeAt(waiting, wakeUpLateMs),
});

const pageSize = 100;

/** The executions that wait and whose wake-up call nobody has sent, or which is lost. */
export function createDueIndex({
  dynamo,
  tableName,
  scale,
  now,
}: {
  dynamo: DynamoDBDocumentClient;
  tableName: string;
  /** Multiplies the lease; 1 but in tests. */
  scale: number;
  now: () => Date;
}) {
  /** What is due by now, in pages, each partition of the index from its longest due on. */
  async function* readDue(): AsyncGenerator<DueEntry[]> {
    for (let partition = 0; partition < attentionPartitions; partition++) {
      const pages = paginateQuery(
        { client: dynamo, pageSize },
        {
          TableName: tableName,
          IndexName: executionsTable.attention.indexName,
          KeyConditionExpression: 'attention = :partition AND attentionKey <= :now',
          ExpressionAttributeValues: { ':partition': `waiting#${partition}`, ':now': now().toISOString() },
        },
      );
      for await (const { Items = [] } of pages) yield Items as DueEntry[];
    }
  }

  /**
   * Takes an entry for as long as a wake-up call can be under way, so that it is not sent every minute: an entry whose call
   * is lost comes up again when that time is over. Null when another run was faster, or the execution has gone on.
   */
  async function lease(entry: DueEntry): Promise<DueLease | null> {
    const { pk, sk, attention, attentionKey } = entry;
    const token = randomUUID();
    const until = lostAt(new Date(now().getTime() + maxDelaySeconds * 1000 * scale), scale);
    const leased = (item: Due): DueLease => ({
      ...callFor({ pk, sk }, item),
      giveBack: () => giveBack(entry, { token, until }),
    });
    try {
      const { Attributes } = await dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: { pk, sk },
          UpdateExpression: 'SET attentionKey = :lease, sweepToken = :token',
          ConditionExpression: 'attention = :attention AND attentionKey = :seen',
          ExpressionAttributeValues: {
            ':lease': until,
            ':token': token,
            ':attention': attention,
            ':seen': attentionKey,
          },
          ReturnValues: 'ALL_NEW',
        }),
      );
      return leased(Attributes as Due);
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
      // The answer to the first try of the SDK may have been lost, and its second try have met what the first one wrote.
      const { Item } = await dynamo.send(
        new GetCommand({ TableName: tableName, Key: { pk, sk }, ConsistentRead: true }),
      );
      return Item?.['sweepToken'] === token ? leased(Item as Due) : null;
    }
  }

  async function giveBack(
    { pk, sk, attention, attentionKey }: DueEntry,
    { token, until }: { token: string; until: string },
  ): Promise<void> {
    try {
      await dynamo.send(
        new UpdateCommand({
          TableName: tableName,
          Key: { pk, sk },
          UpdateExpression: 'SET attentionKey = :seen',
          ConditionExpression: 'attention = :attention AND attentionKey = :lease AND sweepToken = :token',
          ExpressionAttributeValues: {
            ':seen': attentionKey,
            ':attention': attention,
            ':lease': until,
            ':token': token,
          },
        }),
      );
    } catch (error) {
      // It has gone on, or the answer to the first try of the SDK was lost: there is nothing to give back any more.
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
    }
  }

  return { readDue, lease };
}
