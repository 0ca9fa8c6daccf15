import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';

const startFile = fileURLToPath(new URL('../../local/start.mjs', import.meta.url));
const startTimeoutMs = 20_000;

export const engineToken = 'test-token';

export type EngineProcess = {
  url: string;
  process: ChildProcess;
  /** Every line that it printed so far. */
  lines: string[];
  /** Calls back with every further line. */
  onLine(listener: (line: string) => void): void;
  /** Resolves with its exit code, or null when a signal ended it. By then all lines have come. */
  exited: Promise<number | null>;
  /** Sends the signal and waits for its end. */
  end(signal: NodeJS.Signals): Promise<number | null>;
};

/**
 * Starts the engine as a child process on a free port, as `npm start` does, and waits until it is ready. Targets on
 * loopback are allowed. Rejects with what it printed when it ends before that.
 */
export async function startEngineProcess(
  data: string,
  {
    env = {},
    nodeOptions = [],
    maxFileBlocks,
  }: {
    env?: Record<string, string>;
    nodeOptions?: string[];
    /** No file of the engine grows beyond so many blocks of 512 bytes, as if the disk were full. */
    maxFileBlocks?: number;
  } = {},
): Promise<EngineProcess> {
  const command = [process.execPath, ...nodeOptions, startFile];
  // The soft limit, which may be lifted again.
  const limited =
    maxFileBlocks === undefined
      ? command
      : ['/bin/sh', '-c', `ulimit -S -f ${maxFileBlocks}; exec "$@"`, 'sh', ...command];
  const child = spawn(limited[0] ?? '', limited.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      PORT: '0',
      HANDOFF_DATA: data,
      HANDOFF_TOKEN: engineToken,
      HANDOFF_ALLOW_HTTP: 'true',
      HANDOFF_ALLOW_CIDRS: '127.0.0.0/8',
      ...env,
    },
  });
  const lines: string[] = [];
  const listeners: ((line: string) => void)[] = [];
  const ready = Promise.withResolvers<string>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      for (const listener of listeners) listener(line);
      const url = /^Handoff is ready: (?<url>\S+?),?(\s|$)/u.exec(line)?.groups?.['url'];
      if (url !== undefined) ready.resolve(url);
    });
  }
  // Not `exit`: what it printed last may come after that.
  const exited = once(child, 'close').then(([code]) => code as number | null);
  const timer = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs);
  const url = await Promise.race([
    ready.promise,
    exited.then((code) => {
      throw new Error(`The engine ended (${code}) before it was ready:\n${lines.join('\n')}`);
    }),
  ]).finally(() => clearTimeout(timer));
  return {
    url,
    process: child,
    lines,
    onLine: (listener) => void listeners.push(listener),
    exited,
    end: async (signal) => {
      child.kill(signal);
      return exited;
    },
  };
}

/** An upstream's client: the plain AWS SDK, with nothing of ours but the endpoint. */
export const upstreamClient = (endpoint: string, { maxAttempts = 3 } = {}): EventBridgeClient =>
  new EventBridgeClient({
    endpoint,
    maxAttempts,
    region: 'us-east-1',
    credentials: { accessKeyId: 'upstream', secretAccessKey: 'upstream' },
  });
