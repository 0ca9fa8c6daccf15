import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { maxOutputBytes, maxResponseBytes, type Outcome } from '../../../shared/delivery/outcome.ts';
import { invokeScript } from '../../../shared/delivery/script.ts';
import { closedPort, type Respond, startReceiver } from '../../support/http-server.ts';
import {
  invocationOf,
  pidsIn,
  startLambda,
  temporaryFolder,
  type TestLambda,
  waitForDeath,
} from '../../support/scripts.ts';

const { folder, remove } = temporaryFolder();
afterAll(remove);
const newFile = () => join(folder, randomUUID());

let lambda: TestLambda;
beforeAll(async () => {
  lambda = await startLambda();
});
afterAll(() => lambda[Symbol.asyncDispose]());

/** Through the engine's own Lambda. */
const invoke = (script: string, data?: unknown, timeoutMs = 15_000): Promise<Outcome> =>
  invokeScript(lambda.client, {
    functionName: `handoff-script-${script}`,
    payload: invocationOf(data),
    timeoutMs,
  });

const succeeded = (response: string | null): Outcome => ({ kind: 'succeeded', statusCode: null, response });
const failedWith = (error: unknown, { retryable = true } = {}) =>
  expect.objectContaining({ kind: 'failed', retryable, statusCode: null, error, response: null }) as Outcome;

describe('invokeScript', () => {
  it('gives what the script returned and what it printed', async () => {
    expect(await invoke('hello', { name: 'Zoë' })).toEqual({
      ...succeeded('{"hello":"Zoë","by":"h_1","attempt":2}'),
      output: 'hello Zoë',
    });
    expect(await invoke('python-hello', { name: 'Zoë' })).toEqual({
      ...succeeded('{"file": "read from the folder", "by": "h_1", "attempt": 2}'),
      output: 'hello Zoë',
    });
  });

  it.each([
    ['returns', 'nothing', null],
    ['returns', 'null', null],
    ['returns', 'not a number', null],
    ['returns', 'text', '"tschüß"'],
    ['returns', 'half a character', String.raw`"\ud83d"`],
    ['returns', 'just enough', `"${'x'.repeat(maxResponseBytes - 1)}`],
    ['python-returns', 'nothing', null],
    ['python-returns', 'a decimal', '12.5'],
    ['python-returns', 'text', '"tschüß"'],
    ['python-returns', 'half a character', String.raw`"\ud83d"`],
  ])('takes for the response what %s for %j', async (script, data, response) => {
    expect(await invoke(script, data)).toEqual(succeeded(response));
  });

  it.each([
    ['throws', undefined, 'script: RangeError: the CRM said no: out of range'],
    ['throws-oddities', 'text', 'script: string: just text'],
    ['throws-oddities', 'nothing', 'script: undefined: undefined'],
    ['throws-oddities', 'unspeakable error', 'script: Error: something that cannot be shown'],
    ['throws-oddities', 'unspeakable object', 'script: object: something that cannot be shown'],
    ['throws-oddities', 'endless message', `script: Error: ${'x'.repeat(485)}`],
    ['throws-later', undefined, 'script: TypeError: too late to catch'],
    ['throws-at-load', undefined, 'script: RangeError: CRM_URL is not set'],
    [
      'rejects-unheard',
      undefined,
      'script: a promise was rejected and nobody caught it: TypeError: nobody heard me',
    ],
    [
      'never-settles',
      undefined,
      'script: ended before it returned: it waited for a promise that nothing could settle',
    ],
    ['exits', 3, 'script: ended before it returned (exit status 3)'],
    ['exits', 0, 'script: ended before it returned'],
    ['exits', 'SIGTERM', 'script: ended before it returned (signal: terminated)'],
    ['exits', 'SIGABRT', 'script: ended before it returned (signal: aborted)'],
    ['exits', 'SIGKILL', 'script: ended before it returned (signal: killed)'],
    ['allocates-buffers', undefined, 'script: used more than its memory of 128 MB'],
    [
      'missing-package',
      undefined,
      'script: could not be loaded: Could not resolve "a-package-that-is-not-installed" (lambda.ts:2:25)',
    ],
    ['no-handler', undefined, 'script: has no function "handler"'],
    ['returns', 'a bigint', 'script: returned what is not JSON: Do not know how to serialize a BigInt'],
    [
      'returns',
      'a circle',
      expect.stringMatching(/^script: returned what is not JSON: Converting circular structure to JSON .*$/u),
    ],
    ['returns', 'a function', 'script: returned what is not JSON: a function has no JSON'],
    ['returns', 'too much', 'script: returned more than 6 MB'],
    ['python-raises', 'error', 'script: ValueError: the CRM said no: out of range'],
    ['python-raises', 'unspeakable', 'script: Unspeakable: something that cannot be shown'],
    ['python-exits', ['sys.exit', 3], 'script: ended before it returned (exit status 3)'],
    ['python-exits', ['sys.exit', 0], 'script: ended before it returned'],
    ['python-exits', ['os._exit', 4], 'script: ended before it returned (exit status 4)'],
    [
      'python-missing-package',
      undefined,
      "script: could not be loaded: Unable to import module 'lambda_function': No module named 'a_package_that_is_not_installed'",
    ],
    [
      'python-bad-syntax',
      undefined,
      expect.stringMatching(/^script: could not be loaded: .*\(lambda_function\.py, line 1\)$/u),
    ],
    ['python-no-handler', undefined, 'script: has no function "handler"'],
    [
      'python-returns',
      'a set',
      'script: returned what is not JSON: Object of type set is not JSON serializable',
    ],
    ['python-returns', 'not a number', expect.stringMatching(/^script: returned what is not JSON: .*float/u)],
    ['python-returns', 'too much', 'script: returned more than 6 MB'],
  ])('says in one sentence what went wrong in %s (%j)', async (script, data, error) => {
    expect(await invoke(script, data)).toEqual(failedWith(error));
  });

  it('does not repeat what is permanent', async () => {
    const error = 'script: PermanentError: the client has no tax id';
    expect(await invoke('throws-permanent')).toEqual(failedWith(error, { retryable: false }));
    expect(await invoke('python-raises', 'permanent')).toEqual(failedWith(error, { retryable: false }));
  });

  it('shows the stack of an error, by the files of the script', async () => {
    expect(await invoke('throws')).toMatchObject({
      output: expect.stringMatching(
        /^RangeError: the CRM said no:\nout of range\n    at handler \(lambda\.ts:2:9\)\n/u,
      ),
    });
    expect(await invoke('python-raises', 'error')).toMatchObject({
      output: expect.stringMatching(/^Traceback .*\n  File "lambda_function\.py", line 16, in handler\n/u),
    });
  });

  it('shows the end of a long output, cut between characters, and nothing that is not text', async () => {
    const { output = '' } = (await invoke('prints-megabytes', 100)) as { output?: string };
    expect(Buffer.byteLength(output)).toBeLessThanOrEqual(maxOutputBytes);
    expect(output).toMatch(/\.100$/u);
    expect(await invoke('prints-invalid-utf8')).toEqual({
      ...succeeded(null),
      output: 'a\uFFFD\uFFFD\uFFFDb\uFFFD',
    });
  });

  it('waits until the time is over and no longer, and the script ends with it', async () => {
    const file = newFile();
    // On a slow machine the time may be over before the script has begun.
    for (let timeoutMs = 1000; !existsSync(file); timeoutMs *= 2) {
      expect(await invoke('busy-loop', file, timeoutMs)).toEqual({
        kind: 'failed',
        retryable: true,
        statusCode: null,
        error: `timeout: no result within ${timeoutMs} ms`,
        response: null,
      });
    }
    await waitForDeath(await pidsIn(file));
  });

  it('fails for good when there is no such script', async () => {
    expect(await invoke('nothing')).toEqual(
      failedWith('script: "handoff-script-nothing" is not part of this deployment', { retryable: false }),
    );
  });

  it('puts off what there is no room for', async () => {
    await using full = await startLambda({ maxConcurrent: 0 });
    const request = { functionName: 'handoff-script-hello', payload: '{}', timeoutMs: 10_000 };
    expect(await invokeScript(full.client, request)).toEqual({ kind: 'put-off', reason: 'busy' });
  });
});

/** One call of an endpoint that answers in its own way. */
async function invokeAt(url: string, payload = '{}'): Promise<Outcome> {
  const client = new LambdaClient({
    endpoint: url,
    region: 'us-east-1',
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
    maxAttempts: 1,
  });
  try {
    return await invokeScript(client, { functionName: 'some-script', payload, timeoutMs: 10_000 });
  } finally {
    client.destroy();
  }
}

async function answered(respond: Respond): Promise<Outcome> {
  await using endpoint = await startReceiver(respond);
  return await invokeAt(endpoint.url);
}

const tailOf = (log: string) => ({ 'x-amz-log-result': Buffer.from(log).toString('base64') });
const failedAs = (payload: string, log = '') =>
  answered((_, response: ServerResponse) => {
    response.writeHead(200, { 'x-amz-function-error': 'Unhandled', ...tailOf(log) }).end(payload);
  });

// What Lambda itself says in ways that the engine does not.
describe('invokeScript, of AWS,', () => {
  it('hands the payload on as it is, and asks for the log', async () => {
    await using endpoint = await startReceiver((_, response) => void response.end('null'));
    const payload = '{ "event": {"n": 12345678901234567890, "x":1.0 },\n "handler" :{}}';
    await invokeAt(endpoint.url, payload);
    expect(endpoint.requests).toMatchObject([
      {
        method: 'POST',
        path: '/2015-03-31/functions/some-script/invocations',
        body: payload,
        headers: { 'x-amz-log-type': 'Tail', 'x-amz-invocation-type': 'RequestResponse' },
      },
    ]);
  });

  const id = '59f8af4e-3e1c-4ad1-b6b9-a220f7fceb05';
  const report = (usedMb: number) =>
    `REPORT RequestId: ${id}\tDuration: 2.10 ms\tBilled Duration: 3 ms\tMemory Size: 256 MB\tMax Memory Used: ${usedMb} MB\t\n`;

  it.each([
    [
      {
        errorType: 'Runtime.OutOfMemory',
        errorMessage: `RequestId: ${id} Error: Runtime exited with error: signal: killed`,
      },
      report(256),
      'script: used more than its memory of 256 MB',
    ],
    [
      { errorType: 'Runtime.OutOfMemory', errorMessage: 'x' },
      '{"time":"2026-11-23T10:00:00.000Z","type":"platform.report","record":{"metrics":{"memorySizeMB":512,"maxMemoryUsedMB":512}}}\n',
      'script: used more than its memory of 512 MB',
    ],
    [
      {
        errorType: 'Runtime.ExitError',
        errorMessage: `RequestId: ${id} Error: Runtime exited with error: signal: killed`,
      },
      report(256),
      'script: used more than its memory of 256 MB',
    ],
    [
      {
        errorType: 'Runtime.ExitError',
        errorMessage: `RequestId: ${id} Error: Runtime exited with error: signal: killed`,
      },
      report(100),
      'script: ended before it returned (signal: killed)',
    ],
    [
      {
        errorType: 'Runtime.ExitError',
        errorMessage: `RequestId: ${id} Error: Runtime exited without providing a reason`,
      },
      '',
      'script: ended before it returned',
    ],
    [
      { errorMessage: `2026-11-23T10:00:00.000Z ${id} Task timed out after 125.01 seconds` },
      '',
      'script: did not end within the 125.01 seconds that its Lambda has',
    ],
    [
      {
        errorType: 'Sandbox.Timedout',
        errorMessage: `RequestId: ${id} Error: Task timed out after 125.00 seconds`,
      },
      '',
      'script: did not end within the 125 seconds that its Lambda has',
    ],
    [
      {
        errorType: 'Runtime.ImportModuleError',
        errorMessage: "Error: Cannot find module 'crm'\nRequire stack:\n- /var/task/lambda.js",
      },
      '',
      "script: could not be loaded: Error: Cannot find module 'crm'",
    ],
    [{ errorMessage: 'only a message' }, '', 'script: only a message'],
    [{ errorType: 'OnlyAType' }, '', 'script: OnlyAType'],
    [{ errorType: 1, errorMessage: null }, '', 'script: failed without saying why'],
    [{ errorType: 'E', errorMessage: 'a\u0000b\u001B[31m\r\n\tc\ud83d' }, '', 'script: E: a b [31m c\uFFFD'],
  ])('reads the error %j', async (payload, log, error) => {
    expect(await failedAs(JSON.stringify(payload), log)).toEqual(failedWith(error));
  });

  it('makes do with an error that is no JSON', async () => {
    expect(await failedAs('<html>')).toEqual(failedWith('script: failed without saying why'));
    expect(await failedAs('null')).toEqual(failedWith('script: failed without saying why'));
  });

  it.each([
    [`START RequestId: ${id} Version: 3\nmine\nEND RequestId: ${id}\n${report(80)}`, 'mine'],
    [
      `INIT_START Runtime Version: nodejs:24.v1\tRuntime Version ARN: arn:aws:lambda:x\nSTART RequestId: ${id} Version: 3\n\n  two\n\nlines \nEND RequestId: ${id}\n${report(80)}XRAY TraceId: 1-2\tSegmentId: 3\tSampled: true\n`,
      '\n  two\n\nlines',
    ],
    [
      `{"time":"2026-11-23T10:00:00.000Z","type":"platform.start","record":{}}\n{"time":"x","level":"INFO","message":"mine"}\n{"time":"2026-11-23T10:00:00.000Z","type":"platform.report","record":{}}\n`,
      '{"time":"x","level":"INFO","message":"mine"}',
    ],
    [`START RequestId: ${id} Version: 3\nEND RequestId: ${id}\n${report(80)}`, undefined],
  ])('takes its own lines out of the log %#', async (log, output) => {
    const outcome = await answered((_, response) => void response.writeHead(200, tailOf(log)).end('1'));
    expect(outcome).toEqual({ ...succeeded('1'), ...(output !== undefined && { output }) });
  });

  it('does not begin the output within a character', async () => {
    const log = Buffer.from('€'.repeat(1400)).subarray(1, 4097);
    const headers = { 'x-amz-log-result': log.toString('base64') };
    const outcome = await answered((_, response) => void response.writeHead(200, headers).end('1'));
    expect(outcome).toEqual({ ...succeeded('1'), output: expect.stringMatching(/^€+\uFFFD?$/u) as string });
  });

  it.each(['TooManyRequestsException', 'EC2ThrottledException'])('puts off on %s', async (type) => {
    const outcome = await answered(
      (_, response) => void response.writeHead(429, { 'x-amzn-errortype': type }).end('{}'),
    );
    expect(outcome).toEqual({ kind: 'put-off', reason: 'busy' });
  });

  it.each([
    [500, 'ServiceException'],
    [403, 'AccessDeniedException'],
    [502, 'ResourceNotReadyException'],
  ])('tries again after a %i (%s)', async (status, type) => {
    const outcome = await answered(
      (_, response) =>
        void response.writeHead(status, { 'x-amzn-errortype': type }).end('{"message":"secret"}'),
    );
    expect(outcome).toEqual(failedWith(`script: Lambda did not run it (${type})`));
  });

  it('tries again when there was no answer', async () => {
    expect(await invokeAt(`http://127.0.0.1:${await closedPort()}`)).toEqual(
      failedWith('script: Lambda did not run it (ECONNREFUSED)'),
    );
    expect(await answered((_, response) => void response.destroy())).toEqual(
      failedWith(expect.stringMatching(/^script: Lambda did not run it \(\w+\)$/u)),
    );
  });
});
