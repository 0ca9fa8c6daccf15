import { z } from 'zod';
import { sharedEnv } from '../../shared/env.ts';

export const SweeperEnv = z.object({
  HANDLERS_TABLE: sharedEnv.HANDLERS_TABLE,
  EXECUTIONS_TABLE: sharedEnv.EXECUTIONS_TABLE,
  DATA_KEY: sharedEnv.DATA_KEY,
  REDACT_PATHS: sharedEnv.REDACT_PATHS,
  RETRIES_QUEUE: sharedEnv.RETRIES_QUEUE,
  EVENTS_DEAD_LETTERS_QUEUE: z.url().describe('URL of the queue of events that the dispatcher gave up on'),
  UNDELIVERED_EVENTS_QUEUE: z
    .url()
    .optional()
    .describe(
      'URL of the queue of events that the bus could not put into the events queue; one machine has none',
    ),
  RETRIES_DEAD_LETTERS_QUEUE: z
    .url()
    .describe('URL of the queue of wake-up calls that the retrier gave up on'),
  LOG_SHARDS: sharedEnv.LOG_SHARDS,
  RETENTION_DAYS: sharedEnv.RETENTION_DAYS,
  HELD_RETENTION_DAYS: sharedEnv.HELD_RETENTION_DAYS,
  RETRY_SCALE: sharedEnv.RETRY_SCALE,
  CIRCUITS: sharedEnv.CIRCUITS,
});
export type SweeperEnv = z.output<typeof SweeperEnv>;
