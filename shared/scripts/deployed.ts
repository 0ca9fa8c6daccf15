import { setTimeout as delay } from 'node:timers/promises';
import {
  GetFunctionConfigurationCommand,
  ResourceNotFoundException,
  TooManyRequestsException,
  type FunctionConfiguration,
  type LambdaClient,
} from '@aws-sdk/client-lambda';
import pLimit from 'p-limit';

/** A script of this deployment, for whoever chooses it as a target. */
export type DeployedScript = {
  /** What a handler's target names. */
  name: string;
  language: 'typescript' | 'python';
  /** Empty when it has none. */
  description: string;
};

const maxAgeMs = 60_000;
const maxConcurrentReads = 5;
const readTimeoutMs = 3000;
// An account gets 15 such calls a second, all its tools together, and the client does not try again by itself:
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
// Waits of 250, 500, 1,000 and twice 2,000 ms are time enough for the five that are under way at once.
const maxThrottledTries = 6;
const firstBackoffMs = 250;
const maxBackoffMs = 2000;

/**
 * The scripts that a handler may name: their names are known from the deployment, the rest from Lambda itself, which is
 * asked at most once a minute about each.
 *
 * @param names as the environment has them
 * @param prefix the name of a script's Lambda is this and the script's own name
 */
export function createDeployedScripts({
  lambda,
  names,
  prefix,
  now,
}: {
  lambda: LambdaClient;
  names: readonly string[];
  prefix: string;
  now: () => Date;
}) {
  const known = new Map<string, { askedAt: number; script: Promise<DeployedScript> }>();
  const limit = pLimit(maxConcurrentReads);

  /** What these scripts are, in the same order. Throws an Error when one of them is not what was deployed. */
  const list = (wanted: readonly string[]): Promise<DeployedScript[]> => Promise.all(wanted.map(describe));

  function describe(name: string): Promise<DeployedScript> {
    const at = now().getTime();
    const last = known.get(name);
    // A clock that was set back must not keep an old answer alive.
    if (last !== undefined && at - last.askedAt < maxAgeMs && at >= last.askedAt) return last.script;
    const script = limit(() => read(name));
    known.set(name, { askedAt: at, script });
    // Who asks gets the error; the next one asks Lambda again.
    script.catch(() => {
      if (known.get(name)?.script === script) known.delete(name);
    });
    return script;
  }

  async function read(name: string): Promise<DeployedScript> {
    const functionName = prefix + name;
    const { Runtime = '', Description = '' } = await readConfiguration(name, functionName);
    return { name, language: languageOf(name, functionName, Runtime), description: Description };
  }

  async function readConfiguration(name: string, functionName: string): Promise<FunctionConfiguration> {
    for (let tries = 1; ; tries++) {
      try {
        return await lambda.send(new GetFunctionConfigurationCommand({ FunctionName: functionName }), {
          abortSignal: AbortSignal.timeout(readTimeoutMs),
        });
      } catch (error) {
        if (error instanceof ResourceNotFoundException) {
          throw new Error(
            `The script "${name}" belongs to this deployment, but there is no Lambda "${functionName}".`,
            { cause: error },
          );
        }
        if (!(error instanceof TooManyRequestsException) || tries >= maxThrottledTries) throw error;
      }
      await delay(Math.min(maxBackoffMs, firstBackoffMs * 2 ** (tries - 1)));
    }
  }

  return { names: [...new Set(names)].sort(), list };
}

function languageOf(name: string, functionName: string, runtime: string): DeployedScript['language'] {
  if (runtime.startsWith('nodejs')) return 'typescript';
  if (runtime.startsWith('python')) return 'python';
  throw new Error(
    `The Lambda "${functionName}" of the script "${name}" runs on "${runtime}": neither Node nor Python.`,
  );
}
