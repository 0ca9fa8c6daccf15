import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { createDynamo, createEventBridge, createKms, createSqs } from '../../shared/aws/clients.ts';
import { createCircuits } from '../../shared/delivery/circuits.ts';
import { openTargets } from '../../shared/delivery/targets.ts';
import { createDeadLetters } from '../../shared/dead-letters/dead-letters.ts';
import { createKeeping } from '../../shared/events/keeping.ts';
import { createAnnouncer } from '../../shared/events/own-events.ts';
import { createEventRequeue } from '../../shared/executions/requeue.ts';
import { createClaims } from '../../shared/executions/claim.ts';
import { createHourlyCounts } from '../../shared/executions/hours.ts';
import { createPostponer } from '../../shared/executions/postpone.ts';
import { createWakeUps } from '../../shared/executions/wake-ups.ts';
import { createDataKey } from '../../shared/secrets/data-key.ts';
import { createDisabler } from '../../shared/handlers/disable-handler.ts';
import { createHealthStore } from '../../shared/handlers/health-store.ts';
import { createRateLimits } from '../../shared/handlers/rate-limit.ts';
import { createRegistry } from '../../shared/handlers/registry.ts';
import { createSlots } from '../../shared/handlers/slots.ts';
import { createHandlerStore } from '../../shared/handlers/store.ts';
import type { RetrierEnv } from './env.ts';

/** Of the attempts under way at once, one handler gets at most this share. */
const shareOfHandler = 1 / 4;

/** All that the retrier may touch. */
export type Services = ReturnType<typeof buildServices>;

/** Built once per environment, at its first invocation. The clock, the dice and the waiting are parameters for tests. */
export function buildServices(
  env: RetrierEnv,
  {
    now = () => new Date(),
    random = Math.random,
    delay = (ms: number): Promise<unknown> => sleep(ms),
  }: { now?: () => Date; random?: () => number; delay?: (ms: number) => Promise<unknown> } = {},
) {
  const dynamo = createDynamo();
  const handlers = createHandlerStore({ dynamo, tableName: env.HANDLERS_TABLE, now });
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
  const sqs = createSqs();
  const wakeUps = createWakeUps({ sqs, queueUrl: env.RETRIES_QUEUE, now });
  const announce = createAnnouncer({ eventBridge: createEventBridge(), busName: env.EVENT_BUS, now });
  const scale = env.RETRY_SCALE;
  const health = createHealthStore({ dynamo, tableName: env.HANDLERS_TABLE, handlers, scale, now });
  const currentRegistry = createRegistry({ store: handlers, dataKey, now });
  const disableHandler = createDisabler({ store: handlers, announce });
  const circuits = createCircuits({
    health,
    currentRegistry,
    isOn: env.CIRCUITS,
    autoDisableDays: env.AUTO_DISABLE_DAYS,
    disableHandler,
    announce,
    lane: 'later',
    maxCalls: Math.ceil(env.MAX_CONCURRENT_ATTEMPTS * shareOfHandler),
    scale,
    now,
    random,
  });
  return {
    now,
    random,
    announce,
    delay,
    health,
    circuits,
    observe: circuits.observe,
    handlers,
    disableHandler,
    currentRegistry,
    slots: createSlots(createRateLimits({ dynamo, tableName: env.HANDLERS_TABLE, now })),
    keeping,
    deadLetters: createDeadLetters({ ...executions, keeping, keptDays: env.HELD_RETENTION_DAYS }),
    claims: createClaims({ ...executions, hours, wakeUps, retention, scale: env.RETRY_SCALE }),
    postpone: createPostponer({ ...executions, wakeUps }),
    wakeUps,
    requeue: createEventRequeue({ sqs, queueUrl: env.EVENTS_QUEUE }),
    hours,
    targets: openTargets(env, now),
    inTurn: pLimit(env.MAX_CONCURRENT_ATTEMPTS),
    scriptsInTurn: pLimit(env.MAX_CONCURRENT_SCRIPTS),
    alone: pLimit(1),
    retryScale: env.RETRY_SCALE,
  };
}
