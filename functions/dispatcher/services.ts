import pLimit from 'p-limit';
import { createDynamo, createKms } from '../../shared/aws/clients.ts';
import { createAddressGuard } from '../../shared/delivery/address-guard.ts';
import { createAgent } from '../../shared/delivery/agent.ts';
import { createDeadLetters } from '../../shared/events/dead-letters.ts';
import { createHourlyCounts } from '../../shared/executions/hours.ts';
import { createExecutionLog } from '../../shared/executions/log.ts';
import { createDataKey } from '../../shared/handlers/data-key.ts';
import { createRegistry } from '../../shared/handlers/registry.ts';
import { createHandlerStore } from '../../shared/handlers/store.ts';
import type { DispatcherEnv } from './env.ts';

/** All that the dispatcher may touch. */
export type Services = ReturnType<typeof buildServices>;

/** Built once per environment, at its first invocation. The clock and the dice are parameters for tests. */
export function buildServices(
  env: DispatcherEnv,
  { now = () => new Date(), random = Math.random }: { now?: () => Date; random?: () => number } = {},
) {
  const dynamo = createDynamo();
  const store = createHandlerStore({ dynamo, tableName: env.HANDLERS_TABLE });
  const dataKey = createDataKey(env.DATA_KEY, {
    dynamo,
    kms: createKms(),
    tableName: env.HANDLERS_TABLE,
    mayCreate: false,
  });
  const executions = { dynamo, tableName: env.EXECUTIONS_TABLE, now };
  const retention = { endedDays: env.RETENTION_DAYS, heldDays: env.HELD_RETENTION_DAYS };
  const hours = createHourlyCounts({ ...executions, retention });
  const guard = createAddressGuard({
    allowCidrs: env.ALLOW_CIDRS,
    // The runtime's own API listens on Lambda's loopback. AWS sets this variable and reserves its name.
    allowLoopback: env.AWS_LAMBDA_RUNTIME_API === undefined,
  });
  return {
    now,
    random,
    currentRegistry: createRegistry({ store, dataKey, now }),
    deadLetters: createDeadLetters({ ...executions, keptDays: env.HELD_RETENTION_DAYS }),
    executionLog: createExecutionLog({ ...executions, hours, retention }),
    hours,
    agent: createAgent(guard),
    guard,
    allowHttp: env.ALLOW_HTTP,
    inTurn: pLimit(env.MAX_CONCURRENT_DELIVERIES),
    logShards: env.LOG_SHARDS,
    retryScale: env.RETRY_SCALE,
  };
}
