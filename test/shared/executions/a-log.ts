import { randomBytes } from 'node:crypto';
import { CreateTableCommand, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import { executionsTable } from '../../../shared/aws/tables.ts';
import type { ExecutionRecord, ListedExecution } from '../../../shared/executions/execution.ts';
import type { ExecutionFilter } from '../../../shared/executions/filter.ts';
import { createHourlyCounts } from '../../../shared/executions/hours.ts';
import { readKey } from '../../../shared/executions/key.ts';
import { createExecutionSearch, type ExecutionPage } from '../../../shared/executions/search.ts';
import { anEvent, anExecution } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';
import { retention, writeExecutions } from '../../support/write-executions.ts';

export const bytesPerReadUnit = 8192;

/** The embedded DynamoDB, and logs on it, each with a table of its own and what reads it. */
export async function startLogs() {
  const db = await startTestDynamo();
  let tables = 0;

  async function createTable(): Promise<string> {
    const TableName = `${db.executionsTable}-${++tables}`;
    const { partitionKey, sortKey, attention } = executionsTable;
    const keySchema = (hash: string, range: string) => [
      { AttributeName: hash, KeyType: 'HASH' as const },
      { AttributeName: range, KeyType: 'RANGE' as const },
    ];
    await db.dynamo.send(
      new CreateTableCommand({
        TableName,
        BillingMode: 'PAY_PER_REQUEST',
        AttributeDefinitions: [partitionKey, sortKey, attention.partitionKey, attention.sortKey].map(
          (AttributeName) => ({ AttributeName, AttributeType: 'S' }),
        ),
        KeySchema: keySchema(partitionKey, sortKey),
        GlobalSecondaryIndexes: [
          {
            IndexName: attention.indexName,
            KeySchema: keySchema(attention.partitionKey, attention.sortKey),
            Projection: { ProjectionType: 'KEYS_ONLY' },
          },
        ],
      }),
    );
    await waitUntilTableExists(
      { client: db.dynamo, minDelay: 0.01, maxDelay: 0.1, maxWaitTime: 5 },
      { TableName },
    );
    return TableName;
  }

  /** @param answer in DynamoDB's place, for what the search asks */
  async function aLog({
    shards = 1,
    now = '2026-11-23T12:00:00.000Z',
    answer = (_, send) => send(),
  }: { shards?: number; now?: string; answer?: Answer } = {}) {
    const tableName = await createTable();
    const clock = createClock(now);
    let readBytes = 0;
    const recording = createRecordingDynamo(async (call, send) => {
      const output = await answer(call, send);
      const { ConsumedCapacity = [] } = output as { ConsumedCapacity?: Consumed | Consumed[] };
      for (const { CapacityUnits = 0 } of [ConsumedCapacity].flat())
        readBytes += CapacityUnits * bytesPerReadUnit;
      return output;
    });
    const settings = { tableName, now: clock.now };
    const hours = createHourlyCounts({ ...settings, dynamo: db.dynamo, retention });
    const search = createExecutionSearch({ ...settings, dynamo: recording.dynamo, shards });

    /** Puts executions there as they are, with the rows of their hours. */
    async function write(records: readonly ExecutionRecord[]): Promise<readonly ExecutionRecord[]> {
      await hours.count(records);
      await writeExecutions({ dynamo: db.dynamo, tableName, now: clock.now }, records);
      return records;
    }

    return {
      ...recording,
      clock,
      search,
      tableName,
      write,
      /** Bytes read since the last call of this, as DynamoDB charges for them. */
      takeReadBytes: () => {
        const bytes = readBytes;
        readBytes = 0;
        return bytes;
      },
      /** Every page from the first to the last. */
      walk: async (filter: ExecutionFilter, limit: number) => {
        const pages: ExecutionPage[] = [];
        let cursor: string | undefined;
        do {
          const page = await search.list(filter, limit, cursor);
          pages.push(page);
          cursor = page.nextCursor ?? undefined;
          if (pages.length > 500) throw new Error('The cursor does not come to an end.');
        } while (cursor !== undefined);
        return pages;
      },
    };
  }

  return { ...db, aLog, [Symbol.asyncDispose]: () => db[Symbol.asyncDispose]() };
}

type Consumed = { CapacityUnits?: number };

export const eventIdsOf = (records: readonly ListedExecution[]): string[] =>
  records.map(({ key }) => readKey(key).eventId);

/** A record as lists have it. */
export const asListed = ({
  request: _request,
  event: { raw: _raw, ...event },
  ...record
}: ExecutionRecord): ListedExecution => ({
  ...record,
  event,
});

/** The order of lists: newest first, then by what else is in the key. */
export const newestFirst = (records: readonly ExecutionRecord[]): ListedExecution[] =>
  [...records]
    .sort(({ key: a }, { key: b }) => {
      if (a.sk !== b.sk) return a.sk > b.sk ? -1 : 1;
      return a.pk > b.pk ? -1 : 1;
    })
    .map(asListed);

/** What waits for its next attempt; the sweeper looks at it when `sweepAt` says. */
export const waitingUntil = (sweepAt = '2026-11-23T10:02:05.000Z'): ExecutionRecord['state'] => ({
  status: 'waiting',
  reason: 'retry',
  nextAttemptAt: '2026-11-23T10:00:05.000Z',
  sweepAt,
});

/** Attempts of which the last one ended with this error. */
export const endedWith = (error: string): ExecutionRecord['attempts'] => [
  ...anExecution().attempts.map((attempt) => ({ ...attempt, error: 'http: status 418' })),
  ...anExecution().attempts.map((attempt) => ({ ...attempt, number: 2, error })),
];

/** An execution with this detail in its event. */
export function withDetail(
  detail: unknown,
  execution: Parameters<typeof anExecution>[0] = {},
): ExecutionRecord {
  const record = anExecution(execution);
  return { ...record, event: { ...record.event, raw: anEvent({ detail }) } };
}

/** An execution of about this many bytes, which do not compress. */
export const aLargeExecution = (
  bytes: number,
  execution: Parameters<typeof anExecution>[0] = {},
): ExecutionRecord => withDetail({ data: randomBytes(bytes).toString('base64').slice(0, bytes) }, execution);
