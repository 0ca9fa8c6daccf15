import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { createScriptRunner, type ScriptReport } from '../../local/script-process.ts';
import {
  invocationOf,
  isAlive,
  pidsIn,
  scriptNamed,
  temporaryFolder,
  waitForDeath,
} from '../support/scripts.ts';

const { folder, remove } = temporaryFolder();
afterAll(remove);

const path = process.env['PATH'] ?? '';
const places = join(folder, 'places');
const runScript = createScriptRunner({ folder: places, path });

const newFile = () => join(folder, randomUUID());

function run(
  name: string,
  data?: unknown,
  { timeoutMs = 30_000, signal = new AbortController().signal } = {},
): Promise<ScriptReport> {
  const payload = Buffer.from(invocationOf(data));
  const functionName = `handoff-script-${name}`;
  return runScript({
    script: scriptNamed(name),
    functionName,
    requestId: randomUUID(),
    payload,
    timeoutMs,
    signal,
  });
}

/** What a script returned. */
async function resultOf(name: string, data?: unknown): Promise<Record<string, unknown>> {
  const { end } = await run(name, data);
  if (end.kind === 'failed') throw new Error(`${end.errorType}: ${end.errorMessage}`);
  return JSON.parse(end.json.toString()) as Record<string, unknown>;
}

const errorTypeOf = ({ end }: ScriptReport) => (end.kind === 'failed' ? end.errorType : null);

describe('a call', () => {
  it('brings the invocation in and the result out, and says what it took', async () => {
    const report = await run('hello', { name: 'Zoë' });

    expect(report).toMatchObject({ end: { kind: 'returned' }, output: Buffer.from('hello Zoë\n') });
    expect(await resultOf('hello', { name: 'Zoë' })).toEqual({ hello: 'Zoë', by: 'h_1', attempt: 2 });
    expect(report.durationMs).toBeGreaterThan(0);
  });

  it('takes an invocation of a megabyte', async () => {
    const name = 'x'.repeat(1_000_000);
    expect(await resultOf('hello', { name })).toMatchObject({ hello: name });
  });

  it('finds the packages and files in the folder of a Python script, and leaves none there', async () => {
    const script = scriptNamed('python-hello');
    const before = readdirSync(script.folder, { recursive: true });

    expect(await resultOf('python-hello', { name: 'Zoë' })).toEqual({
      file: 'read from the folder',
      by: 'h_1',
      attempt: 2,
    });
    expect(readdirSync(script.folder, { recursive: true })).toEqual(before);
  });
});

describe('what a script finds around it', () => {
  const expectedEnvironment = (name: string) => ({
    PATH: path,
    LANG: 'en_US.UTF-8',
    TMPDIR: expect.stringContaining(places) as string,
    CRM_URL: 'https://crm.example',
    LAMBDA_TASK_ROOT: expect.any(String) as string,
    AWS_REGION: 'us-east-1',
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_LAMBDA_FUNCTION_NAME: `handoff-script-${name}`,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/handoff-script-${name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: expect.stringMatching(/^\[\$LATEST\][0-9a-f-]{36}$/u) as string,
  });

  it('is, for TypeScript, what Lambda gives and its own settings, and nothing of the engine', async () => {
    const found = await resultOf('reads-environment');
    expect(found).toEqual({
      environment: { ...expectedEnvironment('reads-environment'), TZ: ':UTC', _HANDLER: 'lambda.handler' },
      arguments: [],
      cwd: ['lambda.mjs'],
      tmpdir: (found['environment'] as { TMPDIR: string }).TMPDIR,
      timeZone: 'UTC',
      hour: 0,
      context: {
        functionName: 'handoff-script-reads-environment',
        functionVersion: '$LATEST',
        memoryLimitInMB: '256',
        awsRequestId: expect.any(String) as string,
        remainingMs: expect.any(Number) as number,
      },
    });
  });

  it('is, for Python, the same; its own settings may set the time zone', async () => {
    const found = await resultOf('python-reads-environment');
    // Set by Python itself where the language of Lambda is not installed.
    const { LC_CTYPE: _, ...environment } = found['environment'] as Record<string, string>;
    expect({ ...found, environment }).toEqual({
      environment: {
        ...expectedEnvironment('python-reads-environment'),
        TZ: 'Asia/Tokyo',
        _HANDLER: 'lambda_function.handler',
      },
      arguments: [],
      cwd: scriptNamed('python-reads-environment').folder,
      tmpdir: environment['TMPDIR'],
      hour: 9,
      remainingMs: expect.any(Number) as number,
      name: 'handoff-script-python-reads-environment',
    });
  });
});

describe('what a script prints', () => {
  it('is kept in its order, of both streams together', async () => {
    const { output } = await run('prints-in-turn');
    const lines = Array.from({ length: 20 }, (_, turn) => `out ${turn + 1}\nerr ${turn + 1}\n`);
    expect(output.toString()).toBe(lines.join(''));
    expect((await run('python-reads-environment')).output.toString()).toBe('to stdout\nto stderr\n');
  });

  it('is kept to its last 4 KB, and takes no memory', async () => {
    const { end, output } = await run('prints-megabytes', 10_000);
    const residentBytes = end.kind === 'returned' ? Number(end.json.toString()) : Number.NaN;

    expect(residentBytes).toBeLessThan(128_000_000);
    expect(output.toString()).toMatch(/^\.*9960\n(?:\.+\d+\n){39}\.+10000\n$/u);
    expect(output).toHaveLength(4096);
  });

  it('is no result, and neither is what it writes into the pipe of the result', async () => {
    expect(await resultOf('writes-to-pipes')).toEqual({ result: 'real' });
  });
});

describe('nothing is left of a call', () => {
  it.each(['return', 'exit'])('when it started processes, on %s', async (end) => {
    const file = newFile();
    await run('leaves-children', { file, finally: end });
    await waitForDeath(await pidsIn(file));
  });

  it.runIf(process.platform === 'linux').each(['return', 'exit'])(
    'when it started a daemon, on %s',
    async (end) => {
      const file = newFile();
      await run('python-leaves-daemon', { file, finally: end });
      await waitForDeath(await pidsIn(file));
    },
  );

  it.each([
    ['a loop that never ends', 'busy-loop'],
    ['children that wait', 'leaves-children'],
  ])('when its time is over, in %s', async (_, name) => {
    const file = newFile();
    const data = name === 'leaves-children' ? { file, finally: 'wait' } : file;
    // On a slow machine the time may be over before the script has begun.
    for (let timeoutMs = 1000; !existsSync(file); timeoutMs *= 2) {
      expect(errorTypeOf(await run(name, data, { timeoutMs }))).toBe('Sandbox.Timedout');
    }
    await waitForDeath(await pidsIn(file));
  });

  it('when the caller goes away', async () => {
    const file = newFile();
    const caller = new AbortController();
    const report = run('waits-forever', file, { signal: caller.signal });
    const pids = await pidsIn(file);
    expect(pids.filter(isAlive)).toEqual(pids);

    caller.abort(new Error('gone'));
    await expect(report).rejects.toThrow('gone');
    await waitForDeath(pids);
    await expect(run('waits-forever', file, { signal: caller.signal })).rejects.toThrow('gone');
  });

  it('of its temporary files, either', async () => {
    await run('hello', { name: 'x' });
    expect(existsSync(join(places, 'hello', 'lambda.mjs'))).toBe(true);
    expect(readdirSync(join(places, 'tmp'))).toEqual([]);
  });

  // In a loop that has no turn of the event loop, and inside of a C function that lets no other thread of Python run.
  it.each(['busy-loop', 'leaves-children', ...(process.platform === 'linux' ? ['python-busy-loop'] : [])])(
    'when the engine is killed with kill -9, in %s',
    async (name) => {
      const file = newFile();
      const code = `
        import { createScriptRunner } from ${JSON.stringify(import.meta.resolve('../../local/script-process.ts'))};
        const [folder, call] = process.argv.slice(1);
        const run = createScriptRunner({ folder, path: process.env.PATH });
        const { payload, ...rest } = JSON.parse(call);
        await run({ ...rest, payload: Buffer.from(payload), signal: new AbortController().signal });`;
      const call = {
        script: scriptNamed(name),
        functionName: name,
        requestId: randomUUID(),
        payload: invocationOf(name === 'leaves-children' ? { file, finally: 'wait' } : file),
        timeoutMs: 60_000,
      };
      const engine = spawn(
        process.execPath,
        ['--input-type=module', '-e', code, newFile(), JSON.stringify(call)],
        { stdio: ['ignore', 'inherit', 'inherit'], cwd: fileURLToPath(new URL('../..', import.meta.url)) },
      );
      const exited = once(engine, 'exit');
      const [pid = 0, detached] = await pidsIn(file);
      expect(isAlive(pid)).toBe(true);

      engine.kill('SIGKILL');
      await exited;
      await waitForDeath([pid]);
      // What has left the script's group stays: nobody is there any more who could look for it.
      if (detached !== undefined) process.kill(detached, 'SIGKILL');
    },
  );
});

describe('a script that takes more than its memory', () => {
  it.each([
    'allocates-heap',
    'allocates-buffers',
    'allocates-in-children',
    'python-allocates',
    'runs-out-of-heap',
  ])('is killed: %s', async (name) => {
    const report = await run(name, undefined, { timeoutMs: 15_000 });
    expect(errorTypeOf(report)).toBe('Runtime.OutOfMemory');
  });
});
