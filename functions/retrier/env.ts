import { z } from 'zod';
import { sharedEnv } from '../../shared/env.ts';

export const RetrierEnv = z.object({
  HANDLERS_TABLE: sharedEnv.HANDLERS_TABLE,
  EXECUTIONS_TABLE: sharedEnv.EXECUTIONS_TABLE,
  DATA_KEY: sharedEnv.DATA_KEY,
  REDACT_PATHS: sharedEnv.REDACT_PATHS,
  EVENT_BUS: sharedEnv.EVENT_BUS,
  EVENTS_QUEUE: sharedEnv.EVENTS_QUEUE,
  RETRIES_QUEUE: sharedEnv.RETRIES_QUEUE,
  SCRIPTS: sharedEnv.SCRIPTS,
  SCRIPT_FUNCTION_PREFIX: sharedEnv.SCRIPT_FUNCTION_PREFIX,
  ALLOW_HTTP: sharedEnv.ALLOW_HTTP,
  ALLOW_CIDRS: sharedEnv.ALLOW_CIDRS,
  RETENTION_DAYS: sharedEnv.RETENTION_DAYS,
  HELD_RETENTION_DAYS: sharedEnv.HELD_RETENTION_DAYS,
  MAX_CONCURRENT_SCRIPTS: sharedEnv.MAX_CONCURRENT_SCRIPTS,
  MAX_CONCURRENT_ATTEMPTS: z.coerce
    .number()
    .int()
    .min(1)
    .max(900)
    .default(32)
    .describe(
      'Attempts under way at once in one environment; each holds an event of up to 1 MB, and what is made of it',
    ),
  RETRY_SCALE: sharedEnv.RETRY_SCALE,
  CIRCUITS: sharedEnv.CIRCUITS,
  AUTO_DISABLE_DAYS: sharedEnv.AUTO_DISABLE_DAYS,
  AWS_LAMBDA_RUNTIME_API: sharedEnv.AWS_LAMBDA_RUNTIME_API,
});
export type RetrierEnv = z.output<typeof RetrierEnv>;
