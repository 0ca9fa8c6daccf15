import { z } from 'zod';
import { sharedEnv } from '../../shared/env.ts';

export const ApiEnv = z.object({
  HANDLERS_TABLE: sharedEnv.HANDLERS_TABLE,
  EXECUTIONS_TABLE: sharedEnv.EXECUTIONS_TABLE,
  DATA_KEY: sharedEnv.DATA_KEY,
  EVENTS_QUEUE: sharedEnv.EVENTS_QUEUE,
  RETRIES_QUEUE: sharedEnv.RETRIES_QUEUE,
  SCRIPTS: sharedEnv.SCRIPTS,
  SCRIPT_FUNCTION_PREFIX: sharedEnv.SCRIPT_FUNCTION_PREFIX,
  LOG_SHARDS: sharedEnv.LOG_SHARDS,
  RETENTION_DAYS: sharedEnv.RETENTION_DAYS,
  HELD_RETENTION_DAYS: sharedEnv.HELD_RETENTION_DAYS,
  RETRY_SCALE: sharedEnv.RETRY_SCALE,
  ALLOW_HTTP: sharedEnv.ALLOW_HTTP,
  ALLOW_CIDRS: sharedEnv.ALLOW_CIDRS,
  AWS_LAMBDA_RUNTIME_API: sharedEnv.AWS_LAMBDA_RUNTIME_API,
  AUDIT_RETENTION_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(3650)
    .default(365)
    .describe('How long it is known who changed what'),
  GROUPS_CLAIM: z
    .string()
    .min(1)
    // A person may be given whatever scopes the client was registered for.
    .refine(
      (claim) => claim !== 'scope' && claim !== 'scp',
      'a scope belongs to a client and not to a person',
    )
    .default('cognito:groups')
    .describe('The claim of a token that names the groups of a person, or their roles'),
  EVENT_BUS: z.string().min(1).describe('Name of the bus that POST /v1/events publishes to'),
});
export type ApiEnv = z.output<typeof ApiEnv>;
