import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  GetFunctionConfigurationCommand,
  InvokeCommand,
  type InvokeCommandInput,
  LambdaClient,
} from '@aws-sdk/client-lambda';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  invocationOf,
  isAlive,
  pidsIn,
  startLambda,
  temporaryFolder,
  type TestLambda,
  waitForDeath,
} from '../support/scripts.ts';

const { folder, remove } = temporaryFolder();
afterAll(remove);

let lambda: TestLambda;
beforeEach(async () => {
  lambda = await startLambda({ timeoutSeconds: 20, maxConcurrent: 2 });
});
afterEach(() => lambda[Symbol.asyncDispose]());

const newFile = () => join(folder, randomUUID());

function invoke(
  script: string,
  data?: unknown,
  options: Partial<InvokeCommandInput> = {},
  abortSignal?: AbortSignal,
) {
  const command = new InvokeCommand({
    FunctionName: `handoff-script-${script}`,
    Payload: invocationOf(data),
    LogType: 'Tail',
    ...options,
  });
  return lambda.client.send(command, { ...(abortSignal !== undefined && { abortSignal }) });
}

const textOf = (base64: string | undefined) => Buffer.from(base64 ?? '', 'base64').toString();

describe('Invoke', () => {
  it('answers with what the script returned', async () => {
    const answer = await invoke('hello', { name: 'Zoë' });
    expect(answer).toMatchObject({ StatusCode: 200, ExecutedVersion: '$LATEST' });
    expect(answer.FunctionError).toBeUndefined();
    expect(answer.Payload?.transformToString()).toBe('{"hello":"Zoë","by":"h_1","attempt":2}');
  });

  it('answers with the error of a script that throws', async () => {
    const answer = await invoke('throws');
    expect(answer).toMatchObject({ StatusCode: 200, FunctionError: 'Unhandled' });
    expect(JSON.parse(answer.Payload?.transformToString() ?? '')).toEqual({
      errorType: 'RangeError',
      errorMessage: 'the CRM said no:\nout of range',
    });
  });

  it('logs as Lambda does: its own lines around those of the script', async () => {
    const { LogResult } = await invoke('hello', { name: 'Zoë' });
    expect(textOf(LogResult).split('\n')).toEqual([
      expect.stringMatching(/^START RequestId: [0-9a-f-]{36} Version: \$LATEST$/u),
      'hello Zoë',
      expect.stringMatching(/^END RequestId: [0-9a-f-]{36}$/u),
      expect.stringMatching(
        /^REPORT RequestId: [0-9a-f-]{36}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 512 MB\tMax Memory Used: \d+ MB\t$/u,
      ),
      '',
    ]);
  });

  it('gives the last 4 KB of the log, and none unasked', async () => {
    const { LogResult } = await invoke('prints-megabytes', 100);
    expect(Buffer.from(LogResult ?? '', 'base64')).toHaveLength(4096);
    expect(textOf(LogResult)).toMatch(/\.100\nEND /u);
    expect((await invoke('hello', { name: 'x' }, { LogType: 'None' })).LogResult).toBeUndefined();
  });

  it('ends a call whose function has run for too long', async () => {
    await using quick = await startLambda({ timeoutSeconds: 1 });
    const answer = await quick.client.send(
      new InvokeCommand({ FunctionName: 'handoff-script-waits-forever', Payload: invocationOf(newFile()) }),
    );
    expect(JSON.parse(answer.Payload?.transformToString() ?? '')).toEqual({
      errorType: 'Sandbox.Timedout',
      errorMessage: expect.stringMatching(
        /^RequestId: [0-9a-f-]{36} Error: Task timed out after 1\.00 seconds$/u,
      ) as string,
    });
  });

  it('refuses a call above the limit, until one of those under way has ended', async () => {
    const files = [newFile(), newFile()];
    const caller = new AbortController();
    const underWay = files.map((file) => invoke('waits-forever', file, {}, caller.signal));
    const pids = (await Promise.all(files.map(pidsIn))).flat();

    await expect(invoke('hello', { name: 'x' })).rejects.toMatchObject({
      name: 'TooManyRequestsException',
      Reason: 'ConcurrentInvocationLimitExceeded',
      $metadata: { httpStatusCode: 429 },
    });
    caller.abort();
    await Promise.allSettled(underWay);
    await waitForDeath(pids);
    await vi.waitFor(async () => expect((await invoke('hello', { name: 'x' })).StatusCode).toBe(200));
  });

  it('says when there is no Python, and runs everything else', async () => {
    const path = newFile();
    mkdirSync(path);
    await using without = await startLambda({ path });
    const call = (FunctionName: string) =>
      without.client.send(new InvokeCommand({ FunctionName, Payload: invocationOf({ name: 'x' }) }));
    const { FunctionError, Payload } = await call('handoff-script-python-hello');

    expect(FunctionError).toBe('Unhandled');
    expect(JSON.parse(Payload?.transformToString() ?? '')).toEqual({
      errorType: 'Runtime.InvalidEntrypoint',
      errorMessage: 'python3 was not found on this machine',
    });
    expect((await call('handoff-script-hello')).FunctionError).toBeUndefined();
  });

  it('refuses what it does not have', async () => {
    for (const FunctionName of ['hello', 'handoff-script-nothing', 'handoff-script-..', 'constructor']) {
      await expect(invoke('', {}, { FunctionName })).rejects.toMatchObject({
        name: 'ResourceNotFoundException',
        message: `Function not found: arn:aws:lambda:us-east-1:000000000000:function:${FunctionName}`,
        $metadata: { httpStatusCode: 404 },
      });
    }
    await expect(invoke('hello', {}, { InvocationType: 'Event' })).rejects.toMatchObject({
      name: 'InvalidParameterValueException',
    });
    await expect(invoke('hello', 'x'.repeat(6_291_456))).rejects.toMatchObject({
      name: 'RequestTooLargeException',
    });
  });
});

describe('GetFunctionConfiguration', () => {
  it('tells about a script', async () => {
    const configurationOf = (script: string) =>
      lambda.client.send(new GetFunctionConfigurationCommand({ FunctionName: `handoff-script-${script}` }));

    expect(await configurationOf('hello')).toMatchObject({
      FunctionName: 'handoff-script-hello',
      Description: 'Says hello',
      Runtime: 'nodejs24.x',
      MemorySize: 512,
      Timeout: 20,
    });
    expect(await configurationOf('python-hello')).toMatchObject({ Runtime: 'python3.14', MemorySize: 256 });
    await expect(configurationOf('nothing')).rejects.toMatchObject({ name: 'ResourceNotFoundException' });
  });
});

describe('the endpoint', () => {
  const url = (path: string) => `${lambda.url}/2015-03-31/functions/${path}`;
  const authorization =
    'AWS4-HMAC-SHA256 Credential=key-of-this-start/20261123/us-east-1/lambda/aws4_request, Signature=0';
  const call = (path: string, method = 'GET', headers: Record<string, string> = {}) =>
    fetch(url(path), { method, headers: { authorization, ...headers } });

  it('hears only who has the key of this start, and no web page', async () => {
    const stranger = new LambdaClient({
      endpoint: lambda.url,
      region: 'us-east-1',
      credentials: { accessKeyId: 'another', secretAccessKey: 'any' },
      maxAttempts: 1,
    });
    const command = new InvokeCommand({ FunctionName: 'handoff-script-hello' });
    await expect(stranger.send(command)).rejects.toMatchObject({ name: 'UnrecognizedClientException' });
    stranger.destroy();

    const configuration = 'handoff-script-hello/configuration';
    expect((await call(configuration)).status).toBe(200);
    expect((await call(configuration, 'GET', { authorization: '' })).status).toBe(403);
    expect((await call(configuration, 'GET', { origin: 'http://127.0.0.1' })).status).toBe(403);
  });

  it.each([
    ['GET', 'handoff-script-hello/invocations'],
    ['POST', 'handoff-script-hello/configuration'],
    ['DELETE', 'handoff-script-hello'],
    ['GET', ''],
    ['POST', '../functions/handoff-script-hello/aliases'],
  ])('does not know %s %s', async (method, path) => {
    const answer = await call(path, method);
    expect(answer.status).toBe(404);
    expect(answer.headers.get('x-amzn-errortype')).toBe('UnknownOperationException');
    expect(await answer.json()).toEqual({
      Type: 'User',
      message: 'This endpoint answers Invoke and GetFunctionConfiguration and nothing else.',
    });
  });

  it.each(['%2e%2e%2fhello', 'handoff-script-%00', '%', '__proto__'])(
    'takes no name for a path: %s',
    async (name) => {
      const answer = await call(`${name}/configuration`);
      expect(answer.status).toBe(404);
      expect(answer.headers.get('x-amzn-errortype')).toBe('ResourceNotFoundException');
    },
  );

  it('kills what runs and removes its files when it stops', async () => {
    const home = newFile();
    mkdirSync(home);
    await using stopped = await startLambda({ temporaryFolder: home });
    expect(readdirSync(home)).toEqual([]);
    const file = newFile();
    const command = new InvokeCommand({
      FunctionName: 'handoff-script-waits-forever',
      Payload: invocationOf(file),
    });
    const answer = stopped.client.send(command).catch((error: unknown) => error);
    const pids = await pidsIn(file);
    expect(pids.filter(isAlive)).toEqual(pids);
    expect(readdirSync(home)).toHaveLength(1);

    await stopped.stop();
    await waitForDeath(pids);
    expect(readdirSync(home)).toEqual([]);
    expect(await answer).toBeInstanceOf(Error);
  });
});
