import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { executionsTable, handlersTable } from '../../shared/aws/tables.ts';
import {
  idOf,
  permissionsOf,
  resourceOf,
  resourcesOf,
  statementsOf,
  synthesize,
  type Resource,
} from './synthesize.ts';

const template = synthesize();
const queues = resourcesOf(template, 'AWS::SQS::Queue');
const arnOf = (logicalId: string) => ({ 'Fn::GetAtt': [logicalId, 'Arn'] });

const keys = (partitionKey: string, sortKey: string) => [
  { AttributeName: partitionKey, KeyType: 'HASH' },
  { AttributeName: sortKey, KeyType: 'RANGE' },
];
const recovery = (table: Resource) =>
  (table.Properties['PointInTimeRecoverySpecification'] as { PointInTimeRecoveryEnabled: boolean })
    .PointInTimeRecoveryEnabled;
const mapping = (settings?: Record<string, unknown>) =>
  resourceOf(synthesize(settings), 'AWS::Lambda::EventSourceMapping', 'Dispatcher').Properties;

describe('the template', () => {
  it('is the one that was reviewed', () => {
    // Bundles change with every edit of a function, and so do the hashes of what they are made of.
    const redacted = JSON.parse(
      JSON.stringify(template.toJSON())
        .replaceAll(/[0-9a-f]{64}/gu, '<hash>')
        .replaceAll(/asset\.<hash>/gu, 'asset'),
    ) as unknown;
    expect(redacted).toMatchSnapshot();
  });

  it('comes out the same twice', () => {
    expect(synthesize().toJSON()).toEqual(template.toJSON());
  });

  it('keeps the ids of what holds data: another id is another, empty resource', () => {
    const ids = [
      'AWS::DynamoDB::Table',
      'AWS::SQS::Queue',
      'AWS::KMS::Key',
      'AWS::Events::EventBus',
      'AWS::Cognito::UserPool',
    ].flatMap((type) => Object.keys(resourcesOf(template, type)));
    expect(ids.toSorted()).toEqual([
      'IntakeBus81FDE4B9',
      'IntakeEventsDeadLetters175E72B3',
      'IntakeEventsQueue8448F507',
      'IntakeUndeliveredEventsF23A4F15',
      'RetriesDeadLettersD73FC46D',
      'RetriesQueueB70A8B12',
      'SignInPoolFD298EFA',
      'StorageDataKeyE15BA43B',
      'StorageExecutions50E2CF2D',
      'StorageHandlers0AAE9F28',
    ]);
  });

  it('tells where things are', () => {
    expect(Object.keys(template.findOutputs('*')).toSorted()).toEqual([
      'ApiUrl',
      'ConsoleClientId',
      'EventBusArn',
      'EventBusName',
      'EventsDeadLettersUrl',
      'EventsQueueUrl',
      'ExecutionsTableName',
      'HandlersTableName',
      'RetriesDeadLettersUrl',
      'RetriesQueueUrl',
      'SignInUrl',
      'TokenIssuer',
      'TokenUrl',
      'UndeliveredEventsUrl',
      'UserPoolId',
    ]);
  });
});

describe('storage', () => {
  const handlers = resourceOf(template, 'AWS::DynamoDB::Table', 'StorageHandlers');
  const executions = resourceOf(template, 'AWS::DynamoDB::Table', 'StorageExecutions');

  it.each([
    ['handlers', handlers],
    ['executions', executions],
  ])('keeps the %s table: encrypted, on demand, named, and never deleted with the stack', (name, table) => {
    expect(table).toMatchObject({
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        TableName: `Handoff-${name}`,
        BillingMode: 'PAY_PER_REQUEST',
        DeletionProtectionEnabled: true,
        SSESpecification: { SSEEnabled: true },
      },
    });
  });

  it('has the keys that the stores use', () => {
    const { attention } = executionsTable;
    expect(handlers.Properties).toMatchObject({
      KeySchema: keys(handlersTable.partitionKey, handlersTable.sortKey),
      TimeToLiveSpecification: { AttributeName: handlersTable.expiry, Enabled: true },
    });
    expect(executions.Properties).toMatchObject({
      KeySchema: keys(executionsTable.partitionKey, executionsTable.sortKey),
      TimeToLiveSpecification: { AttributeName: executionsTable.expiry, Enabled: true },
      GlobalSecondaryIndexes: [
        {
          IndexName: attention.indexName,
          KeySchema: keys(attention.partitionKey, attention.sortKey),
          Projection: { ProjectionType: 'KEYS_ONLY' },
        },
      ],
    });
  });

  it('can restore the handlers to any second, and the log where the setting says so', () => {
    const recoverable = synthesize({ executionsPointInTimeRecovery: true });
    expect(recovery(handlers)).toBe(true);
    expect(recovery(executions)).toBe(false);
    expect(recovery(resourceOf(recoverable, 'AWS::DynamoDB::Table', 'StorageExecutions'))).toBe(true);
  });

  it('can be imported into a new stack: what is retained depends on nothing else', () => {
    const retained = Object.values(template.toJSON()['Resources'] as Record<string, Resource>).filter(
      (resource) => resource['DeletionPolicy'] === 'Retain',
    );
    expect(retained).toHaveLength(4);
    expect(retained.flatMap((resource) => resource['DependsOn'] ?? [])).toEqual([]);
    expect(JSON.stringify(retained)).not.toContain('Fn::GetAtt');
  });

  it('rotates the key that wraps the data key, and never deletes it', () => {
    expect(resourceOf(template, 'AWS::KMS::Key', 'StorageDataKey')).toMatchObject({
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: { EnableKeyRotation: true },
    });
  });

  it('names its tables after the stack', () => {
    synthesize({ stackName: 'Crm' }).hasResourceProperties('AWS::DynamoDB::Table', {
      TableName: 'Crm-handlers',
    });
  });
});

describe('intake', () => {
  it('takes every event on the bus, and keeps what it cannot put into the queue', () => {
    template.hasResourceProperties('AWS::Events::EventBus', { Name: 'handoff' });
    const onBus = Object.values(resourcesOf(template, 'AWS::Events::Rule')).filter(
      ({ Properties }) => 'EventBusName' in Properties,
    );
    expect(onBus).toHaveLength(1);
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: { source: [{ prefix: '' }] },
      State: 'ENABLED',
      Targets: [
        Match.objectLike({
          Arn: arnOf('IntakeEventsQueue8448F507'),
          DeadLetterConfig: { Arn: arnOf('IntakeUndeliveredEventsF23A4F15') },
        }),
      ],
    });
  });

  it('gives the dispatcher six times its timeout, and ten tries', () => {
    const { Timeout: timeout } = resourceOf(template, 'AWS::Lambda::Function', 'Dispatcher').Properties;
    const queue = resourceOf(template, 'AWS::SQS::Queue', 'IntakeEventsQueue').Properties;
    expect(timeout).toBe(180);
    expect(queue).toMatchObject({
      VisibilityTimeout: 1080,
      RedrivePolicy: { deadLetterTargetArn: arnOf('IntakeEventsDeadLetters175E72B3'), maxReceiveCount: 10 },
    });
  });

  it.each(Object.keys(queues))(
    'encrypts %s, keeps its messages for 14 days, takes 1 MB, refuses plain HTTP',
    (id) => {
      expect(queues[id]?.Properties).toMatchObject({
        SqsManagedSseEnabled: true,
        MessageRetentionPeriod: 14 * 24 * 3600,
        MaximumMessageSize: 1_048_576,
      });
      template.hasResourceProperties('AWS::SQS::QueuePolicy', {
        Queues: [{ Ref: id }],
        PolicyDocument: {
          Statement: Match.arrayWith([
            Match.objectLike({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
          ]),
        },
      });
    },
  );

  it('lets nothing but its own rule send to a queue', () => {
    const allowed = Object.values(resourcesOf(template, 'AWS::SQS::QueuePolicy'))
      .flatMap(statementsOf)
      .filter(({ Effect }) => Effect === 'Allow');
    expect(allowed).toHaveLength(2);
    for (const { Condition } of allowed) {
      expect(Condition).toEqual({
        ArnEquals: { 'aws:SourceArn': arnOf(idOf(template, 'AWS::Events::Rule', 'Intake')) },
      });
    }
  });

  it('has a dead-letter queue behind every queue that something reads', () => {
    const without = Object.entries(queues).filter(([, { Properties }]) => !('RedrivePolicy' in Properties));
    expect(without.map(([id]) => id.slice(0, -8))).toEqual([
      'IntakeEventsDeadLetters',
      'IntakeUndeliveredEvents',
      'RetriesDeadLetters',
    ]);
  });
});

describe('functions', () => {
  const functions = resourcesOf(template, 'AWS::Lambda::Function');

  it.each(Object.keys(functions))('%s runs on Node 24, on arm64, and logs JSON into its own group', (id) => {
    expect(functions[id]?.Properties).toMatchObject({
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      LoggingConfig: { LogFormat: 'JSON', LogGroup: { Ref: expect.stringMatching(/Logs/u) as string } },
    });
  });

  it('has nothing but the four of them: no function that CDK added', () => {
    expect(Object.keys(functions).map((id) => id.slice(0, -8))).toEqual([
      'RetriesRetryFunction',
      'RetriesSweepFunction',
      'DispatcherDispatchFunction',
      'ApiManageFunction',
    ]);
  });

  it('lets those send to the queue that invokes them which do so on purpose, and no other', () => {
    const loops = Object.entries(functions).map(([id, { Properties }]) => [
      id.slice(0, -8),
      Properties['RecursiveLoop'],
    ]);
    expect(Object.fromEntries(loops)).toEqual({
      DispatcherDispatchFunction: 'Allow',
      RetriesRetryFunction: 'Allow',
      RetriesSweepFunction: undefined,
      ApiManageFunction: undefined,
    });
  });

  it('keeps logs as long as the setting says, and drops them with the stack', () => {
    const groups = resourcesOf(synthesize({ logRetentionDays: '7' }), 'AWS::Logs::LogGroup');
    expect(Object.keys(groups)).toHaveLength(5);
    for (const group of Object.values(groups)) {
      expect(group).toMatchObject({ DeletionPolicy: 'Delete', Properties: { RetentionInDays: 7 } });
    }
  });

  it('hands the settings to the functions that read them', () => {
    const configured = synthesize({
      logShards: 4,
      retentionDays: 10,
      heldRetentionDays: 20,
      allowHttp: 'true',
      allowCidrs: '10.0.0.0/8, fd00::/8',
      dispatcherMemoryMb: 1024,
    });
    const targets = { ALLOW_HTTP: 'true', ALLOW_CIDRS: '10.0.0.0/8,fd00::/8' };
    const held = { HELD_RETENTION_DAYS: '20' };
    const kept = { RETENTION_DAYS: '10', ...held };
    expect(resourceOf(configured, 'AWS::Lambda::Function', 'Dispatcher').Properties).toMatchObject({
      MemorySize: 1024,
      Environment: { Variables: { ...targets, ...kept, LOG_SHARDS: '4' } },
    });
    expect(resourceOf(configured, 'AWS::Lambda::Function', 'RetriesRetry').Properties).toMatchObject({
      MemorySize: 1024,
      Environment: { Variables: { ...targets, ...kept } },
    });
    expect(resourceOf(configured, 'AWS::Lambda::Function', 'RetriesSweep').Properties).toMatchObject({
      Environment: { Variables: held },
    });
    expect(resourceOf(configured, 'AWS::Lambda::Function', 'Api').Properties).toMatchObject({
      Timeout: 29,
      Environment: {
        Variables: { ...targets, ...kept, LOG_SHARDS: '4', EVENT_BUS: { Ref: 'IntakeBus81FDE4B9' } },
      },
    });
  });
});

describe('the dispatcher’s queue', () => {
  it('comes in batches of 100, gathered for a second; a failed event goes back alone', () => {
    expect(mapping()).toMatchObject({
      BatchSize: 100,
      MaximumBatchingWindowInSeconds: 1,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
    });
    expect(mapping()).not.toHaveProperty('ScalingConfig');
  });

  it('comes in batches of 10 without a window: Lambda takes no more', () => {
    expect(mapping({ batchWindowSeconds: 0 })).toMatchObject({
      BatchSize: 10,
      MaximumBatchingWindowInSeconds: 0,
    });
  });

  it('is limited to the concurrency that was set', () => {
    expect(mapping({ dispatcherConcurrency: 5 })).toMatchObject({ ScalingConfig: { MaximumConcurrency: 5 } });
  });
});

describe('permissions', () => {
  const policies = resourcesOf(template, 'AWS::IAM::Policy');

  const ownQueue = [
    'sqs:ChangeMessageVisibility',
    'sqs:DeleteMessage',
    'sqs:GetQueueAttributes',
    'sqs:GetQueueUrl',
    'sqs:ReceiveMessage',
    'sqs:SendMessage',
  ];
  const ownLog = ['logs:CreateLogStream', 'logs:PutLogEvents'];
  const drained = ['sqs:DeleteMessage', 'sqs:ReceiveMessage'];

  it('gives the dispatcher this and no more', () => {
    expect(permissionsOf(template, 'Dispatcher')).toEqual({
      DispatcherDispatchLogs: ownLog,
      StorageHandlers: ['dynamodb:GetItem', 'dynamodb:Query', 'dynamodb:UpdateItem'],
      StorageExecutions: [
        'dynamodb:BatchGetItem',
        'dynamodb:BatchWriteItem',
        'dynamodb:GetItem',
        'dynamodb:PutItem',
        'dynamodb:UpdateItem',
      ],
      StorageDataKey: ['kms:Decrypt'],
      IntakeEventsQueue: ownQueue,
      IntakeBus: ['events:PutEvents'],
      RetriesQueue: ['sqs:SendMessage'],
    });
  });

  it('gives the retrier this and no more', () => {
    expect(permissionsOf(template, 'RetriesRetry')).toEqual({
      RetriesRetryLogs: ownLog,
      StorageHandlers: ['dynamodb:GetItem', 'dynamodb:Query', 'dynamodb:UpdateItem'],
      StorageExecutions: ['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:UpdateItem'],
      StorageDataKey: ['kms:Decrypt'],
      IntakeBus: ['events:PutEvents'],
      IntakeEventsQueue: ['sqs:SendMessage'],
      RetriesQueue: ownQueue,
    });
  });

  it('gives the sweeper this and no more', () => {
    expect(permissionsOf(template, 'RetriesSweep')).toEqual({
      RetriesSweepLogs: ownLog,
      StorageHandlers: ['dynamodb:DeleteItem', 'dynamodb:GetItem', 'dynamodb:Query', 'dynamodb:UpdateItem'],
      StorageExecutions: ['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:Query', 'dynamodb:UpdateItem'],
      'StorageExecutions/index/attention': ['dynamodb:Query'],
      StorageDataKey: ['kms:Decrypt'],
      RetriesQueue: ['sqs:SendMessage'],
      IntakeEventsDeadLetters: drained,
      IntakeUndeliveredEvents: drained,
      RetriesDeadLetters: drained,
    });
  });

  it('gives the API this and no more', () => {
    expect(permissionsOf(template, 'Api')).toEqual({
      ApiManageLogs: ownLog,
      StorageHandlers: ['dynamodb:GetItem', 'dynamodb:PutItem', 'dynamodb:Query', 'dynamodb:UpdateItem'],
      StorageExecutions: [
        'dynamodb:BatchGetItem',
        'dynamodb:DeleteItem',
        'dynamodb:GetItem',
        'dynamodb:PutItem',
        'dynamodb:Query',
        'dynamodb:UpdateItem',
      ],
      'StorageExecutions/index/attention': ['dynamodb:Query'],
      StorageDataKey: ['kms:Decrypt', 'kms:GenerateDataKey'],
      IntakeBus: ['events:PutEvents'],
      IntakeEventsQueue: ['sqs:SendMessage'],
      RetriesQueue: ['sqs:SendMessage'],
    });
  });

  it('limits the key to the encryption context of the data key', () => {
    const onKey = Object.values(policies)
      .flatMap(statementsOf)
      .filter(({ Action }) => [Action].flat().some((action) => action.startsWith('kms:')));
    expect(onKey).toHaveLength(4);
    for (const { Condition } of onKey) {
      expect(Condition).toEqual({ StringEquals: { 'kms:EncryptionContext:purpose': 'handoff-data-key' } });
    }
  });

  it('lets no function change or delete a row of the audit trail', () => {
    const onHandlers = (effect: string) =>
      Object.values(policies).map(
        (policy) =>
          statementsOf(policy).filter(
            ({ Effect, Resource: on }) => Effect === effect && JSON.stringify(on).includes('StorageHandlers'),
          ).length,
      );
    expect(onHandlers('Deny')).toEqual([1, 1, 1, 1]);
    expect(onHandlers('Allow')).toEqual([1, 1, 1, 1]);
    const denied = Object.values(policies)
      .flatMap(statementsOf)
      .filter(({ Effect }) => Effect === 'Deny');
    for (const { Action, Condition } of denied) {
      // All that changes or deletes what is there: the single write, the batch, and PartiQL. Transactions need the right to the single one.
      expect(Action).toEqual([
        'dynamodb:BatchWriteItem',
        'dynamodb:DeleteItem',
        'dynamodb:PartiQLDelete',
        'dynamodb:PartiQLUpdate',
        'dynamodb:UpdateItem',
      ]);
      expect(Condition).toEqual({ 'ForAnyValue:StringLike': { 'dynamodb:LeadingKeys': ['AUDIT#*'] } });
    }
  });

  it('names every action and every resource', () => {
    const statements = Object.values(policies).flatMap(statementsOf);
    expect(statements.length).toBeGreaterThan(0);
    for (const { Action, Resource: on } of statements)
      expect(JSON.stringify([Action, on])).not.toContain('*');
  });

  it('takes no managed policy: those may write to every log group', () => {
    const roles = Object.values(resourcesOf(template, 'AWS::IAM::Role'));
    expect(roles).toHaveLength(4);
    for (const { Properties } of roles) expect(Properties).not.toHaveProperty('ManagedPolicyArns');
  });
});

describe('the API', () => {
  it('asks for an access token on every route', () => {
    const routes = Object.values(resourcesOf(template, 'AWS::ApiGatewayV2::Route'));
    expect(routes.map(({ Properties }) => [Properties['RouteKey'], Properties['AuthorizationType']])).toEqual(
      [['$default', 'JWT']],
    );
    const [route] = routes;
    expect(route?.Properties['AuthorizerId']).toEqual({
      Ref: idOf(template, 'AWS::ApiGatewayV2::Authorizer', 'ApiHttpApiTokens'),
    });
  });

  it('takes the tokens of its user pool that are for one of its clients', () => {
    const { Properties } = resourceOf(template, 'AWS::ApiGatewayV2::Authorizer', 'ApiHttpApiTokens');
    expect(Properties).toMatchObject({
      AuthorizerType: 'JWT',
      IdentitySource: ['$request.header.Authorization'],
      JwtConfiguration: {
        Audience: [{ Ref: idOf(template, 'AWS::Cognito::UserPoolClient', 'SignInPoolConsole') }],
        Issuer: {
          'Fn::Join': [
            '',
            [
              'https://cognito-idp.',
              { Ref: 'AWS::Region' },
              '.',
              { Ref: 'AWS::URLSuffix' },
              '/',
              { Ref: 'SignInPoolFD298EFA' },
            ],
          ],
        },
      },
    });
  });

  it('can be called by API Gateway alone, and only for this API', () => {
    const permissions = Object.values(resourcesOf(template, 'AWS::Lambda::Permission')).filter(
      ({ Properties }) => JSON.stringify(Properties['FunctionName']).includes('ApiManage'),
    );
    expect(permissions).toHaveLength(1);
    expect(permissions[0]?.Properties['Principal']).toBe('apigateway.amazonaws.com');
    expect(JSON.stringify(permissions[0]?.Properties['SourceArn'])).toContain(
      idOf(template, 'AWS::ApiGatewayV2::Api', 'ApiHttpApi'),
    );
    template.resourceCountIs('AWS::Lambda::Url', 0);
  });

  it('has a throttle, and an access log that names the caller', () => {
    template.resourceCountIs('AWS::ApiGatewayV2::Stage', 1);
    template.hasResourceProperties('AWS::ApiGatewayV2::Stage', {
      DefaultRouteSettings: { ThrottlingRateLimit: 50, ThrottlingBurstLimit: 100 },
      AccessLogSettings: { Format: Match.stringLikeRegexp('authorizer\\.claims\\.sub') },
    });
  });
});

describe('monitoring', () => {
  const alarms = resourcesOf(template, 'AWS::CloudWatch::Alarm');

  const functionNamed = (prefix: string) => [
    { Name: 'FunctionName', Value: { Ref: idOf(template, 'AWS::Lambda::Function', prefix) } },
  ];

  it('watches that the sweeper empties every queue where messages come to rest', () => {
    const watched = Object.values(alarms)
      .filter(({ Properties }) => Properties['MetricName'] === 'ApproximateNumberOfMessagesVisible')
      .map(({ Properties }) => {
        // A message that comes and is taken within the five minutes leaves a minimum of 0.
        expect(Properties).toMatchObject({
          Statistic: 'Minimum',
          Period: 300,
          Threshold: 0,
          ComparisonOperator: 'GreaterThanThreshold',
        });
        return JSON.stringify(Properties['Dimensions']);
      });
    const invokesNobody = Object.entries(queues)
      .filter(([, { Properties }]) => !('RedrivePolicy' in Properties))
      .map(([id]) => id);
    expect(watched).toHaveLength(invokesNobody.length);
    for (const id of invokesNobody) expect(watched.join('\n')).toContain(id);
  });

  it.each(['DispatcherDispatch', 'RetriesRetry'])('watches the errors of %s', (prefix) => {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'Errors',
      Dimensions: functionNamed(prefix),
      Period: 300,
      EvaluationPeriods: 2,
    });
  });

  it('tells of a sweeper that failed in two runs in a row', () => {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'Errors',
      Dimensions: functionNamed('RetriesSweep'),
      Period: 60,
      EvaluationPeriods: 2,
      Threshold: 0,
    });
  });

  it('tells of a sweeper that nobody starts, for which there is no data', () => {
    const alarmTopicArn = 'arn:aws:sns:eu-central-1:123456789012:on-call';
    synthesize({ alarmTopicArn }).hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'Invocations',
      Dimensions: functionNamed('RetriesSweep'),
      Threshold: 1,
      ComparisonOperator: 'LessThanThreshold',
      TreatMissingData: 'missing',
      AlarmActions: [alarmTopicArn],
      InsufficientDataActions: [alarmTopicArn],
    });
  });

  it.each([
    ['events', 'IntakeEventsQueue8448F507', 900],
    // 15 minutes of it a wake-up call waits on purpose.
    ['wake-up calls', 'RetriesQueueB70A8B12', 1800],
  ])('watches the time that %s wait', (_what, queue, seconds) => {
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'ApproximateAgeOfOldestMessage',
      Statistic: 'Maximum',
      Threshold: seconds,
      Dimensions: [{ Name: 'QueueName', Value: { 'Fn::GetAtt': [queue, 'QueueName'] } }],
    });
  });

  it.each([
    ['dispatcher', 'deadLetters', 'Dispatcher'],
    ['sweeper', 'deadLetters', 'RetriesSweep'],
    ['sweeper', 'deadWakeUps', 'RetriesSweep'],
  ])('watches the metric of the %s, %s, where it puts it', (service, metricName, prefix) => {
    const environment = resourceOf(template, 'AWS::Lambda::Function', prefix).Properties['Environment'] as {
      Variables: Record<string, string>;
    };
    const namespace = environment.Variables['POWERTOOLS_METRICS_NAMESPACE'];
    expect(namespace).toMatch(/^Handoff\//u);
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Namespace: namespace,
      MetricName: metricName,
      Dimensions: [{ Name: 'service', Value: service }],
      Statistic: 'Sum',
      Threshold: 0,
    });
  });

  it('names only outputs that are there', () => {
    const outputs = Object.keys(template.findOutputs('*'));
    const named = Object.values(alarms).flatMap(({ Properties }) => [
      ...(Properties['AlarmDescription'] as string).matchAll(/output (\w+)/gu),
    ]);
    expect(named.length).toBeGreaterThan(0);
    for (const [, name] of named) expect(outputs).toContain(name);
  });

  it.each(Object.keys(alarms))('says in %s what to do, and stays quiet while nothing happens', (id) => {
    const { AlarmDescription: text, TreatMissingData: missing } = alarms[id]?.Properties ?? {};
    expect((text as string).length).toBeGreaterThan(150);
    // CloudWatch takes at most 1,024 characters.
    expect((text as string).length).toBeLessThanOrEqual(1024);
    expect(missing).toBe(id.startsWith('MonitoringSweeperStopped') ? 'missing' : 'notBreaching');
    expect(alarms[id]?.Properties).not.toHaveProperty('AlarmActions');
  });

  it('tells the topic that was set', () => {
    const alarmTopicArn = 'arn:aws:sns:eu-central-1:123456789012:on-call';
    const loud = resourcesOf(synthesize({ alarmTopicArn }), 'AWS::CloudWatch::Alarm');
    for (const { Properties } of Object.values(loud))
      expect(Properties['AlarmActions']).toEqual([alarmTopicArn]);
  });
});
