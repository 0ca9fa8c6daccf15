import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { createHourlyCounts } from '../../../shared/executions/hours.ts';
import { createExecutionLog } from '../../../shared/executions/log.ts';
import type { Environment } from '../environment.ts';

/** Puts executions into the log, as the dispatcher would. */
export async function logExecutions(
  { dynamo, executionsTable }: Pick<Environment, 'dynamo' | 'executionsTable'>,
  records: readonly ExecutionRecord[],
): Promise<void> {
  const table = { dynamo, tableName: executionsTable, now: () => new Date() };
  const retention = { endedDays: 30, heldDays: 90 };
  const hours = createHourlyCounts({ ...table, retention });
  const batch = createExecutionLog({ ...table, hours, retention }).openBatch();
  for (const record of records) batch.add(record, { redelivered: false });
  const {
    unwritten: [unwritten],
  } = await batch.close();
  if (unwritten !== undefined) throw unwritten.error;
}
