import { createSqs } from '../../../shared/aws/clients.ts';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { createHourlyCounts } from '../../../shared/executions/hours.ts';
import { createExecutionLog } from '../../../shared/executions/log.ts';
import { createWakeUps } from '../../../shared/executions/wake-ups.ts';
import type { Environment } from '../environment.ts';

/** Puts executions into the log, as the dispatcher would. */
export async function logExecutions(
  { dynamo, executionsTable, variables }: Pick<Environment, 'dynamo' | 'executionsTable' | 'variables'>,
  records: readonly ExecutionRecord[],
): Promise<void> {
  const table = { dynamo, tableName: executionsTable, now: () => new Date() };
  const retention = { endedDays: 30, heldDays: 90 };
  const hours = createHourlyCounts({ ...table, retention });
  const wakeUps = createWakeUps({ sqs: createSqs(), queueUrl: variables.RETRIES_QUEUE, now: table.now });
  const batch = createExecutionLog({ ...table, hours, wakeUps, retention }).openBatch();
  for (const record of records) batch.add(record, { redelivered: false });
  const {
    unwritten: [unwritten],
  } = await batch.close();
  if (unwritten !== undefined) throw unwritten.error;
}
