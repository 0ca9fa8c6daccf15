import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { z } from 'zod';
import { ApiEnv } from '../functions/api/env.ts';
import { DispatcherEnv } from '../functions/dispatcher/env.ts';
import { DeployError } from './deploy-error.ts';

const wholeNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/u, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));

// CloudWatch takes these and no others. Left out: 9999, which CDK reads as "for ever"; nothing here grows without bound.
const logRetentions = Object.values(RetentionDays).filter(
  (days): days is RetentionDays => typeof days === 'number' && days !== RetentionDays.INFINITE,
);

// EventBridge takes any text for a source. Handoff takes no event with one of more than 256 characters.
const sourcePattern = /^(?=.{1,256}$)[\x20-\x29\x2b-\x7e]+\*?$/u;

const nameOfBus = z.string().regex(/^[\w.-]{1,256}$/u, 'must be letters, digits, and . - _, at most 256');

/**
 * What a deployer may set: `npx cdk deploy -c busName=crm -c batchWindowSeconds=5`, or the same names under
 * `context` in cdk.json. What a function reads too has the schema of that function, so that a value which
 * its `env.ts` would refuse in the cloud is refused here.
 */
export const Config = z.strictObject({
  /** Letters, digits and hyphens. @default Handoff */
  stackName: z
    .string()
    .regex(
      /^[A-Za-z][A-Za-z0-9-]{0,99}$/u,
      'must be letters, digits and hyphens, at most 100, a letter first',
    )
    .default('Handoff')
    .describe(
      'Name of the stack, and the beginning of the names of its tables and scripts; a new name is a new deployment',
    ),
  /** @default handoff */
  busName: nameOfBus
    .refine(
      (name) => name !== 'default',
      'that is the bus which every account has, so it goes into existingBusName',
    )
    .default('handoff')
    .describe('Name of the EventBridge bus that is made for upstream services to put their events on'),
  /** @default null */
  existingBusName: nameOfBus
    .nullable()
    .default(null)
    .describe(
      'Name of a bus of this account and region that is used instead of making one, and left as it is; "default" is the one that every account has',
    ),
  /** Comma-separated; none means all that is on a bus of our own. @default '' */
  eventSources: z
    .string()
    .default('')
    .transform((list) =>
      list
        .split(',')
        .map((source) => source.trim())
        .filter((source) => source !== ''),
    )
    .refine(
      (sources) => sources.every((source) => sourcePattern.test(source)),
      'must be names with commas between them, each of at most 256 printable ASCII characters; a * may only end one, and not be all of it',
    )
    .describe(
      'The sources whose events are taken, "crm.*" for all that begin with "crm."; required with an existing bus, which carries the events of others too',
    ),
  /** Seconds, 0 to 300. @default 1 */
  batchWindowSeconds: wholeNumber(0, 300)
    .default(1)
    .describe(
      'How long the queue gathers events for one batch of up to 100; 0 means at once, in batches of up to 10',
    ),
  /** MB, 128 to 10240. @default 512 */
  dispatcherMemoryMb: wholeNumber(128, 10_240)
    .default(512)
    .describe('Memory of the dispatcher and of the retrier; their share of a processor grows with it'),
  /** Environments, 2 to 1000; null means as many as the account allows. @default null */
  dispatcherConcurrency: wholeNumber(2, 1000)
    .nullable()
    .default(null)
    .describe('How many batches of events are worked on at once'),
  /** Environments, 2 to 1000. @default 100 */
  retrierConcurrency: wholeNumber(2, 1000)
    .default(100)
    .describe(
      'How many batches of later attempts are worked on at once; well below what the account allows, so that a backlog of them leaves room for first attempts',
    ),
  /** Partitions. @default 1 */
  logShards: DispatcherEnv.shape.LOG_SHARDS,
  /** Days. @default 30 */
  retentionDays: DispatcherEnv.shape.RETENTION_DAYS,
  /** Days. @default 90 */
  heldRetentionDays: DispatcherEnv.shape.HELD_RETENTION_DAYS,
  /** Days. @default 365 */
  auditRetentionDays: ApiEnv.shape.AUDIT_RETENTION_DAYS,
  /** Days, one of those that CloudWatch knows. @default 30 */
  logRetentionDays: wholeNumber(1, 3653)
    .transform((days, context): RetentionDays => {
      const known = logRetentions.find((retention): boolean => retention.valueOf() === days);
      if (known !== undefined) return known;
      context.addIssue({ code: 'custom', message: `must be one of ${logRetentions.join(', ')}` });
      return z.NEVER;
    })
    .default(RetentionDays.ONE_MONTH)
    .describe('How long the functions’ own logs are kept (the execution log has retentionDays)'),
  /** @default false */
  executionsPointInTimeRecovery: z
    .stringbool()
    .default(false)
    .describe(
      'Whether the execution log can be restored to any second of the last 35 days; billed by its size',
    ),
  /** @default true */
  circuitBreaker: DispatcherEnv.shape.CIRCUITS,
  /** Days, 0 to 365. @default 5 */
  autoDisableDays: DispatcherEnv.shape.AUTO_DISABLE_DAYS,
  /** @default false */
  allowHttp: DispatcherEnv.shape.ALLOW_HTTP,
  /** Comma-separated. @default '' */
  allowCidrs: DispatcherEnv.shape.ALLOW_CIDRS,
  /** Comma-separated. @default '' */
  redactPaths: DispatcherEnv.shape.REDACT_PATHS,
  /** @default null */
  alarmTopicArn: z
    .string()
    .regex(/^arn:aws[\w-]*:sns:[\w-]+:\d{12}:[\w-]+$/u, 'must be the ARN of an SNS topic')
    .nullable()
    .default(null)
    .describe('The SNS topic that hears of every alarm; without it alarms only show in CloudWatch'),
});
export type Config = z.output<typeof Config>;

/**
 * Reads the deploy settings from CDK's context. Throws a DeployError that names every setting which is unknown
 * or cannot be used.
 */
export function parseConfig(context: Record<string, unknown>): Config {
  const given = Object.entries(context)
    .filter(([name, value]) => !isOfCdk(name) && value !== null)
    // `-c` hands over text; cdk.json may hold numbers and booleans.
    .map(([name, value]) => [name, isPlain(value) ? String(value) : value] as const);
  const known = Object.keys(Config.shape);
  const unknown = given
    .filter(([name]) => !known.includes(name))
    .map(([name]) => `${name} is not a deploy setting; there are ${known.join(', ')}.`);
  const usable = given.filter(([name]) => known.includes(name));
  // Refused before zod sees them: Number([5]) is 5.
  const nested = usable
    .filter(([, value]) => typeof value !== 'string')
    .map(([name]) => `${name} must be text, a number, true or false.`);
  const texts = Object.fromEntries(
    usable.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
  const result = Config.safeParse(texts);
  const bad = (result.error?.issues ?? []).map((issue) => {
    const name = String(issue.path[0]) as keyof Config;
    return `${name} cannot be ${JSON.stringify(context[name])}: ${issue.message}. (${Config.shape[name].description}.)`;
  });
  const problems = [...unknown, ...nested, ...bad, ...conflictsOf(texts)];
  if (problems.length > 0 || !result.success) {
    throw new DeployError(`The deploy settings cannot be used. ${problems.join(' ')}`);
  }
  return result.data;
}

/** Sentences about settings that do not go together. */
function conflictsOf({ busName, existingBusName, eventSources }: Record<string, string>): string[] {
  if (existingBusName === undefined) return [];
  const problems: string[] = [];
  if (busName !== undefined) {
    problems.push(
      'busName is for a bus that is made, existingBusName for one that is there: set one of the two.',
    );
  }
  if (eventSources === undefined || /^[\s,]*$/u.test(eventSources)) {
    problems.push(
      'existingBusName needs eventSources: others put events on that bus too, so say whose are taken.',
    );
  }
  return problems;
}

// What `cdk cli-telemetry` and `cdk acknowledge` write down.
const commandKeys = new Set(['cli-telemetry', 'acknowledged-issue-numbers']);

// All its other keys (`aws:cdk:...`, `@aws-cdk/...`, cached look-ups) have one of these characters.
const isOfCdk = (name: string) => /[:@/]/u.test(name) || commandKeys.has(name);

const isPlain = (value: unknown) => typeof value === 'number' || typeof value === 'boolean';
