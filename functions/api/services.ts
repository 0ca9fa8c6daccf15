import { createAuditTrail } from '../../shared/audit/trail.ts';
import { createDynamo, createEventBridge, createKms, createSqs } from '../../shared/aws/clients.ts';
import { openTargets } from '../../shared/delivery/targets.ts';
import { createDeadLetters } from '../../shared/dead-letters/dead-letters.ts';
import { createKeeping } from '../../shared/events/keeping.ts';
import { createIdempotency } from '../../shared/events/idempotency.ts';
import { createEventCheck } from '../../shared/catalogue/check-event.ts';
import { createEventTypeStore } from '../../shared/catalogue/event-types.ts';
import { sendEvents, type NewEvent } from '../../shared/events/publish.ts';
import { createEventRequeue } from '../../shared/executions/requeue.ts';
import { createHourlyCounts } from '../../shared/executions/hours.ts';
import { createMover } from '../../shared/executions/move.ts';
import { createRecoverables } from '../../shared/executions/recoverable.ts';
import { createRecoveries } from '../../shared/executions/recoveries.ts';
import { createReopener } from '../../shared/executions/reopen.ts';
import { createExecutionSearch } from '../../shared/executions/search.ts';
import { createExecutionStats } from '../../shared/executions/stats.ts';
import { createWakeUps } from '../../shared/executions/wake-ups.ts';
import { createDataKey } from '../../shared/secrets/data-key.ts';
import { createHealthStore } from '../../shared/handlers/health-store.ts';
import { createHandlerStore } from '../../shared/handlers/store.ts';
import { createDeployedScripts } from '../../shared/scripts/deployed.ts';
import type { ApiEnv } from './env.ts';

/** All that the API may touch. */
export type Services = ReturnType<typeof buildServices>;

/** Built once per environment, at its first request. */
export function buildServices(env: ApiEnv) {
  const now = () => new Date();
  const dynamo = createDynamo();
  const targets = openTargets(env, now);
  const handlers = createHandlerStore({ dynamo, tableName: env.HANDLERS_TABLE, now });
  const sqs = createSqs();
  const table = { dynamo, tableName: env.EXECUTIONS_TABLE, now };
  const retention = { endedDays: env.RETENTION_DAYS, heldDays: env.HELD_RETENTION_DAYS };
  const dataKey = createDataKey(env.DATA_KEY, {
    dynamo,
    kms: createKms(),
    tableName: env.HANDLERS_TABLE,
    mayCreate: true,
  });
  // It reads what was kept, and keeps nothing itself.
  const keeping = createKeeping({ paths: [], dataKey });
  const hours = createHourlyCounts({ ...table, retention });
  const wakeUps = createWakeUps({ sqs, queueUrl: env.RETRIES_QUEUE, now });
  const eventBridge = createEventBridge();
  const mover = createMover({ ...table, hours, wakeUps, retention });
  return {
    now,
    audit: createAuditTrail({
      dynamo,
      tableName: env.HANDLERS_TABLE,
      keptDays: env.AUDIT_RETENTION_DAYS,
      now,
    }),
    handlers,
    health: createHealthStore({
      dynamo,
      tableName: env.HANDLERS_TABLE,
      handlers,
      scale: env.RETRY_SCALE,
      now,
    }),
    dataKey,
    executions: createExecutionSearch({ ...table, shards: env.LOG_SHARDS }),
    readStats: createExecutionStats(table),
    hours,
    mover,
    reopener: createReopener({ mover, scale: env.RETRY_SCALE, now }),
    recoveries: createRecoveries({
      dynamo,
      tableName: env.HANDLERS_TABLE,
      keptDays: env.RETENTION_DAYS,
      now,
    }),
    recoverables: createRecoverables({ ...table, shards: env.LOG_SHARDS, retention }),
    scripts: createDeployedScripts({
      lambda: targets.lambda,
      names: env.SCRIPTS,
      prefix: env.SCRIPT_FUNCTION_PREFIX,
      now,
    }),
    idempotency: createIdempotency({ dynamo, tableName: env.EXECUTIONS_TABLE, now }),
    deadLetters: createDeadLetters({ ...table, keeping, keptDays: env.HELD_RETENTION_DAYS }),
    requeue: createEventRequeue({ sqs, queueUrl: env.EVENTS_QUEUE }),
    groupsClaim: env.GROUPS_CLAIM,
    eventTypes: createEventTypeStore({
      dynamo,
      tableName: env.HANDLERS_TABLE,
      raiseRevision: handlers.raiseEventTypesRevision,
      now,
    }),
    // Who publishes sees the fields of their own event.
    checkEvent: createEventCheck(),
    publish: (events: readonly NewEvent[]) => sendEvents(eventBridge, events, { busName: env.EVENT_BUS }),
    targets,
  };
}
