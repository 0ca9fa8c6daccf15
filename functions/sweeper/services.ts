import { createDynamo, createKms, createSqs } from '../../shared/aws/clients.ts';
import { createDeadLetters } from '../../shared/dead-letters/dead-letters.ts';
import { createKeeping } from '../../shared/events/keeping.ts';
import { createAttention } from '../../shared/executions/attention.ts';
import { createDueIndex } from '../../shared/executions/due.ts';
import { createHourlyCounts } from '../../shared/executions/hours.ts';
import { createExecutionLog } from '../../shared/executions/log.ts';
import { createMover } from '../../shared/executions/move.ts';
import { createRecoverables } from '../../shared/executions/recoverable.ts';
import { createRecoveries } from '../../shared/executions/recoveries.ts';
import { createRecoveryTurns } from '../../shared/executions/recovery-turn.ts';
import { createWakeUps } from '../../shared/executions/wake-ups.ts';
import { createDataKey } from '../../shared/secrets/data-key.ts';
import { createHealthStore } from '../../shared/handlers/health-store.ts';
import { createHandlerStore } from '../../shared/handlers/store.ts';
import type { SweeperEnv } from './env.ts';
import { createSettlingWatch } from './settling-watch.ts';

/** All that the sweeper may touch. */
export type Services = ReturnType<typeof buildServices>;

/** Built once per environment, at its first run. The clock and the jitter's dice are parameters for tests. */
export function buildServices(
  env: SweeperEnv,
  { now = () => new Date(), random = Math.random }: { now?: () => Date; random?: () => number } = {},
) {
  const sqs = createSqs();
  const dynamo = createDynamo();
  const executions = { dynamo, tableName: env.EXECUTIONS_TABLE, now };
  const dataKey = createDataKey(env.DATA_KEY, {
    dynamo,
    kms: createKms(),
    tableName: env.HANDLERS_TABLE,
    mayCreate: false,
  });
  const keeping = createKeeping({ paths: env.REDACT_PATHS, dataKey });
  const retention = { endedDays: env.RETENTION_DAYS, heldDays: env.HELD_RETENTION_DAYS };
  const wakeUps = createWakeUps({ sqs, queueUrl: env.RETRIES_QUEUE, now });
  const hours = createHourlyCounts({ ...executions, retention });
  const handlersTable = { dynamo, tableName: env.HANDLERS_TABLE, now };
  const handlers = createHandlerStore(handlersTable);
  return {
    now,
    random,
    scale: env.RETRY_SCALE,
    sqs,
    handlers,
    health: createHealthStore({
      dynamo,
      tableName: env.HANDLERS_TABLE,
      handlers,
      scale: env.RETRY_SCALE,
      now,
    }),
    keeping,
    circuitsAreOn: env.CIRCUITS,
    /** By handler: when its parked work was last released, milliseconds. */
    releasedAt: new Map<string, number>(),
    findSettling: createSettlingWatch(handlers),
    attention: createAttention(executions),
    executionLog: createExecutionLog({ ...executions, hours, wakeUps, retention }),
    mover: createMover({ ...executions, hours, wakeUps, retention }),
    hours,
    recoveries: createRecoveries({ ...handlersTable, keptDays: env.RETENTION_DAYS }),
    recoveryTurns: createRecoveryTurns({ ...handlersTable, scale: env.RETRY_SCALE }),
    recoverables: createRecoverables({ ...executions, shards: env.LOG_SHARDS, retention }),
    dueIndex: createDueIndex({ ...executions, scale: env.RETRY_SCALE }),
    wakeUps,
    deadLetters: createDeadLetters({ ...executions, keeping, keptDays: env.HELD_RETENTION_DAYS }),
    deadLetterQueues: {
      events: env.EVENTS_DEAD_LETTERS_QUEUE,
      undelivered: env.UNDELIVERED_EVENTS_QUEUE,
      retries: env.RETRIES_DEAD_LETTERS_QUEUE,
    },
  };
}
