import { createDynamo, createSqs } from '../../shared/aws/clients.ts';
import { createDeadLetters } from '../../shared/events/dead-letters.ts';
import { createDueIndex } from '../../shared/executions/due.ts';
import { createWakeUps } from '../../shared/executions/wake-ups.ts';
import type { SweeperEnv } from './env.ts';

/** All that the sweeper may touch. */
export type Services = ReturnType<typeof buildServices>;

/** Built once per environment, at its first run. The clock is a parameter for tests. */
export function buildServices(env: SweeperEnv, { now = () => new Date() }: { now?: () => Date } = {}) {
  const sqs = createSqs();
  const executions = { dynamo: createDynamo(), tableName: env.EXECUTIONS_TABLE, now };
  return {
    now,
    sqs,
    dueIndex: createDueIndex({ ...executions, scale: env.RETRY_SCALE }),
    wakeUps: createWakeUps({ sqs, queueUrl: env.RETRIES_QUEUE, now }),
    deadLetters: createDeadLetters({ ...executions, keptDays: env.HELD_RETENTION_DAYS }),
    deadLetterQueues: {
      events: env.EVENTS_DEAD_LETTERS_QUEUE,
      undelivered: env.UNDELIVERED_EVENTS_QUEUE,
      retries: env.RETRIES_DEAD_LETTERS_QUEUE,
    },
  };
}
