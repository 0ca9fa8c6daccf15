import { createDynamo, createEventBridge, createKms } from '../../shared/aws/clients.ts';
import { openTargets } from '../../shared/delivery/targets.ts';
import { createEventPublisher } from '../../shared/events/publish.ts';
import { createExecutionSearch } from '../../shared/executions/search.ts';
import { createDataKey } from '../../shared/handlers/data-key.ts';
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
  return {
    now,
    handlers: createHandlerStore({ dynamo, tableName: env.HANDLERS_TABLE }),
    dataKey: createDataKey(env.DATA_KEY, {
      dynamo,
      kms: createKms(),
      tableName: env.HANDLERS_TABLE,
      mayCreate: true,
    }),
    executions: createExecutionSearch({
      dynamo,
      tableName: env.EXECUTIONS_TABLE,
      shards: env.LOG_SHARDS,
      now,
    }),
    scripts: createDeployedScripts({
      lambda: targets.lambda,
      names: env.SCRIPTS,
      prefix: env.SCRIPT_FUNCTION_PREFIX,
      now,
    }),
    publishEvent: createEventPublisher({ eventBridge: createEventBridge(), busName: env.EVENT_BUS }),
    targets,
  };
}
