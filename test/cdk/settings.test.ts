import { describe, expect, it } from 'vitest';
import { Config } from '../../cdk/config.ts';
import { idOf, openStack, permissionsOf, resourcesOf, shippedScripts, synthesize } from './synthesize.ts';
import { variants } from './variants.ts';

const defaults = synthesize().toJSON() as Record<string, unknown>;

/** All that the settings change in the template, by path without hashes; `undefined` is what is gone. */
function changesOf(settings: Record<string, unknown>): Record<string, unknown> {
  const changes: Record<string, unknown> = {};
  const compare = (before: unknown, after: unknown, path: string): void => {
    // Lists of one length are compared by their elements.
    if (isBranch(before) && isBranch(after) && lengthOf(before) === lengthOf(after)) {
      for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
        compare(before[name], after[name], path === '' ? name : `${path}.${name}`);
      }
    } else if (before !== after) {
      changes[path] = after;
    }
  };
  compare(defaults, synthesize(settings).toJSON(), '');
  return Object.fromEntries(
    Object.entries(changes).map(([path, value]) => [
      path
        .replace(/^Resources\./u, '')
        .replace('.Properties', '')
        .replaceAll(/[0-9A-F]{8}(?=\.|$)/gu, ''),
      value,
    ]),
  );
}
const isBranch = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;
const lengthOf = (value: object) => (Array.isArray(value) ? value.length : null);

const dispatcher = 'DispatcherDispatchFunction';
const retrier = 'RetriesRetryFunction';
const sweeper = 'RetriesSweepFunction';
const api = 'ApiManageFunction';
const eventsMapping = `${dispatcher}SqsEventSourceHandoffIntakeEventsQueueACF0524D`;
const retriesMapping = `${retrier}SqsEventSourceHandoffRetriesQueue1C35E6EF`;

const variable = (name: string, value: string, functions: string[]) =>
  Object.fromEntries(functions.map((id) => [`${id}.Environment.Variables.${name}`, value]));

const ofSources = (...source: unknown[]) => ({
  'IntakeEverything.Description':
    'Every event of the sources that were set goes to the dispatcher, which knows what each handler asked for',
  'IntakeEverything.EventPattern.source': [...source, 'handoff.api', 'handoff'],
});

const arnOfDefaultBus = {
  'Fn::GetAtt': undefined,
  'Fn::Join': [
    '',
    [
      'arn:',
      { Ref: 'AWS::Partition' },
      ':events:',
      { Ref: 'AWS::Region' },
      ':',
      { Ref: 'AWS::AccountId' },
      ':event-bus/default',
    ],
  ],
};
const under = (path: string, values: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`${path}.${name}`, value]));

const machine = (name: string, scope: string) =>
  expect.objectContaining({
    Type: 'AWS::Cognito::UserPoolClient',
    Properties: expect.objectContaining({
      ClientName: name,
      GenerateSecret: true,
      AllowedOAuthFlows: ['client_credentials'],
      AllowedOAuthScopes: [
        { 'Fn::Join': ['', [{ Ref: expect.stringMatching(/^SignInPoolScopes/u) as string }, scope]] },
      ],
      ExplicitAuthFlows: ['ALLOW_REFRESH_TOKEN_AUTH'],
    }) as object,
  }) as object;

const { alarmTopicArn } = variants['alarms that somebody hears'];
const alarms = Object.keys(resourcesOf(synthesize(), 'AWS::CloudWatch::Alarm')).map((id) => id.slice(0, -8));

const expected: Record<keyof typeof variants, Record<string, unknown>> = {
  'the defaults': {},
  'another name, with a bus of another name': {
    'StorageHandlers.TableName': 'Staging-handlers',
    'StorageExecutions.TableName': 'Staging-executions',
    'StorageDataKey.Description': 'Staging: wraps the data key that encrypts the secrets of handlers',
    'IntakeBus.Name': 'handoff-staging',
    'ApiHttpApi.Name': 'Staging',
    'SignInPool.UserPoolName': 'Staging',
    'SignInPoolDomain.Domain.Fn::Join.1.0': 'staging-',
    ...variable('POWERTOOLS_METRICS_NAMESPACE', 'Handoff/Staging', [dispatcher, retrier, sweeper, api]),
    ...variable('SCRIPT_FUNCTION_PREFIX', 'Staging-script-', [dispatcher, retrier, api]),
    'MonitoringEventsDeadLettersAlarm.Namespace': 'Handoff/Staging',
    'MonitoringUnreadableEventsAlarm.Namespace': 'Handoff/Staging',
    'MonitoringDeadWakeUpsAlarm.Namespace': 'Handoff/Staging',
  },
  'the default bus of the account': {
    IntakeBus: undefined,
    'IntakeEverything.EventBusName': 'default',
    ...ofSources('billing', { prefix: 'crm.' }),
    ...variable('EVENT_BUS', 'default', [dispatcher, retrier, api]),
    ...under('ApiManageRoleDefaultPolicy.PolicyDocument.Statement.6.Resource', arnOfDefaultBus),
    ...under('DispatcherDispatchRoleDefaultPolicy.PolicyDocument.Statement.5.Resource', arnOfDefaultBus),
    ...under('RetriesRetryRoleDefaultPolicy.PolicyDocument.Statement.5.Resource', arnOfDefaultBus),
    'Outputs.EventBusName.Value': 'default',
    ...under('Outputs.EventBusArn.Value', arnOfDefaultBus),
  },
  'some sources on a bus of our own': ofSources('billing'),
  'other retention': {
    'StorageExecutions.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled': true,
    ...variable('RETENTION_DAYS', '400', [dispatcher, retrier, sweeper, api]),
    ...variable('HELD_RETENTION_DAYS', '800', [dispatcher, retrier, sweeper, api]),
    ...variable('AUDIT_RETENTION_DAYS', '1000', [api]),
    'DispatcherDispatchLogs.RetentionInDays': 365,
    'RetriesRetryLogs.RetentionInDays': 365,
    'RetriesSweepLogs.RetentionInDays': 365,
    'ApiManageLogs.RetentionInDays': 365,
    'ApiAccessLog.RetentionInDays': 365,
  },
  'more memory, other limits of concurrency': {
    [`${dispatcher}.MemorySize`]: 1769,
    [`${retrier}.MemorySize`]: 1769,
    [`${eventsMapping}.ScalingConfig`]: { MaximumConcurrency: 20 },
    [`${retriesMapping}.ScalingConfig.MaximumConcurrency`]: 10,
  },
  'more log shards': variable('LOG_SHARDS', '8', [dispatcher, sweeper, api]),
  'no circuit breaker': variable('CIRCUITS', 'false', [dispatcher, retrier, sweeper]),
  'a longer time of failures': variable('AUTO_DISABLE_DAYS', '10', [dispatcher, retrier]),
  'events at once': Object.fromEntries(
    [eventsMapping, retriesMapping].flatMap((id) => [
      [`${id}.BatchSize`, 10],
      [`${id}.MaximumBatchingWindowInSeconds`, 0],
    ]),
  ),
  'targets in a private network': {
    ...variable('ALLOW_HTTP', 'true', [dispatcher, retrier, api]),
    ...variable('ALLOW_CIDRS', '10.0.0.0/8', [dispatcher, retrier, api]),
  },
  'values that are kept encrypted': variable('REDACT_PATHS', 'detail.data.iban,detail.data.cards.*.number', [
    dispatcher,
    retrier,
    sweeper,
  ]),
  'a domain to sign in on, machine clients': {
    'SignInPoolDomain.Domain': 'crm-sign-in',
    ...Object.fromEntries(
      ['CallbackURLs', 'LogoutURLs'].map((name) => [
        `SignInPoolConsole.${name}`,
        ['https://crm.example/console/', 'http://localhost:5173/'],
      ]),
    ),
    SignInPoolMachinebilling: machine('billing', '/operate'),
    SignInPoolMachinemonthend: machine('month-end', '/read'),
    'ApiHttpApiTokens.JwtConfiguration.Audience': [
      { Ref: expect.stringMatching(/^SignInPoolMachinebilling/u) as string },
      { Ref: expect.stringMatching(/^SignInPoolMachinemonthend/u) as string },
      { Ref: expect.stringMatching(/^SignInPoolConsole/u) as string },
    ],
    'Outputs.MachineClients': expect.objectContaining({
      Value: {
        'Fn::Join': [
          '',
          [
            'billing:',
            { Ref: expect.stringMatching(/^SignInPoolMachinebilling/u) as string },
            ',month-end:',
            { Ref: expect.stringMatching(/^SignInPoolMachinemonthend/u) as string },
          ],
        ],
      },
    }) as object,
  },
  'the tokens of another issuer': {
    ...Object.fromEntries(
      [
        'SignInPool',
        'SignInPoolGroupread',
        'SignInPoolGroupoperate',
        'SignInPoolGroupadmin',
        'SignInPoolScopes',
        'SignInPoolDomain',
        'SignInPoolConsole',
        'Outputs.UserPoolId',
        'Outputs.SignInUrl',
        'Outputs.ConsoleClientId',
        'Outputs.TokenUrl',
      ].map((id) => [id, undefined]),
    ),
    'ApiHttpApiTokens.JwtConfiguration.Issuer': 'https://crm.eu.auth0.com/',
    'ApiHttpApiTokens.JwtConfiguration.Audience.0': 'https://handoff.crm.example',
    'Outputs.TokenIssuer.Value': 'https://crm.eu.auth0.com/',
    ...variable('GROUPS_CLAIM', 'https://crm.example/roles', [api]),
  },
  'alarms that somebody hears': {
    ...Object.fromEntries(alarms.map((id) => [`${id}.AlarmActions`, [alarmTopicArn]])),
    'MonitoringSweeperStoppedAlarm.InsufficientDataActions': [alarmTopicArn],
  },
};

describe('the settings', () => {
  it.each(Object.entries(variants))('change what they say and nothing else: %s', (name, settings) => {
    expect(changesOf(settings)).toStrictEqual(expected[name as keyof typeof variants]);
  });

  it('are all in one of the variants', () => {
    const varied = Object.values(variants).flatMap((settings) => Object.keys(settings));
    expect([...new Set(varied)].toSorted()).toEqual(Object.keys(Config.shape).toSorted());
  });
});

describe('an existing bus', () => {
  const existing = { existingBusName: 'company', eventSources: 'billing' };

  it('is neither made nor changed, and the API may put events on it and on no other', () => {
    const template = synthesize(existing);
    template.resourceCountIs('AWS::Events::EventBus', 0);
    template.resourceCountIs('AWS::Events::EventBusPolicy', 0);
    const onBus = Object.entries(permissionsOf(template, 'Api')).filter(([, actions]) =>
      actions.some((action) => action.startsWith('events:')),
    );
    expect(onBus).toEqual([
      ['arn:AWS::Partition:events:AWS::Region:AWS::AccountId:event-bus/company', ['events:PutEvents']],
    ]);
  });

  it('has the rule under the id that the rule of our own bus has', () => {
    const idIn = (settings: Record<string, unknown>) =>
      idOf(synthesize(settings), 'AWS::Events::Rule', 'Intake');
    expect(idIn(existing)).toBe(idIn({}));
  });

  it('lets a source through once, however often it is named', () => {
    synthesize({ ...existing, eventSources: 'handoff, billing,billing, handoff.*' }).hasResourceProperties(
      'AWS::Events::Rule',
      { EventPattern: { source: ['handoff', 'billing', { prefix: 'handoff.' }, 'handoff.api'] } },
    );
  });

  it('is refused with more sources than a pattern has room for', () => {
    const sources = (count: number) => Array.from({ length: count }, (_, n) => `source-${100 + n}`).join(',');
    expect(() => openStack({ ...existing, eventSources: sources(154) })).not.toThrow();
    expect(() => openStack({ ...existing, eventSources: sources(155) })).toThrow(
      'The 155 eventSources make a pattern of 2051 characters, and EventBridge takes 2048',
    );
  });
});

describe('two deployments in one account', () => {
  // Each with what it has to be unique in instead of the account, or what it is that is no name.
  const notOfTheAccount = new Set([
    'AWS::ApiGatewayV2::Stage StageName', // its API
    'AWS::ApiGatewayV2::Authorizer Name', // its API
    'AWS::Cognito::UserPoolGroup GroupName', // its pool
    'AWS::Cognito::UserPoolResourceServer Name', // its pool
    'AWS::Cognito::UserPool UserPoolName', // a label: the pool has an id
    'AWS::CloudWatch::Alarm MetricName', // a metric of AWS has dimensions, of our own a namespace
    'AWS::IAM::Policy PolicyName', // its role
  ]);

  /** Every name that a template gives to something, instead of leaving it to CloudFormation. */
  const namesIn = (settings: Record<string, unknown>): string[] =>
    Object.values(
      (synthesize(settings, shippedScripts).toJSON() as { Resources: Record<string, NamedResource> })
        .Resources,
    ).flatMap(({ Type, Properties = {} }) =>
      Object.entries(Properties)
        .filter(([property, value]) => /(?:Name|^Domain)$/u.test(property) && !isReference(value))
        .filter(([property]) => !notOfTheAccount.has(`${Type} ${property}`))
        .map(([property, value]) => `${Type} ${property} ${JSON.stringify(value)}`),
    );
  type NamedResource = { Type: string; Properties?: Record<string, unknown> };
  const isReference = (value: unknown) =>
    typeof value === 'object' && value !== null && ('Ref' in value || 'Fn::GetAtt' in value);

  it('share no name', () => {
    const first = namesIn({});
    const second = namesIn(variants['another name, with a bus of another name']);
    expect(first).toContain('AWS::DynamoDB::Table TableName "Handoff-handlers"');
    expect(first).toContain('AWS::Lambda::Function FunctionName "Handoff-script-balance-guard"');
    expect(first.join('\n')).toContain('AWS::Cognito::UserPoolDomain Domain {"Fn::Join":["",["handoff-",');
    expect(first).toHaveLength(second.length);
    expect(first.filter((name) => second.includes(name))).toEqual([]);
  });

  it('share the bus where only their stackName differs, and nothing else', () => {
    const first = namesIn({});
    expect(namesIn({ stackName: 'Staging' }).filter((name) => first.includes(name))).toEqual([
      'AWS::Events::EventBus Name "handoff"',
    ]);
  });

  it('export nothing by a name', () => {
    for (const output of Object.values(synthesize().findOutputs('*')))
      expect(output).not.toHaveProperty('Export');
  });
});
