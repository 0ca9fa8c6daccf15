import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LambdaClient } from '@aws-sdk/client-lambda';
import { expect, vi } from 'vitest';
import { createLambdaEndpoint, type LambdaEndpointOptions } from '../../local/lambda-endpoint.ts';
import { listen } from '../../local/server.ts';
import { findScripts, type Script } from '../../shared/scripts/find-scripts.ts';

/** The folder of the scripts that misbehave. */
export const scriptsFolder = fileURLToPath(new URL('../fixtures/scripts', import.meta.url));

export const scripts: readonly Script[] = findScripts(scriptsFolder);

export function scriptNamed(name: string): Script {
  const script = scripts.find((candidate) => candidate.name === name);
  if (script === undefined) throw new Error(`There is no script ${name} in ${scriptsFolder}.`);
  return script;
}

/** What a script receives, as JSON text. */
export const invocationOf = (data: unknown): string =>
  JSON.stringify({
    event: {
      version: '0',
      id: 'event-1',
      'detail-type': 'client.create',
      source: 'billing',
      time: '2026-11-23T10:00:00Z',
      detail: { objectId: 12, data },
    },
    handler: { id: 'h_1', name: 'CRM sync' },
    execution: { id: 'execution-1', attempt: 2 },
  });

/** A folder for one test file, and what removes it. */
export function temporaryFolder(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'handoff-test-'));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export type TestLambda = AsyncDisposable & {
  /** `http://127.0.0.1:<port>`. */
  url: string;
  client: LambdaClient;
  stop: () => Promise<void>;
};

/** The engine's Lambda on a port of its own, and a client that it takes calls from. */
export async function startLambda(options: Partial<LambdaEndpointOptions> = {}): Promise<TestLambda> {
  const accessKeyId = 'key-of-this-start';
  const { listener, stop } = createLambdaEndpoint({
    scripts,
    accessKeyId,
    path: process.env['PATH'] ?? '',
    ...options,
  });
  const server = await listen('127.0.0.1', 0, listener);
  const url = `http://127.0.0.1:${server.port}`;
  const client = new LambdaClient({
    endpoint: url,
    region: 'us-east-1',
    credentials: { accessKeyId, secretAccessKey: 'any' },
    maxAttempts: 1,
  });
  return {
    url,
    client,
    stop,
    async [Symbol.asyncDispose]() {
      client.destroy();
      await stop();
      await server.close(0);
    },
  };
}

/** Whether a process runs. One that is dead and not yet buried does not. */
export function isAlive(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
  return /^[^Z]/u.test(stdout.trim());
}

/** The process ids that a script writes into a file, as soon as they are there. */
export const pidsIn = (file: string): Promise<number[]> =>
  vi.waitFor(
    () => {
      const text = readFileSync(file, 'utf8');
      expect(text).toMatch(/^\d+(?: \d+)*$/u);
      return text.split(' ').map(Number);
    },
    { timeout: 15_000, interval: 20 },
  );

/** Resolves when none of them runs any more. */
export const waitForDeath = (pids: number[]): Promise<void> =>
  vi.waitFor(() => expect(pids.filter(isAlive)).toEqual([]), { timeout: 15_000, interval: 20 });
