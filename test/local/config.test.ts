import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { EngineConfig, isLoopback, parseConfig } from '../../local/config.ts';

describe('parseConfig', () => {
  it('needs nothing', () => {
    expect(parseConfig({})).toEqual({
      PORT: 8080,
      HOST: '127.0.0.1',
      HANDOFF_DATA: '.handoff/',
      HANDOFF_FSYNC: false,
      HANDOFF_RETRY_SCALE: 1,
      HANDOFF_TOKENS: [],
      HANDOFF_CIRCUIT_BREAKER: true,
      HANDOFF_AUTO_DISABLE_DAYS: 5,
      HANDOFF_ALLOW_HTTP: false,
      HANDOFF_ALLOW_CIDRS: [],
      HANDOFF_REDACT_PATHS: [],
      HANDOFF_SCRIPTS: fileURLToPath(new URL('../../functions/scripts', import.meta.url)),
      PATH: '',
    });
  });

  it('takes an empty variable as absent', () => {
    expect(parseConfig({ PORT: '', HANDOFF_TOKEN: '' }).PORT).toBe(8080);
  });

  it('takes the level of the log in any case, and leaves alone what other programs are told', () => {
    expect(parseConfig({ POWERTOOLS_LOG_LEVEL: 'debug', HANDOFF_URL: 'http://127.0.0.1:8080' }).PORT).toBe(
      8080,
    );
  });

  it('takes port 0 for any free port', () => {
    expect(parseConfig({ PORT: '0' }).PORT).toBe(0);
  });

  it.each([
    ['PORT', '80.5', 'PORT must be a whole number from 0 to 65535.'],
    ['PORT', '65536', 'PORT must be a whole number from 0 to 65535.'],
    ['PORT', 'http', 'PORT must be a whole number from 0 to 65535.'],
    ['HANDOFF_FSYNC', 'maybe', 'HANDOFF_FSYNC must be true or false.'],
    ['HANDOFF_ALLOW_HTTP', '2', 'HANDOFF_ALLOW_HTTP must be true or false.'],
    ['HANDOFF_CIRCUIT_BREAKER', 'half', 'HANDOFF_CIRCUIT_BREAKER must be true or false.'],
    ['HANDOFF_RETRY_SCALE', '0', 'HANDOFF_RETRY_SCALE must be a number above 0 and at most 1.'],
    ['HANDOFF_RETRY_SCALE', '2', 'HANDOFF_RETRY_SCALE must be a number above 0 and at most 1.'],
    [
      'HANDOFF_ALLOW_CIDRS',
      '127.0.0.1/8, x',
      'HANDOFF_ALLOW_CIDRS must be address ranges such as 10.1.0.0/16 or fd12:3456::/32, but "x" is not an address range.',
    ],
    [
      'HANDOFF_AUTO_DISABLE_DAYS',
      'never',
      'HANDOFF_AUTO_DISABLE_DAYS must be a whole number of days from 0 to 365.',
    ],
    ['HANDOFF_SCRIPTS', '/nowhere', 'HANDOFF_SCRIPTS must be a folder that exists.'],
    ['HANDOFF_SCRIPTS', 'package.json', 'HANDOFF_SCRIPTS must be a folder that exists.'],
    [
      'POWERTOOLS_LOG_LEVEL',
      'LOUD',
      'POWERTOOLS_LOG_LEVEL must be TRACE, DEBUG, INFO, WARN, ERROR, CRITICAL or SILENT.',
    ],
    [
      'HANDOFF_REDACT_PATH',
      'detail.data.iban',
      'HANDOFF_REDACT_PATH is no setting, but HANDOFF_REDACT_PATHS is.',
    ],
    ['HANDOFF_ALOW_HTTP', 'true', 'HANDOFF_ALOW_HTTP is no setting, but HANDOFF_ALLOW_HTTP is.'],
    ['HANDOFF_TOKEN', 'two words', 'HANDOFF_TOKEN must be printable ASCII characters without spaces.'],
    [
      'HANDOFF_TOKENS',
      'read:x,owner:y',
      'HANDOFF_TOKENS.1 must be a role (read, operate, admin), a colon and a token of printable ASCII characters without spaces or commas.',
    ],
  ])('refuses %s=%s in one sentence', (name, value, sentence) => {
    expect(() => parseConfig({ [name]: value })).toThrow(
      expect.objectContaining({ name: 'StartError', message: sentence }) as Error,
    );
  });

  it('refuses a token with two roles', () => {
    const sentence = 'HANDOFF_TOKENS must not give two roles to one token, nor another one to HANDOFF_TOKEN.';
    expect(() => parseConfig({ HANDOFF_TOKENS: 'read:x,operate:x' })).toThrow(sentence);
    expect(() => parseConfig({ HANDOFF_TOKEN: 'x', HANDOFF_TOKENS: 'read:x' })).toThrow(sentence);
    expect(parseConfig({ HANDOFF_TOKEN: 'x', HANDOFF_TOKENS: 'admin:x,read:y' }).HANDOFF_TOKEN).toBe('x');
  });

  it.each(['10.1/16', '010.0.0.0/8', '0x0a.0.0.0/8', '::ffff:10.0.0.0/104', 'fe80::1%eth0/64'])(
    'refuses %s, which the functions would refuse at their first call',
    (range) => {
      expect(() => parseConfig({ HANDOFF_ALLOW_CIDRS: range })).toThrow(`but "${range}" is `);
    },
  );

  it('describes every setting', () => {
    for (const setting of Object.values(EngineConfig.shape)) expect(setting.description).toMatch(/\w+ \w+/u);
  });
});

describe('isLoopback', () => {
  it.each(['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1', 'localhost'])('knows %s', (host) => {
    expect(isLoopback(host)).toBe(true);
  });
  it.each(['0.0.0.0', '::', '10.0.0.1', 'localhost.example', 'example.com'])('does not take %s', (host) => {
    expect(isLoopback(host)).toBe(false);
  });
});

// Linux alone tells how many threads a process has.
describe.runIf(process.platform === 'linux')('start.mjs', () => {
  const threadsOfStart = async (environment: Record<string, string>): Promise<number> => {
    // The first thing that needs the pool starts all its threads.
    const preload = `import { readdirSync, readFileSync, stat } from 'node:fs';
      process.on('exit', () => {
        stat('.', () => {});
        const names = readdirSync('/proc/self/task').map((id) => readFileSync('/proc/self/task/' + id + '/comm', 'utf8'));
        console.log(names.filter((name) => name.startsWith('libuv-worker')).length);
      });`;
    const ended = promisify(execFile)(
      process.execPath,
      ['--import', `data:text/javascript,${encodeURIComponent(preload)}`, 'local/start.mjs'],
      // A wrong setting ends the start, once everything is imported.
      { env: { ...environment, PORT: 'none' }, cwd: fileURLToPath(new URL('../..', import.meta.url)) },
    );
    const { stdout } = await ended.catch((error: unknown) => error as { stdout: string });
    return Number(stdout);
  };

  it('gives libuv more threads than its four, unless the user says how many', async () => {
    const [many, few] = await Promise.all([threadsOfStart({}), threadsOfStart({ UV_THREADPOOL_SIZE: '2' })]);
    expect([many, few]).toEqual([32, 2]);
  });

  it('has two arenas for the memory of its threads, unless the user says how many', async () => {
    const arenasOfStart = async (environment: Record<string, string>): Promise<string> => {
      const preload = `process.on('exit', () => console.log(process.pid, process.ppid, process.env.MALLOC_ARENA_MAX));`;
      const ended = promisify(execFile)(
        process.execPath,
        ['--import', `data:text/javascript,${encodeURIComponent(preload)}`, 'local/start.mjs'],
        { env: { ...environment, PORT: 'none' }, cwd: fileURLToPath(new URL('../..', import.meta.url)) },
      );
      const { stdout } = await ended.catch((error: unknown) => error as { stdout: string });
      // A process of its own for it would stand between the engine and whoever sends it signals.
      expect(stdout).toContain(` ${process.pid} `);
      return stdout.trim().split(' ').at(-1) ?? '';
    };
    expect(await Promise.all([arenasOfStart({}), arenasOfStart({ MALLOC_ARENA_MAX: '5' })])).toEqual([
      '2',
      '5',
    ]);
  });
});
