import { Duration } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import type { Config } from '../config.ts';
import type { Api } from './api.ts';
import type { Dispatcher } from './dispatcher.ts';
import { metricsNamespace } from './function.ts';
import type { Intake } from './intake.ts';

export type MonitoringProps = { config: Config; intake: Intake; dispatcher: Dispatcher; api: Api };

type AlarmProps = {
  metric: Metric;
  /** The alarm goes off above this. */
  threshold: number;
  /** How many periods in a row. */
  periods: number;
  /** For whoever is woken by it: what it means, what to do. */
  text: string;
};

/** One alarm for everything that needs a person. Failed executions need none: they are in the log, with their reason. */
export class Monitoring extends Construct {
  constructor(scope: Construct, id: string, { config, intake, dispatcher, api }: MonitoringProps) {
    super(scope, id);
    const period = Duration.minutes(5);
    const action =
      config.alarmTopicArn === null
        ? undefined
        : new SnsAction(Topic.fromTopicArn(this, 'AlarmTopic', config.alarmTopicArn));

    const alarm = (name: string, { metric, threshold, periods, text }: AlarmProps) => {
      const created = new Alarm(this, name, {
        metric,
        threshold,
        comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluationPeriods: periods,
        // An idle deployment has no data, and is well.
        treatMissingData: TreatMissingData.NOT_BREACHING,
        alarmDescription: text,
      });
      if (action !== undefined) created.addAlarmAction(action);
    };

    alarm('EventsDeadLettersAlarm', {
      metric: intake.deadLetters.metricApproximateNumberOfMessagesVisible({ period, statistic: 'Maximum' }),
      threshold: 0,
      periods: 1,
      text:
        'Events were given to the dispatcher ten times and could not be worked off. They are kept until 14 days after ' +
        'they were sent, in the queue of the output EventsDeadLettersUrl, and are not being delivered. Read the errors in the ' +
        'dispatcher’s log, remove the cause, then redrive the queue to its source (SQS, "Start DLQ redrive").',
    });
    alarm('UnreadableEventsAlarm', {
      metric: new Metric({
        namespace: metricsNamespace(this),
        metricName: 'deadLetters',
        dimensionsMap: { service: 'dispatcher' },
        statistic: 'Sum',
        period,
      }),
      threshold: 0,
      periods: 1,
      text:
        'Something on the bus could not be read as an event, and was kept with its reason in the executions table ' +
        '(partition DEAD_LETTER) instead of being delivered. Read the reasons there, and tell the service that ' +
        'emits these events what is wrong with them.',
    });
    alarm('UndeliveredEventsAlarm', {
      metric: intake.undelivered.metricApproximateNumberOfMessagesVisible({ period, statistic: 'Maximum' }),
      threshold: 0,
      periods: 1,
      text:
        'EventBridge could not put events into the events queue. They are kept for 14 days, in the queue named ' +
        'UndeliveredEvents; the message attributes ERROR_CODE and ERROR_MESSAGE say why. Most often the policy ' +
        'of the events queue was changed by hand: deploy again, then send the messages to the events queue.',
    });
    alarm('DispatcherErrorsAlarm', {
      metric: dispatcher.lambda.metricErrors({ period }),
      threshold: 0,
      periods: 2,
      text:
        'The dispatcher fails as a whole (it ended with an error, ran out of memory or of time). Its events stay ' +
        'in the queue and are tried again, ten times in all, so nothing is lost yet. Look at the last errors in ' +
        'its log; after a deployment, roll back. A failing endpoint of a handler never causes this alarm.',
    });
    alarm('OldestEventAlarm', {
      metric: intake.eventsQueue.metricApproximateAgeOfOldestMessage({ period, statistic: 'Maximum' }),
      threshold: Duration.minutes(15).toSeconds(),
      periods: 3,
      text:
        'Events wait for more than 15 minutes before they are delivered. Either more arrive than the dispatcher ' +
        'can work off (look at its Throttles and ConcurrentExecutions, raise the deploy setting ' +
        'dispatcherConcurrency or the account’s limit), or it keeps failing on some (look at its log). SQS leaves ' +
        'out of this age what was received three times or more: that shows in the alarm on the dead letters.',
    });
    alarm('ApiErrorsAlarm', {
      metric: api.httpApi.metricServerError({ period, statistic: 'Sum' }),
      threshold: 0,
      periods: 2,
      text:
        'The management API answers with 5xx. Deliveries go on, but people cannot manage handlers. Find the ' +
        'requests by their status in the API’s access log, and the errors behind them in the log of its function.',
    });
  }
}
