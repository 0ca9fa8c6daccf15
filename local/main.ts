import { join } from 'node:path';
import { log } from '../shared/log.ts';
import { awsKeysFile } from './aws-keys.ts';
import { parseConfig } from './config.ts';
import { DiskError } from './disk-error.ts';
import { type Engine, startEngine } from './engine.ts';
import { StartError } from './start-error.ts';

/** The engine is gone 5 s after a signal, whatever hangs: all that it accepted is on disk. */
const exitLimitMs = 4800;

// What the engine writes is for its user alone, in a folder that others can read too.
process.umask(0o077);

const config = orExit(() => parseConfig(process.env));
let engine: Engine;
try {
  engine = await startEngine(config);
} catch (error) {
  exitWith(error);
}
// In AWS this would end one environment of one function, not the whole system.
process.on('unhandledRejection', (reason) =>
  log.error('engine.unhandled-rejection', { error: reason as Error }),
);

const stopAndExit = (exitCode: number): void => {
  setTimeout(() => process.exit(exitCode), exitLimitMs).unref();
  engine.stop().then(
    () => process.exit(exitCode),
    (error: unknown) => exitWith(error),
  );
};
let isStopping = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // npm passes Ctrl-C on to a process that the terminal has told already.
    if (isStopping) return;
    isStopping = true;
    stopAndExit(0);
  });
}
if (engine.awsKeys !== null) {
  const { accessKeyId, secretAccessKey } = engine.awsKeys;
  const where =
    config.HANDOFF_DATA === 'memory'
      ? `access key ${accessKeyId}, secret ${secretAccessKey}`
      : `the keys in ${join(config.HANDOFF_DATA, awsKeysFile)}`;
  console.log(`AWS calls (PutEvents) are signed with ${where}`);
}
// Last: whoever waits for this line may send a signal right after it.
const whoMayCall = config.HANDOFF_TOKEN === undefined ? `, token ${engine.token}` : '';
console.log(`Handoff is ready: ${engine.url}${whoMayCall}`);

const failure = await engine.failed;
console.error(
  failure instanceof DiskError
    ? `Handoff ends. ${failure.message} Start it again when there is room: it goes on where it was.`
    : failure,
);
if (!isStopping) stopAndExit(1);

function orExit<Value>(work: () => Value): Value {
  try {
    return work();
  } catch (error) {
    return exitWith(error);
  }
}

function exitWith(error: unknown): never {
  console.error(error instanceof StartError ? `Handoff cannot start. ${error.message}` : error);
  process.exit(1);
}
