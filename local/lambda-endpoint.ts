import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { log } from '../shared/log.ts';
import type { Script } from '../shared/scripts/find-scripts.ts';
import { accountId, region } from './aws-identity.ts';
import { readBody } from './request-body.ts';
import { createScriptRunner, type ScriptReport, type ScriptRunner } from './script-process.ts';
import type { RequestListener } from './server.ts';

/** https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html */
const maxPayloadBytes = 6_291_456;
/** What `LogType: Tail` gives, bytes. */
const maxLogTailBytes = 4096;
const runtimes = { typescript: 'nodejs24.x', python: 'python3.14' } as const;

/** The name of a script's Lambda is this and the script's own name. */
export const scriptFunctionPrefix = 'handoff-script-';

/** A call that fails as a whole, in AWS's own form. */
class LambdaError extends Error {
  override name = 'LambdaError' as const;
  readonly status: number;
  readonly type: string;
  readonly fields: Record<string, string>;

  constructor(status: number, type: string, message: string, fields: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.type = type;
    this.fields = fields;
  }
}

export type LambdaEndpointOptions = {
  scripts: readonly Script[];
  /** Calls signed with another key are refused: the port is on loopback, where other users and web pages reach it, too. */
  accessKeyId: string;
  /** Where python3 is looked for, and what scripts get as their PATH. */
  path: string;
  /** Calls that run at once; one more is refused, as Lambda does at the account's limit. */
  maxConcurrent?: number;
  /** What a function may take, seconds. */
  timeoutSeconds?: number;
  /** Where the folder for bundles and temporary files is made, at the first call. */
  temporaryFolder?: string;
};

export type LambdaEndpoint = {
  listener: RequestListener;
  /** Kills what runs, and removes bundles and temporary files. */
  stop: () => Promise<void>;
};

/**
 * The Lambda endpoint for our own functions, and the one machine's Lambda behind it: `Invoke` (synchronous) and
 * `GetFunctionConfiguration` for the scripts, and nothing else.
 */
export function createLambdaEndpoint({
  scripts,
  accessKeyId,
  path,
  maxConcurrent = 32,
  timeoutSeconds = 125,
  temporaryFolder = tmpdir(),
}: LambdaEndpointOptions): LambdaEndpoint {
  // A name in a request is looked up here, and never becomes a part of a path.
  const functions = new Map(scripts.map((script) => [`${scriptFunctionPrefix}${script.name}`, script]));
  const running = new Map<AbortController, Promise<ScriptReport>>();
  let isStopping = false;
  let places: Promise<{ folder: string; run: ScriptRunner }> | undefined;

  async function makePlaces() {
    const folder = await mkdtemp(join(temporaryFolder, 'handoff-scripts-'));
    return { folder, run: createScriptRunner({ folder, path }) };
  }

  async function invoke(functionName: string, request: IncomingMessage, response: ServerResponse) {
    const script = scriptOf(functionName);
    const type = request.headers['x-amz-invocation-type'] ?? 'RequestResponse';
    if (type !== 'RequestResponse') {
      throw new LambdaError(
        400,
        'InvalidParameterValueException',
        `There is no invocation type ${String(type)} here.`,
      );
    }
    if (isStopping) throw new LambdaError(503, 'ServiceException', 'The engine stops.');
    if (running.size >= maxConcurrent) {
      const fields = { Reason: 'ConcurrentInvocationLimitExceeded' };
      throw new LambdaError(429, 'TooManyRequestsException', 'Rate Exceeded.', fields);
    }
    const controller = new AbortController();
    response.once('close', () => controller.abort());
    const requestId = randomUUID();
    const call = async () => {
      const payload = await readBody(request, maxPayloadBytes);
      if (payload === null) {
        const message = `The payload is larger than ${maxPayloadBytes} bytes.`;
        throw new LambdaError(413, 'RequestTooLargeException', message);
      }
      places ??= makePlaces().catch((error: unknown) => {
        places = undefined;
        throw error;
      });
      const timeoutMs = timeoutSeconds * 1000;
      const { signal } = controller;
      return (await places).run({ script, functionName, requestId, payload, timeoutMs, signal });
    };
    const report = call();
    running.set(controller, report);
    try {
      sendReport(response, {
        script,
        requestId,
        report: await report,
        withLog: request.headers['x-amz-log-type'] === 'Tail',
      });
    } catch (error) {
      if (!controller.signal.aborted) throw error;
      // The caller is gone, or the engine stops.
      response.destroy();
    } finally {
      running.delete(controller);
    }
  }

  function scriptOf(functionName: string): Script {
    const script = functions.get(functionName);
    if (script !== undefined) return script;
    throw new LambdaError(404, 'ResourceNotFoundException', `Function not found: ${arnOf(functionName)}`);
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { authorization, origin } = request.headers;
    if (authorization?.includes(`Credential=${accessKeyId}/`) !== true || origin !== undefined) {
      const message = 'The security token included in the request is invalid.';
      throw new LambdaError(403, 'UnrecognizedClientException', message);
    }
    const [resource = ''] = (request.url ?? '').split('?');
    const route = /^\/2015-03-31\/functions\/(?<name>[^/]+)\/(?<operation>invocations|configuration)$/u.exec(
      resource,
    );
    const { name = '', operation } = route?.groups ?? {};
    if (operation === 'invocations' && request.method === 'POST') {
      await invoke(name, request, response);
    } else if (operation === 'configuration' && request.method === 'GET') {
      send(response, 200, JSON.stringify(configurationOf(name, scriptOf(name), timeoutSeconds)));
    } else {
      const message = 'This endpoint answers Invoke and GetFunctionConfiguration and nothing else.';
      throw new LambdaError(404, 'UnknownOperationException', message);
    }
  }

  return {
    async listener(request, response) {
      try {
        await answer(request, response);
      } catch (error) {
        if (response.destroyed) return;
        if (error instanceof LambdaError) {
          sendError(response, error);
          return;
        }
        log.error('script.not-run', { path: request.url, error: error as Error });
        sendError(response, new LambdaError(500, 'ServiceException', 'The script could not be run.'));
      }
    },
    async stop() {
      isStopping = true;
      for (const controller of running.keys()) controller.abort();
      await Promise.allSettled(running.values());
      if (places !== undefined) await rm((await places).folder, { recursive: true, force: true });
    },
  };
}

const arnOf = (functionName: string) => `arn:aws:lambda:${region}:${accountId}:function:${functionName}`;

const configurationOf = (functionName: string, script: Script, timeoutSeconds: number) => ({
  FunctionName: functionName,
  FunctionArn: arnOf(functionName),
  Description: script.description,
  Runtime: runtimes[script.language],
  MemorySize: script.memoryMb,
  Timeout: timeoutSeconds,
  Version: '$LATEST',
});

function sendReport(
  response: ServerResponse,
  {
    script,
    requestId,
    report,
    withLog,
  }: { script: Script; requestId: string; report: ScriptReport; withLog: boolean },
): void {
  const { end } = report;
  const headers: Record<string, string> = { 'x-amz-executed-version': '$LATEST' };
  if (withLog) headers['x-amz-log-result'] = logTail(script, requestId, report).toString('base64');
  if (end.kind === 'returned') {
    send(response, 200, end.json, headers);
    return;
  }
  const { errorType, errorMessage } = end;
  // "Handled" is a relic: Lambda says this of every error.
  send(response, 200, JSON.stringify({ errorType, errorMessage }), {
    ...headers,
    'x-amz-function-error': 'Unhandled',
  });
}

/** The end of what the function logged, with Lambda's own lines around what the script printed. */
function logTail(
  script: Script,
  requestId: string,
  { end, output, durationMs, peakMemoryBytes }: ScriptReport,
): Buffer {
  const isOutOfMemory = end.kind === 'failed' && end.errorType === 'Runtime.OutOfMemory';
  const usedMb = isOutOfMemory ? script.memoryMb : Math.ceil(peakMemoryBytes / 1_048_576);
  const report = [
    `REPORT RequestId: ${requestId}`,
    `Duration: ${durationMs.toFixed(2)} ms`,
    `Billed Duration: ${Math.ceil(durationMs)} ms`,
    `Memory Size: ${script.memoryMb} MB`,
    `Max Memory Used: ${usedMb} MB`,
  ];
  const isLineOpen = output.length > 0 && output.at(-1) !== 0x0a;
  return Buffer.concat([
    Buffer.from(`START RequestId: ${requestId} Version: $LATEST\n`),
    output,
    Buffer.from(`${isLineOpen ? '\n' : ''}END RequestId: ${requestId}\n${report.join('\t')}\t\n`),
  ]).subarray(-maxLogTailBytes);
}

/** https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html#operation-error-serialization */
function sendError(response: ServerResponse, { status, type, message, fields }: LambdaError): void {
  const body = { Type: status < 500 ? 'User' : 'Service', ...fields, message };
  send(response, status, JSON.stringify(body), { 'x-amzn-errortype': type });
}

function send(
  response: ServerResponse,
  status: number,
  body: string | Buffer,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, {
    ...headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-amzn-requestid': randomUUID(),
  });
  response.end(body);
}
