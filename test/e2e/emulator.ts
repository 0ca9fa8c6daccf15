import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { closedPort } from '../support/http-server.ts';
import { installPython } from '../support/python.ts';
import { selfSigned } from '../support/self-signed.ts';

const besideThis = (name: string) => fileURLToPath(new URL(name, import.meta.url));

const region = 'eu-central-1';
const startTimeoutMs = 60_000;
const stopTimeoutMs = 10_000;
const pollMs = 50;

export type Emulator = AsyncDisposable & {
  /** What a client has as AWS_ENDPOINT_URL. */
  endpoint: string;
  region: string;
  account: string;
  /** Of the account's root, who may do everything. */
  credentials: { accessKeyId: string; secretAccessKey: string };
  /** What a client has to trust, PEM; null when the emulator speaks plain HTTP. */
  certificate: string | null;
  /** The AWS variables of a command that is to talk to it. */
  environment: Record<string, string>;
  /** Where the folders of its users may be; removed with it. */
  folder: string;
  /** Gets a line for every call, if policies are enforced; `readCalls` reads it. */
  callsFile: string;
  /** Where the keys are with which its user pools sign: `<pool>-access.pem`. */
  poolKeysFolder: string;
};

/**
 * Starts the AWS emulator on a free port of loopback, with our Node 24 for the functions. What differs between it and AWS is told in
 * docs/testing.md. Throws an Error that says what is missing when it cannot be had.
 *
 * @param enforcePolicies whether every call is held against the policies of its caller, as in AWS. Needs TLS, since the bootstrap
 *   bucket and the queues refuse plain HTTP
 */
export async function startEmulator({
  enforcePolicies,
  trusted,
}: {
  enforcePolicies: boolean;
  /** A certificate that it trusts when it calls others, PEM. @default none but those that the machine trusts */
  trusted?: string;
}): Promise<Emulator> {
  const programs = await installPython(besideThis('requirements.txt'));
  const folder = await mkdtemp(join(tmpdir(), 'handoff-e2e-'));
  const port = await closedPort();
  const endpoint = `${enforcePolicies ? 'https://localhost' : 'http://127.0.0.1'}:${port}`;
  const callsFile = join(folder, 'calls.jsonl');
  const stateFolder = join(folder, 'state');
  const temporary = join(folder, 'tmp');
  await mkdir(temporary);
  const tls = enforcePolicies ? selfSigned() : null;
  const certificateFile = join(folder, 'certificate.pem');
  const keyFile = join(folder, 'key.pem');
  const trustedFile = join(folder, 'trusted.pem');
  if (trusted !== undefined) await writeFile(trustedFile, trusted);
  if (tls !== null) {
    await writeFile(certificateFile, tls.cert);
    await writeFile(keyFile, tls.key, { mode: 0o600 });
  }

  const child = spawn(join(programs, 'python'), [besideThis('emulator.py')], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // An interrupt at the keyboard is for its parent.
    detached: true,
    env: {
      FOLDER: folder,
      // The first node in it runs the functions.
      PATH: [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter),
      GATEWAY_PORT: String(port),
      BIND_HOST: '127.0.0.1',
      MINISTACK_HOST: 'localhost',
      MINISTACK_REGION: region,
      IOT_MTLS_ENABLED: '0',
      TMPDIR: temporary,
      STATE_DIR: stateFolder,
      PYTHONUNBUFFERED: '1',
      ...(trusted !== undefined && { SSL_CERT_FILE: trustedFile }),
      ...(enforcePolicies && {
        AUTH: 'true',
        USE_SSL: '1',
        MINISTACK_SSL_CERT: certificateFile,
        MINISTACK_SSL_KEY: keyFile,
        RECORDED_CALLS: callsFile,
      }),
    },
  });
  const logFile = join(folder, 'emulator.log');
  const log = createWriteStream(logFile);
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const exited = once(child, 'exit');

  async function stop(): Promise<void> {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    await exited;
    clearTimeout(timer);
    log.end();
    await rm(folder, { recursive: true, force: true });
  }

  try {
    await untilListening(port, exited);
    return {
      endpoint,
      region,
      account: '000000000000',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
      certificate: tls?.cert ?? null,
      environment: {
        AWS_ENDPOINT_URL: endpoint,
        AWS_REGION: region,
        AWS_ACCESS_KEY_ID: 'test',
        AWS_SECRET_ACCESS_KEY: 'test',
        ...(enforcePolicies && { NODE_EXTRA_CA_CERTS: certificateFile, AWS_CA_BUNDLE: certificateFile }),
      },
      folder,
      callsFile,
      poolKeysFolder: join(stateFolder, 'cognito-pool-keys'),
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    const printed = await readFile(logFile, 'utf8');
    await stop();
    throw new Error(`The AWS emulator did not start.\n${printed}`, { cause: error });
  }
}

/** TLS or not, it listens as soon as it is ready. */
async function untilListening(port: number, exited: Promise<unknown>): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    if (await isListening(port)) return;
    const hasEnded = await Promise.race([exited.then(() => true), delay(pollMs, false)]);
    if (hasEnded) throw new Error('It has ended.');
  }
  throw new Error('It is not ready after a minute.');
}

function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return new Promise((resolve) => {
    const answer = (isIt: boolean) => () => {
      socket.destroy();
      resolve(isIt);
    };
    socket.once('connect', answer(true)).once('error', answer(false));
  });
}
