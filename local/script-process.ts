import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { maxOutputBytes } from '../shared/delivery/outcome.ts';
import type { Script } from '../shared/scripts/find-scripts.ts';
import { region } from './aws-identity.ts';
import { createScriptCommands, type ScriptCommand } from './script-command.ts';
import { createEndReader, failed, type ScriptEnd } from './script-end.ts';
import { createFamilies, type Families } from './script-family.ts';
import { createMemoryWatch, type MemoryWatch } from './script-memory.ts';
import { keepTail } from './script-output.ts';

export type ScriptCall = {
  script: Script;
  functionName: string;
  requestId: string;
  /** JSON text. */
  payload: Buffer;
  /** From the start of the process, milliseconds. */
  timeoutMs: number;
  /** Ends the call at once: nobody waits for it any more. */
  signal: AbortSignal;
};

export type ScriptReport = {
  end: ScriptEnd;
  /** The last `maxOutputBytes` of what was printed. */
  output: Buffer;
  durationMs: number;
  peakMemoryBytes: number;
};

/** How long a daemon that got away can hold up the end of a call, since it has the script's output open. */
const outputGraceMs = 1000;

export type ScriptRunner = (call: ScriptCall) => Promise<ScriptReport>;

/**
 * Makes what runs calls of scripts, each in a process of its own of which nothing is left afterwards. `folder` is for
 * bundles, caches and temporary files; `path` is where python3 is looked for, and the PATH of scripts.
 *
 * Rejects with the signal's reason when that ends the call, and when no process could be started. All else that goes
 * wrong is an end of the call.
 */
export function createScriptRunner({ folder, path }: { folder: string; path: string }): ScriptRunner {
  const commandOf = createScriptCommands({ folder, path });
  const families = createFamilies();
  const watchMemory = createMemoryWatch(families);

  return async (call) => {
    const command = await commandOf(call.script);
    call.signal.throwIfAborted();
    if (command.kind !== 'command') {
      return { end: command, output: Buffer.alloc(0), durationMs: 0, peakMemoryBytes: 0 };
    }
    const temporary = join(folder, 'tmp', call.requestId);
    await mkdir(temporary, { recursive: true });
    try {
      const cacheFolder = join(folder, 'compiled');
      return await runProcess({ families, watchMemory }, call, command, { cacheFolder, path, temporary });
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  };
}

async function runProcess(
  { families, watchMemory }: { families: Families; watchMemory: MemoryWatch },
  call: ScriptCall,
  command: ScriptCommand,
  { cacheFolder, ...places }: { cacheFolder: string; path: string; temporary: string },
): Promise<ScriptReport> {
  const { script, requestId, payload, timeoutMs, signal } = call;
  const env = environmentOf(call, command, places);
  signal.throwIfAborted();
  const startedAt = performance.now();
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env,
    // A process group of its own, so that it can be killed as a whole.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
  });
  if (child.pid === undefined) throw (await once(child, 'error'))[0] as Error;
  const family = families.add(child.pid, `AWS_LAMBDA_LOG_STREAM_NAME=${env.AWS_LAMBDA_LOG_STREAM_NAME}`);
  const [, stdout, stderr, callPipe, lifeline] = child.stdio as [null, Readable, Readable, Duplex, Duplex];
  const pipes = [stdout, stderr, callPipe, lifeline];
  // They break when the process ends, and its exit says more.
  for (const pipe of pipes) pipe.on('error', () => undefined);
  const output = keepTail([stdout, stderr], maxOutputBytes);

  // Null: nobody waits any more.
  const ending = Promise.withResolvers<ScriptEnd | null>();
  const outOfMemory = platformError('Runtime.OutOfMemory', requestId, exitOf(null, 'SIGKILL'));
  const exited = once(child, 'exit').then((exit) => {
    const [code, killedBy] = exit as [number | null, NodeJS.Signals | null];
    ending.resolve(platformError('Runtime.ExitError', requestId, exitOf(code, killedBy)));
    return killedBy;
  });
  const memory = watchMemory(family, script.memoryMb * 1_048_576, () => ending.resolve(outOfMemory));
  const timer = setTimeout(() => {
    const sentence = `Task timed out after ${(timeoutMs / 1000).toFixed(2)} seconds`;
    ending.resolve(platformError('Sandbox.Timedout', requestId, sentence));
  }, timeoutMs);
  const onAbort = () => ending.resolve(null);
  signal.addEventListener('abort', onAbort);

  const token = randomBytes(16).toString('hex');
  const readEnd = createEndReader(token);
  callPipe.on('data', (chunk: Buffer) => {
    const end = readEnd(chunk);
    if (end !== null) ending.resolve(end);
  });
  const header = {
    token,
    requestId,
    functionName: call.functionName,
    memoryMb: script.memoryMb,
    endsAt: Date.now() + timeoutMs,
    entry: command.entry,
    folder: script.folder,
    cacheFolder,
    payloadBytes: payload.length,
  };
  callPipe.write(`${JSON.stringify(header)}\n`);
  callPipe.write(payload);

  const end = await ending.promise;
  const durationMs = performance.now() - startedAt;
  signal.removeEventListener('abort', onAbort);
  clearTimeout(timer);
  memory.stop();
  await families.end(family);
  const killedBy = await exited;
  await Promise.race([output.finish(), wait(outputGraceMs, undefined, { ref: false })]);
  for (const pipe of pipes) pipe.destroy();
  if (end === null) throw signal.reason as Error;
  // V8's own limit can be faster than our measuring.
  const ranOutOfHeap = killedBy === 'SIGABRT' && output.bytes().includes('JavaScript heap out of memory');
  return {
    end: ranOutOfHeap ? outOfMemory : end,
    output: output.bytes(),
    durationMs,
    peakMemoryBytes: memory.peakBytes(),
  };
}

/** What Lambda would set, and the script's own settings. Nothing of the engine's. */
function environmentOf(
  { script, functionName, requestId }: ScriptCall,
  { cwd }: ScriptCommand,
  { path, temporary }: { path: string; temporary: string },
) {
  return {
    PATH: path,
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
    TMPDIR: temporary,
    ...script.environment,
    _HANDLER: script.language === 'python' ? 'lambda_function.handler' : 'lambda.handler',
    LAMBDA_TASK_ROOT: cwd,
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_LAMBDA_FUNCTION_NAME: functionName,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(script.memoryMb),
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${functionName}`,
    // Another one for each call, and inherited by whatever the script starts: these processes are found by it.
    AWS_LAMBDA_LOG_STREAM_NAME: `[$LATEST]${requestId}`,
  };
}

const platformError = (errorType: string, requestId: string, sentence: string): ScriptEnd =>
  failed(errorType, `RequestId: ${requestId} Error: ${sentence}`);

// Lambda is written in Go, which has names of its own for signals.
const signalNames: Partial<Record<NodeJS.Signals, string>> = {
  SIGABRT: 'aborted',
  SIGKILL: 'killed',
  SIGSEGV: 'segmentation fault',
  SIGTERM: 'terminated',
};

/** Lambda's words for a process that ended before it had a result. */
function exitOf(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal !== null) return `Runtime exited with error: signal: ${signalNames[signal] ?? signal}`;
  return code === 0
    ? 'Runtime exited without providing a reason'
    : `Runtime exited with error: exit status ${code}`;
}
