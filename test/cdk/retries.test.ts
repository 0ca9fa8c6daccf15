import { describe, expect, it } from 'vitest';
import { idOf, resourceOf, resourcesOf, synthesize } from './synthesize.ts';

const template = synthesize();
const mapping = (settings?: Record<string, unknown>) =>
  resourceOf(synthesize(settings), 'AWS::Lambda::EventSourceMapping', 'Retries').Properties;
const arnOf = (logicalId: string) => ({ 'Fn::GetAtt': [logicalId, 'Arn'] });
const sweeperId = idOf(template, 'AWS::Lambda::Function', 'RetriesSweep');

describe('the retrier', () => {
  it('has a sixth of the time that the queue hides a wake-up call, and ten tries', () => {
    expect(resourceOf(template, 'AWS::Lambda::Function', 'RetriesRetry').Properties['Timeout']).toBe(180);
    expect(resourceOf(template, 'AWS::SQS::Queue', 'RetriesQueue').Properties).toMatchObject({
      VisibilityTimeout: 1080,
      RedrivePolicy: { deadLetterTargetArn: arnOf('RetriesDeadLettersD73FC46D'), maxReceiveCount: 10 },
    });
  });

  it('is given batches of 100, gathered for a second; a failed wake-up call goes back alone', () => {
    expect(mapping()).toMatchObject({
      EventSourceArn: arnOf('RetriesQueueB70A8B12'),
      BatchSize: 100,
      MaximumBatchingWindowInSeconds: 1,
      FunctionResponseTypes: ['ReportBatchItemFailures'],
    });
  });

  it('is given batches of 10 at once where events are not gathered either', () => {
    expect(mapping({ batchWindowSeconds: 0 })).toMatchObject({
      BatchSize: 10,
      MaximumBatchingWindowInSeconds: 0,
    });
  });

  it('never waits for longer than a second, for however long events may be gathered', () => {
    expect(mapping({ batchWindowSeconds: 300 })).toMatchObject({
      BatchSize: 100,
      MaximumBatchingWindowInSeconds: 1,
    });
  });

  it('leaves room for first attempts', () => {
    expect(mapping()).toMatchObject({ ScalingConfig: { MaximumConcurrency: 100 } });
    expect(mapping({ retrierConcurrency: 7 })).toMatchObject({ ScalingConfig: { MaximumConcurrency: 7 } });
  });
});

describe('the sweeper', () => {
  it('is started every minute, and a run that was missed is not made up for', () => {
    const noRepeat = { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 };
    expect(resourceOf(template, 'AWS::Events::Rule', 'RetriesEveryMinute').Properties).toMatchObject({
      ScheduleExpression: 'rate(1 minute)',
      State: 'ENABLED',
      Targets: [{ Arn: arnOf(sweeperId), RetryPolicy: noRepeat }],
    });
    template.resourceCountIs('AWS::Lambda::EventInvokeConfig', 1);
    template.hasResourceProperties('AWS::Lambda::EventInvokeConfig', {
      FunctionName: { Ref: sweeperId },
      ...noRepeat,
    });
    expect(resourceOf(template, 'AWS::Lambda::Function', 'RetriesSweep').Properties['Timeout']).toBe(60);
  });

  it('can be started by its rule alone', () => {
    const permissions = Object.values(resourcesOf(template, 'AWS::Lambda::Permission')).filter(
      ({ Properties }) => JSON.stringify(Properties['FunctionName']).includes(sweeperId),
    );
    expect(permissions.map(({ Properties }) => [Properties['Principal'], Properties['SourceArn']])).toEqual([
      ['events.amazonaws.com', arnOf('RetriesEveryMinute9053A9E3')],
    ]);
  });

  it('has a variable for each of the queues that nothing else empties', () => {
    expect(resourceOf(template, 'AWS::Lambda::Function', 'RetriesSweep').Properties).toMatchObject({
      Environment: {
        Variables: {
          EVENTS_DEAD_LETTERS_QUEUE: { Ref: 'IntakeEventsDeadLetters175E72B3' },
          UNDELIVERED_EVENTS_QUEUE: { Ref: 'IntakeUndeliveredEventsF23A4F15' },
          RETRIES_DEAD_LETTERS_QUEUE: { Ref: 'RetriesDeadLettersD73FC46D' },
        },
      },
    });
  });
});
