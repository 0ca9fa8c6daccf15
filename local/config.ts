import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { closest, distance } from 'fastest-levenshtein';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { sharedEnv } from '../shared/env.ts';
import { roles, type Role } from '../shared/role.ts';
import type { ApiToken } from './http-api.ts';
import { StartError } from './start-error.ts';

const tokenEntry = new RegExp(`^(?<role>${roles.join('|')}):(?<token>[\\x21-\\x7e]+)$`, 'u');
const TokenEntry = z.string().transform((entry, context): ApiToken => {
  const { role, token } = tokenEntry.exec(entry.trim())?.groups ?? {};
  // Without the entry itself: what is wrong with it may be no more than its role.
  if (token === undefined) {
    context.addIssue({
      code: 'custom',
      message: `must be a role (${roles.join(', ')}), a colon and a token of printable ASCII characters without spaces or commas`,
    });
    return z.NEVER;
  }
  return { role: role as Role, token };
});

/** What the engine can be told through its environment. An empty variable counts as absent. */
export const EngineConfig = z.object({
  PORT: z.coerce
    .number('must be a whole number from 0 to 65535')
    .int('must be a whole number from 0 to 65535')
    .min(0, 'must be a whole number from 0 to 65535')
    .max(65_535, 'must be a whole number from 0 to 65535')
    .default(8080)
    .describe('Port of the API, the console and the AWS endpoint; 0 takes any free one'),
  HOST: z
    .string()
    .default('127.0.0.1')
    .describe(
      'Address to listen on; on any other than loopback AWS calls have to be signed with the keys in the data folder',
    ),
  HANDOFF_DATA: z
    .string()
    .default('.handoff/')
    .describe('Folder of everything the engine keeps, or "memory" to keep nothing'),
  HANDOFF_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]+$/u, 'must be printable ASCII characters without spaces')
    .optional()
    .describe(
      'The token that API calls carry; made at the first start and kept in the data folder when absent',
    ),
  HANDOFF_TOKENS: z
    .string()
    .default('')
    .transform((list) => list.split(',').filter((entry) => entry.trim() !== ''))
    .pipe(z.array(TokenEntry))
    .describe('More tokens, each with its role (read, operate or admin): read:<token>,operate:<token>'),
  HANDOFF_SCRIPTS: z
    .string()
    // The default may be missing: git keeps no folder that is empty.
    .refine((folder) => existsSync(`${folder}/`), 'must be a folder that exists')
    .default(fileURLToPath(new URL('../functions/scripts', import.meta.url)))
    .describe('Folder of the scripts that handlers may run, a folder for each; read at the start'),
  PATH: z.string().default('').describe('Where python3 is looked for, and the PATH of every script'),
  HANDOFF_FSYNC: z
    .stringbool('must be true or false')
    .default(false)
    .describe(
      'Whether an accepted event survives the death of the machine too, not only of the process; slower',
    ),
  HANDOFF_RETRY_SCALE: z.coerce
    .number('must be a number above 0 and at most 1')
    .positive('must be a number above 0 and at most 1')
    .max(1, 'must be a number above 0 and at most 1')
    .default(1)
    .describe('Multiplies every wait of a retry, a sweep or a lease; below 1 for tests only'),
  HANDOFF_CIRCUIT_BREAKER: z
    .stringbool('must be true or false')
    .default(true)
    .describe('Whether handlers whose target is down are left alone until a probe gets an answer'),
  HANDOFF_AUTO_DISABLE_DAYS: sharedEnv.AUTO_DISABLE_DAYS,
  HANDOFF_ALLOW_HTTP: z
    .stringbool('must be true or false')
    .default(false)
    .describe('Whether handlers may call plain http:// targets'),
  HANDOFF_ALLOW_CIDRS: sharedEnv.ALLOW_CIDRS,
  HANDOFF_REDACT_PATHS: sharedEnv.REDACT_PATHS,
  // Read by Powertools, which takes a level that it does not know for INFO.
  POWERTOOLS_LOG_LEVEL: z
    .string()
    .regex(
      /^(?:trace|debug|info|warn|error|critical|silent)$/iu,
      'must be TRACE, DEBUG, INFO, WARN, ERROR, CRITICAL or SILENT',
    )
    .optional()
    .describe('From which level on the log is written; INFO when absent'),
});
export type EngineConfig = z.output<typeof EngineConfig>;

// A setting that is mistyped would be left out without a word, and what HANDOFF_REDACT_PATH names would be readable. Names that
// are further from all settings are other programs' (HANDOFF_URL is of `npm run migrate`).
const maxTypos = 2;
const settings = Object.keys(EngineConfig.shape);

function mistypedNames(names: readonly string[]): string[] {
  return names
    .filter((name) => name.startsWith('HANDOFF_') && !settings.includes(name))
    .map((name) => ({ name, meant: closest(name, settings) }))
    .filter(({ name, meant }) => distance(name, meant) <= maxTypos)
    .map(({ name, meant }) => `${name} is no setting, but ${meant} is`);
}

// Who was given a token to read could do all that the other role may.
function hasSharedToken({ HANDOFF_TOKEN, HANDOFF_TOKENS }: EngineConfig): boolean {
  const admin = HANDOFF_TOKEN === undefined ? [] : [{ role: 'admin', token: HANDOFF_TOKEN }];
  const all = [...admin, ...HANDOFF_TOKENS];
  return all.some(({ role, token }) => all.some((other) => other.token === token && other.role !== role));
}

/**
 * Reads the engine's settings. Throws a StartError whose one sentence names every variable that is wrong, or mistyped.
 */
export function parseConfig(environment: Record<string, string | undefined>): EngineConfig {
  const present = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const result = EngineConfig.safeParse(present);
  const wrong = result.error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`) ?? [];
  const problems = [
    ...wrong,
    ...mistypedNames(Object.keys(present)),
    ...(result.success && hasSharedToken(result.data)
      ? ['HANDOFF_TOKENS must not give two roles to one token, nor another one to HANDOFF_TOKEN']
      : []),
  ];
  if (result.success && problems.length === 0) return result.data;
  throw new StartError(`${problems.join('; ')}.`);
}

/** Whether only this machine can reach what listens on `host`. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  return ipaddr.isValid(host) && ipaddr.process(host).range() === 'loopback';
}
