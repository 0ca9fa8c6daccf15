import { z } from 'zod';
import { sharedEnv } from '../../shared/env.ts';

export const DispatcherEnv = z.object({
  HANDLERS_TABLE: sharedEnv.HANDLERS_TABLE,
  EXECUTIONS_TABLE: sharedEnv.EXECUTIONS_TABLE,
  DATA_KEY: sharedEnv.DATA_KEY,
  LOG_SHARDS: sharedEnv.LOG_SHARDS,
  ALLOW_HTTP: sharedEnv.ALLOW_HTTP,
  ALLOW_CIDRS: sharedEnv.ALLOW_CIDRS,
  AWS_LAMBDA_RUNTIME_API: sharedEnv.AWS_LAMBDA_RUNTIME_API,
  RETENTION_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(3650)
    .default(30)
    .describe('How long ended executions are kept'),
  HELD_RETENTION_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(3650)
    .default(90)
    .describe('How long held executions are kept'),
  MAX_CONCURRENT_DELIVERIES: z.coerce
    .number()
    .int()
    .min(1)
    .max(900)
    .default(256)
    .describe('Deliveries under way at once in one environment; Lambda has 1,024 file descriptors'),
  RETRY_SCALE: z.coerce
    .number()
    .positive()
    .max(1)
    .default(1)
    .describe('Multiplies every wait of a retry; below 1 for tests only'),
});
export type DispatcherEnv = z.output<typeof DispatcherEnv>;
