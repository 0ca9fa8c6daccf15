import { App, Duration, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { describe, expect, it } from 'vitest';
import { HandoffFunction, type Access, type EnvironmentOf } from '../../cdk/constructs/function.ts';
import type { ApiEnv } from '../../functions/api/env.ts';
import { DispatcherEnv } from '../../functions/dispatcher/env.ts';

const arn = 'arn:aws:dynamodb:eu-central-1:123456789012:table/handlers';
const handlers: Access<'HANDLERS_TABLE'> = {
  variable: 'HANDLERS_TABLE',
  value: 'handlers',
  permissions: [{ actions: ['dynamodb:Query'], resources: [arn] }],
};
const executions: Access<'EXECUTIONS_TABLE'> = { variable: 'EXECUTIONS_TABLE', value: 'e', permissions: [] };
const dataKey: Access<'DATA_KEY'> = { variable: 'DATA_KEY', value: 'k', permissions: [] };
const bus: Access<'EVENT_BUS'> = { variable: 'EVENT_BUS', value: 'b', permissions: [] };
const events: Access<'EVENTS_QUEUE'> = { variable: 'EVENTS_QUEUE', value: 'q', permissions: [] };
const retries: Access<'RETRIES_QUEUE'> = { variable: 'RETRIES_QUEUE', value: 'r', permissions: [] };
const required = {
  HANDLERS_TABLE: handlers,
  EXECUTIONS_TABLE: executions,
  DATA_KEY: dataKey,
  EVENTS_QUEUE: events,
  RETRIES_QUEUE: retries,
};

// Checked by tsc: each line below fails to compile as soon as the error that it expects goes away.
export const environments: Record<
  string,
  EnvironmentOf<typeof ApiEnv> | EnvironmentOf<typeof DispatcherEnv>
> = {
  complete: { ...required, EVENT_BUS: bus } satisfies EnvironmentOf<typeof ApiEnv>,
  // Whatever has a default may stay away.
  withoutDefaults: { ...required, EVENT_BUS: bus } satisfies EnvironmentOf<typeof DispatcherEnv>,
  // @ts-expect-error a variable is missing
  missing: required satisfies EnvironmentOf<typeof ApiEnv>,
  // @ts-expect-error a variable is unknown
  unknown: { ...required, EVENT_BUS: bus, LOG_SHARD: 2 } satisfies EnvironmentOf<typeof DispatcherEnv>,
  // @ts-expect-error a table without the right to use it
  bare: { ...required, EVENT_BUS: bus, HANDLERS_TABLE: 'handlers' } satisfies EnvironmentOf<
    typeof DispatcherEnv
  >,
  // @ts-expect-error the names of scripts without the right to run them
  unusable: { ...required, EVENT_BUS: bus, SCRIPTS: 'crm-sync' } satisfies EnvironmentOf<
    typeof DispatcherEnv
  >,
  // @ts-expect-error one table in the place of the other
  swapped: { ...required, EVENT_BUS: bus, HANDLERS_TABLE: executions } satisfies EnvironmentOf<
    typeof DispatcherEnv
  >,
  // @ts-expect-error a variable that Lambda sets
  reserved: { ...required, EVENT_BUS: bus, AWS_LAMBDA_RUNTIME_API: 'x' } satisfies EnvironmentOf<
    typeof DispatcherEnv
  >,
};

describe('HandoffFunction', () => {
  it('sets a variable and gives the permission in one', () => {
    const app = new App({ context: { 'aws:cdk:bundling-stacks': [] } });
    const stack = new Stack(app, 'Test');
    new HandoffFunction(stack, 'Sample', {
      folder: 'dispatcher',
      description: '',
      memoryMb: 128,
      timeout: Duration.seconds(3),
      logRetentionDays: RetentionDays.ONE_DAY,
      env: DispatcherEnv,
      environment: { ...required, EVENT_BUS: bus, LOG_SHARDS: 2, ALLOW_HTTP: true },
    });
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: {
        Variables: {
          HANDLERS_TABLE: 'handlers',
          EXECUTIONS_TABLE: 'e',
          DATA_KEY: 'k',
          LOG_SHARDS: '2',
          ALLOW_HTTP: 'true',
        },
      },
    });
    const [policy] = Object.values(template.findResources('AWS::IAM::Policy'));
    expect(JSON.stringify(policy)).toContain(
      JSON.stringify({ Action: 'dynamodb:Query', Effect: 'Allow', Resource: arn }),
    );
  });
});
