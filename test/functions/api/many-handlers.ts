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
  await store({ dynamo, handlersTable }, items);
}

/** The same for event types of a deployer's. */
export async function storeEventTypes(
  tables: Pick<Environment, 'dynamo' | 'handlersTable'>,
  count: number,
  custom = JSON.stringify({ label: 'L', group: 'L', description: '', schema: {}, sample: {} }),
): Promise<void> {
  const items = Array.from({ length: count }, (_, index) => ({
    pk: 'EVENT_TYPE',
    sk: `crm.type_${String(index).padStart(3, '0')}`,
    version: 1,
    updatedAt: '2026-11-23T10:00:00.000Z',
    validation: 'warn',
    custom,
  }));
  await store(tables, items);
}

async function store(
  { dynamo, handlersTable }: Pick<Environment, 'dynamo' | 'handlersTable'>,
  items: Record<string, unknown>[],
): Promise<void> {
  const batches = Array.from({ length: Math.ceil(items.length / maxBatchWrite) }, (_, index) =>
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
