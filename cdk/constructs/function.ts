import { fileURLToPath } from 'node:url';
import { RemovalPolicy, Stack, type Duration } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal, type PolicyStatementProps } from 'aws-cdk-lib/aws-iam';
import { Architecture, LoggingFormat, Runtime } from 'aws-cdk-lib/aws-lambda';
import { LogLevel, NodejsFunction, OutputFormat } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import type { z } from 'zod';

const fromRoot = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Where the functions' metrics are: one place for each stack, because an account may hold several. */
export const metricsNamespace = (scope: Construct): string => `Handoff/${Stack.of(scope).stackName}`;

/** The variables that name a resource. They are worth nothing without a permission, so they take an `Access`. */
type ResourceVariable = 'HANDLERS_TABLE' | 'EXECUTIONS_TABLE' | 'DATA_KEY' | 'EVENT_BUS';

/**
 * The right to use one resource: the value of the variable that names it together with the permissions.
 * A construct that owns a resource hands these out and keeps the resource to itself, so that nobody gets
 * half of it; `variable` keeps one table from being passed for the other.
 */
export type Access<Variable extends ResourceVariable> = {
  readonly variable: Variable;
  readonly value: string;
  readonly permissions: readonly PolicyStatementProps[];
};

// Without AWS_...: Lambda sets those itself and refuses a deployment that does.
type Values<Input> = {
  readonly [Name in keyof Input as Exclude<Name, `AWS_${string}`>]: Name extends ResourceVariable
    ? Access<Name>
    : string | number | boolean;
};

/** What a function's `env.ts` asks for: a variable without a default has to be there, an unknown one must not. */
export type EnvironmentOf<Schema extends z.ZodObject> = Values<z.input<Schema>>;

export type HandoffFunctionProps<Schema extends z.ZodObject> = {
  /** The folder under functions/; its lambda.ts exports `handler`. */
  folder: string;
  description: string;
  /** MB. */
  memoryMb: number;
  timeout: Duration;
  /** Days. */
  logRetentionDays: RetentionDays;
  /** The schema in the folder's env.ts. */
  env: Schema;
  environment: EnvironmentOf<Schema>;
};

/** One Lambda of ours, with a role that may write its own log and use what its environment names. */
export class HandoffFunction<Schema extends z.ZodObject> extends Construct {
  readonly lambda: NodejsFunction;

  constructor(scope: Construct, id: string, props: HandoffFunctionProps<Schema>) {
    super(scope, id);

    // Diagnostics only: what happened to an event is in the execution log, which is retained.
    const logGroup = new LogGroup(this, 'Logs', {
      retention: props.logRetentionDays,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    // Not the role that CDK would make: its managed policy may write to every log group of the account.
    const role = new Role(this, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
    logGroup.grantWrite(role);

    const environment: Record<string, string> = {
      POWERTOOLS_METRICS_NAMESPACE: metricsNamespace(this),
      // Of libuv's four threads name look-ups get two: two slow names would hold up every new connection.
      UV_THREADPOOL_SIZE: '32',
    };
    for (const [name, value] of Object.entries<Access<ResourceVariable> | string | number | boolean>(
      props.environment,
    )) {
      if (typeof value === 'object') {
        environment[name] = value.value;
        for (const permission of value.permissions) role.addToPolicy(new PolicyStatement(permission));
      } else {
        environment[name] = String(value);
      }
    }

    this.lambda = new NodejsFunction(this, 'Function', {
      entry: fromRoot(`functions/${props.folder}/lambda.ts`),
      description: props.description,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      memorySize: props.memoryMb,
      timeout: props.timeout,
      role,
      environment,
      logGroup,
      loggingFormat: LoggingFormat.JSON,
      projectRoot: fromRoot(''),
      depsLockFilePath: fromRoot('package-lock.json'),
      bundling: {
        format: OutputFormat.ESM,
        logLevel: LogLevel.WARNING,
        target: 'node24',
        minify: true,
        // No source maps: reading them takes tens of milliseconds of every cold start, whether or not anything
        // fails. With the names kept, a stack trace still says which of our functions it went through.
        keepNames: true,
        sourceMap: false,
        // Every SDK client is bundled: the runtime's own copy is older, slower to load, and changes under us.
        externalModules: [],
        mainFields: ['module', 'main'],
        // Some dependencies are CommonJS and call require() for Node's modules, which an ES module does not have.
        banner:
          "import{createRequire as handoffCreateRequire}from'node:module';const require=handoffCreateRequire(import.meta.url);",
      },
    });
  }
}
