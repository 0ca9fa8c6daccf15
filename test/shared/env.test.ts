import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parseEnv, sharedEnv } from '../../shared/env.ts';

const Env = z.object(sharedEnv);
const complete = {
  HANDLERS_TABLE: 'handlers',
  EXECUTIONS_TABLE: 'executions',
  DATA_KEY: 'file:/data/key',
  EVENT_BUS: 'handoff',
  EVENTS_QUEUE: 'https://sqs.us-east-1.amazonaws.com/000000000000/events',
  RETRIES_QUEUE: 'https://sqs.us-east-1.amazonaws.com/000000000000/retries',
};
const parse = (changes: Record<string, string | undefined>) => parseEnv(Env, { ...complete, ...changes });

describe('parseEnv', () => {
  it('needs the tables, the bus, the queues and the data key; the rest has a default', () => {
    expect(parse({})).toEqual({
      ...complete,
      LOG_SHARDS: 1,
      ALLOW_HTTP: false,
      ALLOW_CIDRS: [],
      REDACT_PATHS: [],
      SCRIPTS: [],
      SCRIPT_FUNCTION_PREFIX: '',
      RETENTION_DAYS: 30,
      HELD_RETENTION_DAYS: 90,
      MAX_CONCURRENT_DELIVERIES: 256,
      MAX_CONCURRENT_SCRIPTS: 64,
      RETRY_SCALE: 1,
      CIRCUITS: true,
      AUTO_DISABLE_DAYS: 5,
    });
  });

  it('refuses a queue that is not named by its URL', () => {
    expect(() => parse({ EVENTS_QUEUE: 'events', RETRIES_QUEUE: undefined })).toThrow(
      /EVENTS_QUEUE: .+; RETRIES_QUEUE: .+/u,
    );
  });

  it('names every variable that is missing or wrong in one sentence', () => {
    expect(() => parse({ HANDLERS_TABLE: undefined, EXECUTIONS_TABLE: '', LOG_SHARDS: '0' })).toThrow(
      /^The environment is not usable\. HANDLERS_TABLE: .+; EXECUTIONS_TABLE: .+; LOG_SHARDS: .+/u,
    );
  });

  it('leaves variables alone that it does not know', () => {
    expect(parse({ PATH: '/bin' })).not.toHaveProperty('PATH');
  });

  it.each(['file:/data/key', 'arn:aws:kms:us-east-1:000000000000:key/1'])(
    'takes the data key %s',
    (DATA_KEY) => {
      expect(parse({ DATA_KEY }).DATA_KEY).toBe(DATA_KEY);
    },
  );

  it.each(['', 'file:', 'whsec_1', '/data/key'])(
    'refuses the data key "%s" without repeating it',
    (DATA_KEY) => {
      expect(() => parse({ DATA_KEY })).toThrow(
        'The environment is not usable. DATA_KEY: must be file:<path> or the ARN of a KMS key',
      );
    },
  );

  it.each(['0', '65', '1.5', 'many', ''])('refuses %j log shards', (LOG_SHARDS) => {
    expect(() => parse({ LOG_SHARDS })).toThrow('LOG_SHARDS');
  });

  it('reads numbers, switches and lists', () => {
    const env = parse({
      LOG_SHARDS: '64',
      ALLOW_HTTP: 'true',
      ALLOW_CIDRS: ' 10.0.0.0/8, ,127.0.0.1/32,',
      SCRIPTS: 'balance-guard,rates-handoff',
    });
    expect(env).toMatchObject({
      LOG_SHARDS: 64,
      ALLOW_HTTP: true,
      ALLOW_CIDRS: ['10.0.0.0/8', '127.0.0.1/32'],
      SCRIPTS: ['balance-guard', 'rates-handoff'],
    });
    expect(parse({ ALLOW_HTTP: 'false' }).ALLOW_HTTP).toBe(false);
  });

  it('refuses a switch that is neither on nor off', () => {
    expect(() => parse({ ALLOW_HTTP: 'maybe' })).toThrow('ALLOW_HTTP');
  });

  it('names each range that is none', () => {
    const must = 'ALLOW_CIDRS: must be address ranges such as 10.1.0.0/16 or fd12:3456::/32, but';
    expect(() => parse({ ALLOW_CIDRS: '10.0.0.0/8, 10.1/16, ::ffff:10.0.0.0/104' })).toThrow(
      `The environment is not usable. ${must} "10.1/16" is not an address range; ` +
        `${must} "::ffff:10.0.0.0/104" is an IPv4 range inside IPv6 (write it as IPv4)`,
    );
  });
});
