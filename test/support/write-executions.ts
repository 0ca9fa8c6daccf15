import { BatchWriteCommand, type DynamoDBDocumentClient } from '@aws-sdk/lib-dynamodb';
import pLimit from 'p-limit';
import { expect } from 'vitest';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { toItem } from '../../shared/executions/item.ts';

export const retention = { endedDays: 30, heldDays: 90 };
// Of BatchWriteItem.
const maxBatchWrite = 25;
const writesAtOnce = 5;

/** Puts many executions into a table as they are, and nothing else. */
export async function writeExecutions(
  { dynamo, tableName, now }: { dynamo: DynamoDBDocumentClient; tableName: string; now: () => Date },
  records: readonly ExecutionRecord[],
): Promise<void> {
  const requests = records.map((record) => ({ PutRequest: { Item: toItem(record, retention, now()) } }));
  const batches = Array.from({ length: Math.ceil(requests.length / maxBatchWrite) }, (_, index) =>
    requests.slice(index * maxBatchWrite, (index + 1) * maxBatchWrite),
  );
  await pLimit(writesAtOnce).map(batches, async (batch) => {
    const { UnprocessedItems } = await dynamo.send(
      new BatchWriteCommand({ RequestItems: { [tableName]: batch } }),
    );
    expect(UnprocessedItems).toEqual({});
  });
}
