import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { dirname, delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Emulator } from './emulator.ts';

const run = promisify(execFile);

/** Of the project. */
export const root = fileURLToPath(new URL('../..', import.meta.url));
const timeoutMs = 120_000;

/** A deployed stack, as its outputs name it. */
export type Stack = {
  /** Where the emulator answers for the API: its host names need a resolver that knows them. */
  apiUrl: string;
  outputs: Record<string, string>;
};

/** Settings of a deployment, as behind `-c`. */
export type Settings = Readonly<Record<string, string | number | boolean>>;

/**
 * Runs the CDK's own command against the emulator. Rejects with what it printed when it fails.
 *
 * @param from the root of the project whose stack it is
 * @returns what it printed
 */
export async function cdk(
  emulator: Emulator,
  command: readonly string[],
  { settings = {}, from = root }: { settings?: Settings; from?: string } = {},
): Promise<string> {
  const context = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const program = join(from, 'node_modules/aws-cdk/bin/cdk');
  const [name = '', ...rest] = command;
  const all = [program, name, ...rest, ...context, '--output', join(emulator.folder, 'cdk.out')];
  try {
    const { stdout, stderr } = await run(process.execPath, all, {
      cwd: from,
      timeout: timeoutMs,
      maxBuffer: 16 * 1024 * 1024,
      env: {
        PATH: [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter),
        HOME: emulator.folder,
        CI: 'true',
        ...emulator.environment,
      },
    });
    return stdout + stderr;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`cdk ${command.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
  }
}

export const bootstrap = (emulator: Emulator): Promise<string> =>
  cdk(emulator, ['bootstrap', `aws://${emulator.account}/${emulator.region}`]);

/** Deploys the stack, or deploys it once more. */
export async function deploy(
  emulator: Emulator,
  settings: Settings,
  from = root,
): Promise<Stack & { printed: string }> {
  const outputsFile = join(emulator.folder, 'outputs.json');
  const printed = await cdk(
    emulator,
    ['deploy', '--require-approval', 'never', '--outputs-file', outputsFile],
    { settings, from },
  );
  const outputs = Object.values(
    JSON.parse(await readFile(outputsFile, 'utf8')) as Record<string, Record<string, string>>,
  )[0];
  const apiId = new URL(outputs?.['ApiUrl'] ?? '').hostname.split('.')[0];
  return {
    apiUrl: `${emulator.endpoint}/_aws/execute-api/${apiId}/$default`,
    outputs: outputs ?? {},
    printed,
  };
}

/**
 * An address of this machine that a deployed function may be allowed to call: not loopback, which stays closed in Lambda whatever the
 * settings say. Throws an Error where there is none.
 */
export function outsideAddress(): string {
  const address = Object.values(networkInterfaces())
    .flat()
    .find(
      (candidate) => candidate !== undefined && !candidate.internal && candidate.family === 'IPv4',
    )?.address;
  if (address === undefined) {
    throw new Error(
      'This machine has no IPv4 address but those of loopback, which a deployed function never calls: there is no place for the receivers of the tests.',
    );
  }
  return address;
}

/** The settings without which no receiver of a test could be called. */
export const receiverSettings = (host: string): Settings => ({ allowHttp: true, allowCidrs: `${host}/32` });
