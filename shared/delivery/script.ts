import {
  EC2ThrottledException,
  InvokeCommand,
  type InvokeCommandOutput,
  type LambdaClient,
  ResourceNotFoundException,
  TooManyRequestsException,
} from '@aws-sdk/client-lambda';
import { maxErrorLength, maxOutputBytes, maxResponseBytes, unanswered, type Outcome } from './outcome.ts';

/** One call of a script's Lambda. */
export type ScriptRequest = {
  functionName: string;
  /** What the script receives: JSON text. */
  payload: string;
  /** From the call to the result, milliseconds. */
  timeoutMs: number;
};

/**
 * Invokes the Lambda of a script, waits for its result for up to `timeoutMs`, and says what came of it. Whatever the
 * script or Lambda does is an `Outcome`. When the time is over Lambda is no longer listened to, but lets the script
 * run on; the engine on one machine ends it.
 */
export async function invokeScript(
  lambda: LambdaClient,
  { functionName, payload, timeoutMs }: ScriptRequest,
): Promise<Outcome> {
  const deadline = new AbortController();
  // Not at once when the time is over: after a busy moment of this process the result may be waiting to be read, and
  // timers run before reads.
  const timer = setTimeout(() => setImmediate(() => deadline.abort()), timeoutMs);
  const command = new InvokeCommand({
    FunctionName: functionName,
    InvocationType: 'RequestResponse',
    LogType: 'Tail',
    Payload: payload,
  });
  try {
    const answer = await lambda.send(command, { abortSignal: deadline.signal });
    return outcomeOf(answer);
  } catch (error) {
    if (deadline.signal.aborted) {
      return unanswered(`timeout: no result within ${timeoutMs} ms`, { retryable: true });
    }
    return outcomeOfError(error, functionName);
  } finally {
    clearTimeout(timer);
  }
}

function outcomeOfError(error: unknown, functionName: string): Outcome {
  if (error instanceof TooManyRequestsException || error instanceof EC2ThrottledException) {
    return { kind: 'put-off', reason: 'busy' };
  }
  if (error instanceof ResourceNotFoundException) {
    return unanswered(`script: "${functionName}" is not part of this deployment`, { retryable: false });
  }
  const { name, code } = error as NodeJS.ErrnoException;
  const reason = name === 'Error' && code !== undefined ? code : name;
  return unanswered(`script: Lambda did not run it (${oneLine(reason)})`, { retryable: true });
}

function outcomeOf({ FunctionError, Payload, LogResult }: InvokeCommandOutput): Outcome {
  const log = Buffer.from(LogResult ?? '', 'base64');
  const output = outputOf(log);
  const printed = output === '' ? {} : { output };
  if (FunctionError === undefined) {
    return { kind: 'succeeded', statusCode: null, response: responseOf(Payload), ...printed };
  }
  const { errorType, errorMessage } = readError(Payload);
  return {
    kind: 'failed',
    retryable: errorType !== 'PermanentError',
    statusCode: null,
    error: oneLine(`script: ${sentenceOf(errorType, errorMessage, log)}`),
    response: null,
    ...printed,
  };
}

/** What was returned, as text that can be stored anywhere: cut between characters, with U+FFFD for what is not text. */
function responseOf(payload: Uint8Array | undefined): string | null {
  const bytes = payload ?? new Uint8Array();
  // As a "stream" the decoder holds back a character whose end is missing, instead of replacing it.
  const text = storable(new TextDecoder().decode(bytes.subarray(0, maxResponseBytes), { stream: true }));
  // Each replaced byte has become three.
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxResponseBytes));
  const response = text.slice(0, read);
  return response === 'null' || response === '' ? null : response;
}

// Lambda's own lines among those that the script printed, in both of its formats. Node's and Python's runtimes add none.
// https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-formats.html
const platformLine =
  /^(?:(?:START|END|REPORT) RequestId: |(?:INIT_START|INIT_REPORT|RESTORE_START|RESTORE_REPORT) |XRAY TraceId: |\{"time":"[^"]*","type":"platform\.).*\n?/gmu;

/** The end of what the script printed, without Lambda's own lines; empty when it printed nothing. */
function outputOf(log: Buffer): string {
  // The tail begins anywhere, in the middle of a character too.
  let start = 0;
  while (start < 3 && isInsideCharacter(log[start])) start += 1;
  const text = storable(log.toString('utf8', start)).replaceAll(platformLine, '').trimEnd();
  const bytes = Buffer.from(text);
  start = Math.max(0, bytes.length - maxOutputBytes);
  while (isInsideCharacter(bytes[start])) start += 1;
  return bytes.toString('utf8', start);
}

/** Whether a byte of UTF-8 continues a character. */
const isInsideCharacter = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

/** Terminals and many databases do not take U+0000. */
const storable = (text: string): string => text.replaceAll('\u0000', '\uFFFD');

function readError(payload: Uint8Array | undefined): { errorType: string; errorMessage: string } {
  let error: unknown;
  try {
    error = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    error = null;
  }
  const { errorType, errorMessage } = (error ?? {}) as Record<string, unknown>;
  return {
    errorType: typeof errorType === 'string' ? errorType : '',
    errorMessage: typeof errorMessage === 'string' ? errorMessage : '',
  };
}

/** What went wrong, for the author of the script. The types are Lambda's own, or the name of what the script threw. */
function sentenceOf(errorType: string, errorMessage: string, log: Buffer): string {
  const message = errorMessage.replace(/^RequestId: \S+ (?:Error: )?/u, '');
  const [firstLine = ''] = message.split('\n');
  switch (errorType) {
    case 'Runtime.ExitError': {
      const [how] = /exit status \d+|signal: .+/u.exec(firstLine) ?? [];
      if (how === 'signal: killed' && usedAllMemory(log)) return outOfMemory(log);
      return `ended before it returned${how === undefined ? '' : ` (${how})`}`;
    }
    case 'Runtime.OutOfMemory':
      return outOfMemory(log);
    case 'Runtime.NodeJsExit':
      return 'ended before it returned: it waited for a promise that nothing could settle';
    case 'Runtime.UnhandledPromiseRejection':
      return `a promise was rejected and nobody caught it: ${message}`;
    case 'Runtime.ImportModuleError':
    case 'Runtime.UserCodeSyntaxError':
      return `could not be loaded: ${firstLine}`;
    case 'Runtime.HandlerNotFound':
    case 'Runtime.MalformedHandlerName':
      return 'has no function "handler"';
    case 'Runtime.InvalidEntrypoint':
      return message;
    case 'Runtime.MarshalError':
      return `returned what is not JSON: ${message.replace(/^Unable to marshal response: /u, '')}`;
    case 'Function.ResponseSizeTooLarge':
      return 'returned more than 6 MB';
    default: {
      const [, seconds] = /Task timed out after (\d+(?:\.\d+)?) seconds/u.exec(message) ?? [];
      if (errorType === 'Sandbox.Timedout' || (errorType === '' && seconds !== undefined)) {
        return `did not end within the ${seconds === undefined ? '' : `${Number(seconds)} `}seconds that its Lambda has`;
      }
      const parts = [errorType, message].filter((part) => part !== '');
      return parts.length === 0 ? 'failed without saying why' : parts.join(': ');
    }
  }
}

/** In the line REPORT, or in its counterpart in JSON. */
function memoryOf(log: Buffer): { sizeMb: string | undefined; usedMb: string | undefined } {
  const text = log.toString('latin1');
  const [, sizeMb] = [...text.matchAll(/(?:Memory Size: |"memorySizeMB":)(\d+)/gu)].at(-1) ?? [];
  const [, usedMb] = [...text.matchAll(/(?:Max Memory Used: |"maxMemoryUsedMB":)(\d+)/gu)].at(-1) ?? [];
  return { sizeMb, usedMb };
}

function usedAllMemory(log: Buffer): boolean {
  const { sizeMb, usedMb } = memoryOf(log);
  return sizeMb !== undefined && Number(usedMb) >= Number(sizeMb);
}

function outOfMemory(log: Buffer): string {
  const { sizeMb } = memoryOf(log);
  return `used more than its memory${sizeMb === undefined ? '' : ` of ${sizeMb} MB`}`;
}

/** For lists and search: without line breaks and control characters, and not too long. */
const oneLine = (text: string): string =>
  text
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, maxErrorLength)
    .toWellFormed();
