import { BatchWriteCommand } from '@aws-sdk/lib-dynamodb';
import pLimit from 'p-limit';
import type { HandlerStatus } from '../../../shared/handlers/handler.ts';
import type { Environment } from '../environment.ts';

// Of BatchWriteItem.
const maxBatchWrite = 25;

/** Puts as many handlers into the table, which have no more than what counts them looks at. */
export async function storeHandlers(
  { dynamo, handlersTable }: Pick<Environment, 'dynamo' | 'handlersTable'>,
  { count, status, prefix = status }: { count: number; status: HandlerStatus; prefix?: string },
): Promise<void> {
  const items = Array.from({ length: count }, (_, index) => ({
    pk: 'HANDLER',
    sk: `h_${prefix}_${index}`,
    status,
  }));
  const batches = Array.from({ length: Math.ceil(count / maxBatchWrite) }, (_, index) =>
    items.slice(index * maxBatchWrite, (index + 1) * maxBatchWrite),
  );
  await pLimit(5).map(batches, (batch) =>
    dynamo.send(
      new BatchWriteCommand({
        RequestItems: { [handlersTable]: batch.map((Item) => ({ PutRequest: { Item } })) },
      }),
    ),
  );
}
