import { Duration, IgnoreMode, Stack, Validations } from 'aws-cdk-lib';
import {
  Architecture,
  Code,
  Function as LambdaFunction,
  LoggingFormat,
  Runtime,
  type IFunction,
} from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import { Construct } from 'constructs';
import { findScripts, type Script } from '../../shared/scripts/find-scripts.ts';
import type { Config } from '../config.ts';
import { DeployError } from '../deploy-error.ts';
import { typescript } from './bundle.ts';
import { circular, createLogAndRole, type Access } from './function.ts';

export type ScriptsProps = {
  config: Config;
  /** Absolute path, inside the project; each folder in it is a script. */
  folder: string;
};

const maxFunctionNameLength = 64;

// A function's variables may have 4 KB together; the rest is for the others.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const maxNamesLength = 3000;

// A policy ends at 6,144 characters. CDK takes another policy for the statements that do not fit into one, but it
// cannot cut a statement. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const maxArnsInStatement = 20;

// Five seconds more than a handler may give a script, which a test compares with the handler's schema: a script that
// takes too long is given up on by its caller, and says so in the log, before Lambda ends it.
const timeout = Duration.seconds(125);

/** The deployer's own code: a Lambda for each folder, with a role that may write its own log and nothing else. */
export class Scripts extends Construct {
  /** A script's function by the script's name, to give it permissions. Throws a DeployError when there is no such script. */
  readonly functions: { get: (name: string) => IFunction };
  /** The right to run every script, and their names. */
  readonly invoke: Access<'SCRIPTS'>;
  /** The same, and the right to read their descriptions. */
  readonly describeAndInvoke: Access<'SCRIPTS'>;
  /** A function's name is this and the script's own name. */
  readonly functionPrefix: string;

  constructor(scope: Construct, id: string, { config, folder }: ScriptsProps) {
    super(scope, id);
    this.functionPrefix = `${Stack.of(this).stackName}-script-`;

    const scripts = readScripts(folder);
    const names = scripts.map(({ name }) => name).join(',');
    if (names.length > maxNamesLength) {
      throw new DeployError(
        `The names of the ${scripts.length} scripts in ${folder} have ${names.length} characters together, and a function's ` +
          `environment has room for ${maxNamesLength}: shorten them, or deploy some of the scripts with another stack.`,
      );
    }
    const functions = new Map(
      scripts.map((script) => [script.name, this.createFunction(script, config)] as const),
    );

    this.functions = {
      get: (name) => {
        const found = functions.get(name);
        if (found === undefined) {
          throw new DeployError(`There is no script ${name} in ${folder}; there are: ${names || 'none'}.`);
        }
        return found;
      },
    };
    const arns = [...functions.values()].map(({ functionArn }) => functionArn);
    const statements = Array.from({ length: Math.ceil(arns.length / maxArnsInStatement) }, (_, index) =>
      arns.slice(index * maxArnsInStatement, (index + 1) * maxArnsInStatement),
    );
    const scriptsTo = (...actions: string[]): Access<'SCRIPTS'> => ({
      variable: 'SCRIPTS',
      value: names,
      permissions: statements.map((resources) => ({ actions, resources })),
    });
    this.invoke = scriptsTo('lambda:InvokeFunction');
    this.describeAndInvoke = scriptsTo('lambda:GetFunctionConfiguration', 'lambda:InvokeFunction');
  }

  private createFunction(script: Script, config: Config): IFunction {
    const scope = new Construct(this, script.name);
    const { logGroup, role } = createLogAndRole(scope, config.logRetentionDays);
    const settings = {
      functionName: this.functionName(script),
      description: script.description,
      memorySize: script.memoryMb,
      timeout,
      // A script is called again for every attempt, so it is in the chain of the wake-up calls.
      ...circular,
      role,
      environment: script.environment,
      logGroup,
      // What a script prints is read by people: in our log beside its answer, and here.
      loggingFormat: LoggingFormat.TEXT,
      // Handoff waits for the answer, and repeats by the handler's schedule.
      retryAttempts: 0,
    };
    switch (script.language) {
      case 'typescript':
        return new NodejsFunction(scope, 'Function', { ...typescript, ...settings, entry: script.entry });
      case 'python': {
        const lambda = new LambdaFunction(scope, 'Function', {
          ...settings,
          runtime: Runtime.PYTHON_3_14,
          architecture: Architecture.ARM_64,
          handler: 'lambda_function.handler',
          code: Code.fromAsset(script.folder, {
            exclude: ['.*', '__pycache__', 'test', 'tests', 'test_*.py', '*_test.py'],
            ignoreMode: IgnoreMode.GIT,
          }),
        });
        Validations.of(lambda).acknowledge({
          id: 'AwsSolutions-L1',
          reason:
            'CDK knows Python 3.15 too, which is a preview that AWS does not support: https://github.com/aws/aws-lambda-roadmap/issues/55',
        });
        return lambda;
      }
      default:
        return script.language satisfies never;
    }
  }

  private functionName({ name }: Script): string {
    const functionName = `${this.functionPrefix}${name}`;
    const excess = functionName.length - maxFunctionNameLength;
    if (excess > 0) {
      throw new DeployError(
        `The function of the script ${name} in the stack ${Stack.of(this).stackName} would be named ${functionName}, ` +
          `and Lambda takes ${maxFunctionNameLength} characters: shorten one of the two names by ${excess}.`,
      );
    }
    return functionName;
  }
}

function readScripts(folder: string): Script[] {
  try {
    return findScripts(folder);
  } catch (cause) {
    throw new DeployError((cause as Error).message, { cause });
  }
}
