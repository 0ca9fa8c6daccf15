import { RemovalPolicy, Stack, type Duration } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal, type PolicyStatementProps } from 'aws-cdk-lib/aws-iam';
import { LoggingFormat, RecursiveLoop } from 'aws-cdk-lib/aws-lambda';
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs';
import { LogGroup, type RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import type { z } from 'zod';
import { fromRoot, transformProcess, typescript } from './bundle.ts';

/** Where the functions' metrics are: one place for each stack, because an account may hold several. */
export const metricsNamespace = (scope: Construct): string => `Handoff/${Stack.of(scope).stackName}`;

/** The variables that name a resource. They are worth nothing without a permission, so they take an `Access`. */
export type ResourceVariable =
  | 'HANDLERS_TABLE'
  | 'EXECUTIONS_TABLE'
  | 'DATA_KEY'
  | 'EVENT_BUS'
  | 'EVENTS_QUEUE'
  | 'RETRIES_QUEUE'
  | 'EVENTS_DEAD_LETTERS_QUEUE'
  | 'UNDELIVERED_EVENTS_QUEUE'
  | 'RETRIES_DEAD_LETTERS_QUEUE'
  | 'SCRIPTS';

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
  /** Whether it runs the transforms of handlers. @default false */
  runsTransforms?: boolean;
  /** Whether it sends to the queue that invokes it, or takes part in such a circle. @default false */
  runsInCircles?: boolean;
  /** Days. */
  logRetentionDays: RetentionDays;
  /** The schema in the folder's env.ts. */
  env: Schema;
  environment: EnvironmentOf<Schema>;
};

/**
 * For what is called time and again by the same chain of messages, on purpose: Lambda would take it for a loop that nobody
 * wanted, and stop calling it after about 16 times. Our chains end by themselves: retries have a schedule, and an event
 * that is sent again has got further. https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
 */
export const circular = { recursiveLoop: RecursiveLoop.ALLOW };

/** A log of a function's own, and a role that may write to it and do nothing else. */
export function createLogAndRole(
  scope: Construct,
  retention: RetentionDays,
): { logGroup: LogGroup; role: Role } {
  // Diagnostics only: what happened to an event is in the execution log, which is retained.
  const logGroup = new LogGroup(scope, 'Logs', { retention, removalPolicy: RemovalPolicy.DESTROY });
  // Not the role that CDK would make: its managed policy may write to every log group of the account.
  const role = new Role(scope, 'Role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
  logGroup.grantWrite(role);
  return { logGroup, role };
}

/** One Lambda of ours, with a role that may write its own log and use what its environment names. */
export class HandoffFunction<Schema extends z.ZodObject> extends Construct {
  readonly lambda: NodejsFunction;

  constructor(scope: Construct, id: string, props: HandoffFunctionProps<Schema>) {
    super(scope, id);

    const { logGroup, role } = createLogAndRole(this, props.logRetentionDays);

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
      ...typescript,
      bundling: { ...typescript.bundling, ...(props.runsTransforms === true && transformProcess) },
      entry: fromRoot(`functions/${props.folder}/lambda.ts`),
      description: props.description,
      memorySize: props.memoryMb,
      timeout: props.timeout,
      ...(props.runsInCircles === true && circular),
      role,
      environment,
      logGroup,
      loggingFormat: LoggingFormat.JSON,
    });
  }
}
