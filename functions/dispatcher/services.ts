import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { createDynamo, createEventBridge, createKms, createSqs } from '../../shared/aws/clients.ts';
import { createCircuits } from '../../shared/delivery/circuits.ts';
import { openTargets } from '../../shared/delivery/targets.ts';
import { createEventCheck } from '../../shared/catalogue/check-event.ts';
import { createDeadLetters } from '../../shared/dead-letters/dead-letters.ts';
import { createEventTypeStore } from '../../shared/catalogue/event-types.ts';
import { createKeeping } from '../../shared/events/keeping.ts';
import { createAnnouncer } from '../../shared/events/own-events.ts';
import { createEventRequeue } from '../../shared/executions/requeue.ts';
import { createHourlyCounts } from '../../shared/executions/hours.ts';
import { createExecutionLog } from '../../shared/executions/log.ts';
import { createWakeUps } from '../../shared/executions/wake-ups.ts';
import { createDataKey } from '../../shared/secrets/data-key.ts';
import { createDisabler } from '../../shared/handlers/disable-handler.ts';
import { createHealthStore } from '../../shared/handlers/health-store.ts';
import { createRateLimits } from '../../shared/handlers/rate-limit.ts';
import { createRegistry } from '../../shared/handlers/registry.ts';
import { createSlots } from '../../shared/handlers/slots.ts';
import { createHandlerStore } from '../../shared/handlers/store.ts';
import type { DispatcherEnv } from './env.ts';

/** Calls of one handler under way at once: it leaves some to the others. */
const maxCallsOfHandler = 200;

/** All that the dispatcher may touch. */
export type Services = ReturnType<typeof buildServices>;

/** Built once per environment, at its first invocation. The clock, the dice and the waiting are parameters for tests. */
export function buildServices(
  env: DispatcherEnv,
  {
    now = () => new Date(),
    random = Math.random,
    delay = (ms: number): Promise<unknown> => sleep(ms),
  }: { now?: () => Date; random?: () => number; delay?: (ms: number) => Promise<unknown> } = {},
) {
  const dynamo = createDynamo();
  const sqs = createSqs();
  const store = createHandlerStore({ dynamo, tableName: env.HANDLERS_TABLE, now });
  const dataKey = createDataKey(env.DATA_KEY, {
    dynamo,
    kms: createKms(),
    tableName: env.HANDLERS_TABLE,
    mayCreate: false,
  });
  const keeping = createKeeping({ paths: env.REDACT_PATHS, dataKey });
  const executions = { dynamo, tableName: env.EXECUTIONS_TABLE, now };
  const retention = { endedDays: env.RETENTION_DAYS, heldDays: env.HELD_RETENTION_DAYS };
  const hours = createHourlyCounts({ ...executions, retention });
  const wakeUps = createWakeUps({ sqs, queueUrl: env.RETRIES_QUEUE, now });
  const announce = createAnnouncer({ eventBridge: createEventBridge(), busName: env.EVENT_BUS, now });
  const scale = env.RETRY_SCALE;
  const eventTypes = createEventTypeStore({
    dynamo,
    tableName: env.HANDLERS_TABLE,
    raiseRevision: store.raiseEventTypesRevision,
    now,
  });
  const currentRegistry = createRegistry({ store, eventTypes, dataKey, now });
  const disableHandler = createDisabler({ store, announce });
  const circuits = createCircuits({
    health: createHealthStore({ dynamo, tableName: env.HANDLERS_TABLE, handlers: store, scale, now }),
    currentRegistry,
    isOn: env.CIRCUITS,
    autoDisableDays: env.AUTO_DISABLE_DAYS,
    disableHandler,
    announce,
    lane: 'first',
    maxCalls: maxCallsOfHandler,
    scale,
    now,
    random,
  });
  return {
    now,
    random,
    announce,
    disableHandler,
    delay,
    slots: createSlots(createRateLimits({ dynamo, tableName: env.HANDLERS_TABLE, now })),
    circuits,
    observe: circuits.observe,
    currentRegistry,
    checkEvent: createEventCheck({ redactedPaths: env.REDACT_PATHS }),
    keeping,
    deadLetters: createDeadLetters({ ...executions, keeping, keptDays: env.HELD_RETENTION_DAYS }),
    requeue: createEventRequeue({ sqs, queueUrl: env.EVENTS_QUEUE }),
    executionLog: createExecutionLog({ ...executions, hours, wakeUps, retention }),
    hours,
    targets: openTargets(env, now),
    turns: { http: pLimit(env.MAX_CONCURRENT_DELIVERIES), script: pLimit(env.MAX_CONCURRENT_SCRIPTS) },
    logShards: env.LOG_SHARDS,
    retryScale: env.RETRY_SCALE,
  };
}
