import { z } from 'zod';
import { parseCidr } from './delivery/cidr.ts';

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
