import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { createDynamo, createKms, createSqs } from '../../shared/aws/clients.ts';
import { createCircuits } from '../../shared/delivery/circuits.ts';
import { openTargets } from '../../shared/delivery/targets.ts';
import { createDeadLetters } from '../../shared/events/dead-letters.ts';
import { createClaims } from '../../shared/executions/claim.ts';
import { createHourlyCounts } from '../../shared/executions/hours.ts';
import { createWakeUps } from '../../shared/executions/wake-ups.ts';
import { createDataKey } from '../../shared/handlers/data-key.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import { createHealthStore } from '../../shared/handlers/health-store.ts';
import { createRegistry } from '../../shared/handlers/registry.ts';
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
  const executions = { dynamo, tableName: env.EXECUTIONS_TABLE, now };
  const retention = { endedDays: env.RETENTION_DAYS, heldDays: env.HELD_RETENTION_DAYS };
  const hours = createHourlyCounts({ ...executions, retention });
  const wakeUps = createWakeUps({ sqs: createSqs(), queueUrl: env.RETRIES_QUEUE, now });
  const scale = env.RETRY_SCALE;
  const health = createHealthStore({ dynamo, tableName: env.HANDLERS_TABLE, handlers, scale, now });
  const currentRegistry = createRegistry({ store: handlers, dataKey, now });
  const circuits = createCircuits({
    health,
    currentRegistry,
    isOn: env.CIRCUITS,
    lane: 'later',
    maxCalls: Math.ceil(env.MAX_CONCURRENT_ATTEMPTS * shareOfHandler),
    scale,
    now,
    random,
  });
  return {
    now,
    random,
    delay,
    health,
    circuits,
    observe: circuits.observe,
    handlers,
    disableOnDemand: (handler: Handler) => handlers.disable(handler, 'gone'),
    currentRegistry,
    deadLetters: createDeadLetters({ ...executions, keptDays: env.HELD_RETENTION_DAYS }),
    claims: createClaims({ ...executions, hours, wakeUps, retention, scale: env.RETRY_SCALE }),
    wakeUps,
    hours,
    targets: openTargets(env, now),
    inTurn: pLimit(env.MAX_CONCURRENT_ATTEMPTS),
    scriptsInTurn: pLimit(env.MAX_CONCURRENT_SCRIPTS),
    alone: pLimit(1),
    retryScale: env.RETRY_SCALE,
  };
}
