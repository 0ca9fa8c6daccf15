// Runs one call of a bundled TypeScript script in a process of its own, as Lambda's runtime for Node does, and tells the
// engine what came of it. Plain JavaScript that imports nothing of ours, because every call loads it.
//
// Descriptor 3 brings the invocation and takes the result: what a script prints can be no result then. The engine
// holds the other end of descriptor 4 for as long as it lives. script_runner.py does the same for Python.
import { readSync, writeSync } from 'node:fs';
import { enableCompileCache, flushCompileCache } from 'node:module';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';

const callPipe = 3;
/** Lambda takes 6 MB and a little. */
const maxResponseBytes = 6_291_556;
const maxErrorLength = 10_000;

// When the engine is gone, however it ended, the script and its children must go too, even out of a loop that never ends:
// hence a thread. It watches and does not block in a read, for process.exit() waits for the end of threads.
new Worker(
  `const { Socket } = require('node:net');
  new Socket({ fd: 4 }).resume().on('error', () => {}).on('close', () => process.kill(0, 'SIGKILL'));`,
  {
    eval: true,
    env: {},
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 1 },
  },
).unref();

// In the order in which they are written, and a script that prints more than is read waits instead of buffering.
const output = process.stdout;
output._handle?.setBlocking?.(true);
Object.defineProperty(process, 'stderr', { value: output, configurable: true, writable: true });

const call = readCall();
enableCompileCache(call.cacheFolder);

process.on('uncaughtException', (error) => fail(error));
process.on('unhandledRejection', (reason) => {
  print(reason);
  report('E', { errorType: 'Runtime.UnhandledPromiseRejection', errorMessage: textOf(() => reason) });
});
process.once('beforeExit', () =>
  report('E', {
    errorType: 'Runtime.NodeJsExit',
    errorMessage: 'The process had nothing left to do, and the promise of the handler was not settled.',
  }),
);

const context = {
  functionName: call.functionName,
  functionVersion: '$LATEST',
  memoryLimitInMB: String(call.memoryMb),
  awsRequestId: call.requestId,
  getRemainingTimeInMillis: () => Math.max(0, call.endsAt - Date.now()),
};
const handler = await loadHandler();
try {
  succeed(await handler(JSON.parse(call.payload), context));
} catch (error) {
  fail(error);
}

/** One line of JSON, then `payloadBytes` of payload. Without all of it there is nothing to do: the engine is gone. */
function readCall() {
  let received = Buffer.alloc(0);
  const chunk = Buffer.allocUnsafe(65_536);
  const readMore = () => {
    const bytes = readSync(callPipe, chunk);
    if (bytes === 0) process.exit(1);
    received = Buffer.concat([received, chunk.subarray(0, bytes)]);
  };
  while (!received.includes('\n')) readMore();
  const payloadAt = received.indexOf('\n') + 1;
  const header = JSON.parse(received.toString('utf8', 0, payloadAt));
  while (received.length < payloadAt + header.payloadBytes) readMore();
  return { ...header, payload: received.toString('utf8', payloadAt) };
}

async function loadHandler() {
  let script;
  try {
    script = await import(pathToFileURL(call.entry).href);
  } catch (error) {
    const errorType = loadErrorType(error);
    if (errorType === null) fail(error);
    print(error);
    report('E', { errorType, errorMessage: textOf(() => error) });
  }
  if (typeof script.handler !== 'function') {
    const errorMessage = 'lambda.handler is undefined or not a function';
    report('E', { errorType: 'Runtime.HandlerNotFound', errorMessage });
  }
  return script.handler;
}

/** Null for what the script threw itself. */
function loadErrorType(error) {
  if (error instanceof SyntaxError) return 'Runtime.UserCodeSyntaxError';
  const isMissing = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'].includes(error?.code);
  return isMissing ? 'Runtime.ImportModuleError' : null;
}

function succeed(result) {
  let json;
  try {
    json = JSON.stringify(result === undefined ? null : result);
    if (json === undefined) throw new TypeError(`a ${typeof result} has no JSON`);
  } catch (error) {
    const errorMessage = `Unable to marshal response: ${textOf(() => error.message)}`;
    report('E', { errorType: 'Runtime.MarshalError', errorMessage });
  }
  if (Buffer.byteLength(json) > maxResponseBytes) {
    const errorMessage = `Response payload size exceeded maximum allowed payload size (${maxResponseBytes} bytes).`;
    report('E', { errorType: 'Function.ResponseSizeTooLarge', errorMessage });
  }
  report('R', json);
}

function fail(error) {
  print(error);
  const isError = error instanceof Error;
  report('E', {
    errorType: isError ? textOf(() => error.name) : typeof error,
    errorMessage: textOf(() => (isError ? error.message : error)),
  });
}

/** Into the output, with the script's part of the stack, where Lambda has it too. */
function print(error) {
  const lines = textOf(() => inspect(error), Infinity).split('\n');
  const own = lines.filter((line) => !line.includes(import.meta.url) && !line.includes('(node:internal/'));
  output.write(`${own.join('\n').replaceAll(`${call.folder}/`, '')}\n`);
}

/** A script may throw what cannot even be looked at. */
function textOf(read, maxLength = maxErrorLength) {
  try {
    return String(read()).slice(0, maxLength);
  } catch {
    return 'something that cannot be shown';
  }
}

/**
 * Sends the end of the call (R: what was returned, E: what went wrong) and stands still until the engine ends the
 * process: nothing goes on behind a result. In Lambda the environment is frozen at this point.
 */
function report(kind, end) {
  flushCompileCache();
  const body = Buffer.from(typeof end === 'string' ? end : JSON.stringify(end));
  const frame = Buffer.concat([Buffer.from(`${call.token}${kind}${body.length}\n`), body]);
  for (let sent = 0; sent < frame.length;) sent += writeSync(callPipe, frame, sent);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  throw new Error('unreachable');
}
