import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { z } from 'zod';
import { ApiEnv } from '../functions/api/env.ts';
import { DispatcherEnv } from '../functions/dispatcher/env.ts';
import { roles, type Role } from '../shared/role.ts';
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

const listed = (text: string): string[] =>
  text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

/** https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-assign-domain-prefix.html */
export const reservedInDomains = ['aws', 'amazon', 'cognito'];

// API Gateway's limit for one authorizer: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
const maxAudiences = 50;

/** `https:`, or plain HTTP on the developer's own machine, where Cognito allows it too. */
function isCallbackUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.hash !== '' || text.includes('#')) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && url.hostname === 'localhost');
}

/** A URL that can be the `iss` of tokens (OpenID Connect Discovery 1.0, 3). */
function isIssuer(text: string): boolean {
  const url = URL.parse(text);
  return url?.protocol === 'https:' && !/[?#\s]/u.test(text) && url.username === '';
}

type MachineClient = { name: string; role: Role };

/** `billing:operate`; null for what is no name of a client with a role. */
function machineClientOf(entry: string): MachineClient | null {
  const [, name, given] = /^(?<name>[A-Za-z][\w-]{0,63})\s*:\s*(?<role>\w+)$/u.exec(entry) ?? [];
  const role = roles.find((one) => one === given);
  return name === undefined || role === undefined ? null : { name, role };
}

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
    .transform(listed)
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
  /** Lower-case letters, digits and hyphens, at most 63. @default the stackName and the number of the account */
  signInDomain: z
    .string()
    .regex(
      /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/u,
      'must be lower-case letters, digits and hyphens, at most 63, no hyphen at either end',
    )
    .refine(
      (prefix) => reservedInDomains.every((word) => !prefix.includes(word)),
      `must not have ${reservedInDomains.join(', ')} in it`,
    )
    .nullable()
    .default(null)
    .describe(
      'The beginning of the domain on which people sign in; nobody else in the region may have the same',
    ),
  /** Comma-separated. @default the console of the API */
  callbackUrls: z
    .string()
    .default('')
    .transform(listed)
    .refine(
      (urls) => urls.every(isCallbackUrl) && urls.length <= 100,
      'must be https:// URLs without a #, at most 100, with commas between them; http:// on localhost alone',
    )
    .describe('Where people come back to from the page on which they sign in'),
  /** Comma-separated. @default '' */
  machineClients: z
    .string()
    .default('')
    .transform((list, context): MachineClient[] => {
      const clients = listed(list).map((entry) => ({ entry, client: machineClientOf(entry) }));
      for (const { entry } of clients.filter(({ client }) => client === null)) {
        context.addIssue({
          code: 'custom',
          message: `"${entry}" must be a name (letters, digits, - and _, a letter first, at most 64), a colon and a role, which is ${roles.join(', ')}`,
        });
      }
      const named = clients.flatMap(({ client }) => client ?? []);
      const names = named.map(({ name }) => name);
      const twice = names.find((name, index) => names.indexOf(name) !== index);
      if (twice !== undefined) {
        context.addIssue({ code: 'custom', message: `"${twice}" is there twice, and a client has one role` });
      }
      // One audience is the console.
      if (named.length >= maxAudiences) {
        context.addIssue({ code: 'custom', message: `must be at most ${maxAudiences - 1}` });
      }
      return named;
    })
    .describe(
      'Programs that call the API with a client id and a secret, each with its role: "billing:operate,reports:read"; Cognito bills each of them',
    ),
  /** @default null */
  oidcIssuer: z
    .string()
    .refine(isIssuer, 'must be an https:// URL without a query, as "iss" has it in the tokens')
    .nullable()
    .default(null)
    .describe(
      'The OpenID Connect issuer whose tokens the API takes, instead of a user pool of its own; to the letter, with the slash at its end if there is one',
    ),
  /** Comma-separated, at most 50. @default '' */
  oidcAudience: z
    .string()
    .default('')
    .transform(listed)
    .refine((audience) => audience.length <= maxAudiences, `must be at most ${maxAudiences}`)
    .describe(
      'For whom the tokens of that issuer are, one of which "aud" has to have: what the issuer knows the API as, not what it knows a client as',
    ),
  /** @default cognito:groups */
  groupsClaim: ApiEnv.shape.GROUPS_CLAIM,
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
const conflictsOf = (given: Record<string, string>): string[] => [
  ...conflictsOfBus(given),
  ...conflictsOfSignIn(given),
];

const isEmpty = (list: string | undefined) => list === undefined || /^[\s,]*$/u.test(list);

function conflictsOfBus({ busName, existingBusName, eventSources }: Record<string, string>): string[] {
  if (existingBusName === undefined) return [];
  const problems: string[] = [];
  if (busName !== undefined) {
    problems.push(
      'busName is for a bus that is made, existingBusName for one that is there: set one of the two.',
    );
  }
  if (isEmpty(eventSources)) {
    problems.push(
      'existingBusName needs eventSources: others put events on that bus too, so say whose are taken.',
    );
  }
  return problems;
}

// Of the user pool, which is not made for another issuer.
const settingsOfPool = ['signInDomain', 'callbackUrls', 'machineClients'];

function conflictsOfSignIn(given: Record<string, string>): string[] {
  if (given['oidcIssuer'] === undefined) {
    return ['oidcAudience', 'groupsClaim']
      .filter((name) => given[name] !== undefined)
      .map((name) => `${name} is for the tokens of another issuer, so it needs oidcIssuer.`);
  }
  return [
    ...(isEmpty(given['oidcAudience'])
      ? [
          'oidcIssuer needs oidcAudience: the issuer gives out tokens for others too, so say which are for the API.',
        ]
      : []),
    ...settingsOfPool
      .filter((name) => given[name] !== undefined)
      .map((name) => `${name} is for the user pool, which is not made where oidcIssuer is set.`),
  ];
}

// What `cdk cli-telemetry` and `cdk acknowledge` write down.
const commandKeys = new Set(['cli-telemetry', 'acknowledged-issue-numbers']);

// All its other keys (`aws:cdk:...`, `@aws-cdk/...`, cached look-ups) have one of these characters.
const isOfCdk = (name: string) => /[:@/]/u.test(name) || commandKeys.has(name);

const isPlain = (value: unknown) => typeof value === 'number' || typeof value === 'boolean';
