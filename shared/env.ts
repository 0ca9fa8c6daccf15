import { z } from 'zod';
import { parseCidr } from './delivery/cidr.ts';
import { RedactedPaths } from './events/redaction.ts';

const daysError = 'must be a whole number of days from 0 to 365';

/** The variables that more than one function reads; a function's `env.ts` picks the ones it needs. */
export const sharedEnv = {
  HANDLERS_TABLE: z.string().min(1).describe('Name of the table that holds handlers and their registry'),
  EXECUTIONS_TABLE: z.string().min(1).describe('Name of the table that holds the execution log'),
  DATA_KEY: z
    .string()
    .regex(/^(file:.+|arn:.+)$/u, 'must be file:<path> or the ARN of a KMS key')
    .describe(
      'Where the key that encrypts handler secrets comes from: "file:<path>" (32 bytes), or the ARN of the KMS key that wraps the data key stored in the handlers table',
    ),
  LOG_SHARDS: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      'Partitions of one handler in the execution log; about 500 executions a second each. May only grow',
    ),
  ALLOW_HTTP: z.stringbool().default(false).describe('Whether plain http:// targets are allowed'),
  ALLOW_CIDRS: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((cidr) => cidr.trim())
        .filter((cidr) => cidr !== ''),
    )
    .superRefine((cidrs, context) => {
      for (const cidr of cidrs) {
        try {
          parseCidr(cidr);
        } catch (error) {
          const message = `must be address ranges such as 10.1.0.0/16 or fd12:3456::/32, but ${(error as Error).message}`;
          context.addIssue({ code: 'custom', message });
        }
      }
    })
    .describe('Comma-separated address ranges that targets may be in although they are private'),
  REDACT_PATHS: RedactedPaths,
  EVENT_BUS: z.string().min(1).describe('Name of the EventBridge bus that Handoff publishes on'),
  EVENTS_QUEUE: z.url().describe('URL of the queue that the dispatcher reads'),
  RETRIES_QUEUE: z.url().describe('URL of the queue that the retrier reads'),
  SCRIPTS: z
    .string()
    .default('')
    .transform((list) => list.split(',').filter((name) => name !== ''))
    .describe('Comma-separated names of the scripts of this deployment'),
  SCRIPT_FUNCTION_PREFIX: z
    .string()
    .default('')
    .describe('The name of a script’s Lambda is this and the script’s own name'),
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
    .describe('HTTP deliveries under way at once in one environment; Lambda has 1,024 file descriptors'),
  MAX_CONCURRENT_SCRIPTS: z.coerce
    .number()
    .int()
    .min(1)
    .max(900)
    .default(64)
    .describe(
      'Scripts under way at once in one environment; each takes one of the account’s 1,000 concurrent Lambdas',
    ),
  RETRY_SCALE: z.coerce
    .number()
    .positive()
    .max(1)
    .default(1)
    .describe('Multiplies every wait of a retry, a sweep or a lease; below 1 for tests only'),
  AUTO_DISABLE_DAYS: z.coerce
    .number(daysError)
    .int(daysError)
    .min(0, daysError)
    .max(365, daysError)
    .default(5)
    .describe(
      'A handler whose target has answered nothing but failures for so many days is disabled; 0 means never',
    ),
  CIRCUITS: z
    .stringbool()
    .default(true)
    .describe('Whether handlers whose target is down are left alone until a probe gets an answer'),
  AWS_LAMBDA_RUNTIME_API: z
    .string()
    .optional()
    .describe('Set by AWS Lambda itself, so its presence says where this runs'),
};

/**
 * Reads a function's settings once, at its first invocation.
 * Throws an Error that names every variable that is missing or wrong.
 */
export function parseEnv<Schema extends z.ZodType>(
  schema: Schema,
  source: Record<string, string | undefined>,
): z.output<Schema> {
  const result = schema.safeParse(source);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new Error(`The environment is not usable. ${problems.join('; ')}`);
}
