import { Duration } from 'aws-cdk-lib';
import {
  Alarm,
  ComparisonOperator,
  Metric,
  Stats,
  TreatMissingData,
  type IMetric,
} from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Topic } from 'aws-cdk-lib/aws-sns';
import type { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { maxDelaySeconds } from '../../shared/aws/queues.ts';
import type { Config } from '../config.ts';
import type { Api } from './api.ts';
import type { Dispatcher } from './dispatcher.ts';
import { metricsNamespace } from './function.ts';
import type { Intake } from './intake.ts';
import type { Retries } from './retries.ts';

export type MonitoringProps = {
  config: Config;
  intake: Intake;
  dispatcher: Dispatcher;
  retries: Retries;
  api: Api;
};

type AlarmProps = {
  metric: IMetric;
  /** The alarm goes off above this. */
  threshold: number;
  /** How many periods in a row. */
  periods: number;
  /** For whoever is woken by it: what it means, what to do. */
  text: string;
};

/** One alarm for everything that needs a person. Failed executions need none: they are in the log, with their reason. */
export class Monitoring extends Construct {
  constructor(scope: Construct, id: string, { config, intake, dispatcher, retries, api }: MonitoringProps) {
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
    const counted = (service: string, metricName: string) =>
      new Metric({
        namespace: metricsNamespace(this),
        metricName,
        dimensionsMap: { service },
        statistic: Stats.SUM,
        period,
      });
    // The sweeper comes every minute. What never gets down to zero in five is not being drained.
    const neverEmpty = (queue: Queue) =>
      queue.metricApproximateNumberOfMessagesVisible({ period, statistic: Stats.MINIMUM });
    const oldest = (queue: Queue) =>
      queue.metricApproximateAgeOfOldestMessage({ period, statistic: Stats.MAXIMUM });

    alarm('EventsDeadLettersAlarm', {
      metric: counted('sweeper', 'deadLetters'),
      threshold: 0,
      periods: 1,
      text:
        'Events came to rest and are not being delivered: the dispatcher was given them ten times in vain, or the bus ' +
        'could not put them into the events queue. GET /v1/dead-letters lists them with the reason. Read the errors in the ' +
        'dispatcher’s log, remove the cause, then send them again with POST /v1/dead-letters/redrive. They are kept for ' +
        'the days of the deploy setting heldRetentionDays.',
    });
    alarm('UnreadableEventsAlarm', {
      metric: counted('dispatcher', 'deadLetters'),
      threshold: 0,
      periods: 1,
      text:
        'Something on the bus could not be read as an event, and was kept with its reason instead of being delivered. ' +
        'GET /v1/dead-letters says what and why: tell the service that emits these events what is wrong with them. ' +
        'POST /v1/dead-letters/redrive helps only where the fault was on this side, since an event is never altered.',
    });
    alarm('UndrainedEventsAlarm', {
      metric: neverEmpty(intake.deadLetters),
      threshold: 0,
      periods: 1,
      text:
        'The queue of the output EventsDeadLettersUrl holds events that the dispatcher gave up on, and the sweeper does not ' +
        'take them into the table, where GET /v1/dead-letters would show them. Either so many come that it cannot keep up ' +
        '(then EventsDeadLettersAlarm is on as well), or it fails: read the sweeper’s log. The queue keeps an event until ' +
        '14 days after it was sent.',
    });
    alarm('UndeliveredEventsAlarm', {
      metric: neverEmpty(intake.undelivered),
      threshold: 0,
      periods: 1,
      text:
        'The queue of the output UndeliveredEventsUrl holds events that the bus could not put into the events queue, and the ' +
        'sweeper does not take them into the table: read the sweeper’s log. The message attributes ERROR_CODE and ' +
        'ERROR_MESSAGE say why the bus failed. Most often the policy of the events queue was changed by hand: deploy again. ' +
        'The queue keeps an event for 14 days.',
    });
    alarm('UndrainedWakeUpsAlarm', {
      metric: neverEmpty(retries.deadLetters),
      threshold: 0,
      periods: 1,
      text:
        'The queue of the output RetriesDeadLettersUrl holds wake-up calls that the retrier gave up on, and the sweeper does ' +
        'not clear them away. No execution is lost: each is in the log as waiting. But where the sweeper fails, nothing wakes ' +
        'them either. Read the sweeper’s log.',
    });
    alarm('DeadWakeUpsAlarm', {
      metric: counted('sweeper', 'deadWakeUps'),
      threshold: 0,
      periods: 1,
      text:
        'The retrier was given wake-up calls ten times and could not work them off. Their executions are in the log as ' +
        'waiting (GET /v1/executions?status=waiting) and the sweeper wakes them again, but most likely in vain until the cause is gone: ' +
        'look for the errors in the retrier’s log. A failing endpoint of a handler never causes this alarm.',
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
    alarm('RetrierErrorsAlarm', {
      metric: retries.retrier.metricErrors({ period }),
      threshold: 0,
      periods: 2,
      text:
        'The retrier fails as a whole (it ended with an error, ran out of memory or of time), so later attempts are late. First ' +
        'attempts go on, and nothing is lost: what waits is in the log, and is woken again. Look at the last errors in its ' +
        'log; after a deployment, roll back. A failing endpoint of a handler never causes this alarm.',
    });
    alarm('SweeperErrorsAlarm', {
      metric: retries.sweeper.metricErrors({ period: Duration.minutes(1) }),
      threshold: 0,
      periods: 2,
      text:
        'The sweeper failed in two runs in a row. Until it works again, attempts that wait for more than 15 minutes are not ' +
        'made, wake-up calls that were lost are not sent again, and dead-letter queues fill up. First attempts and early ' +
        'retries go on, and nothing is lost. Its log says what went wrong; after a deployment, roll back.',
    });
    alarm('OldestEventAlarm', {
      metric: oldest(intake.eventsQueue),
      threshold: Duration.minutes(15).toSeconds(),
      periods: 3,
      text:
        'Events wait for more than 15 minutes before they are delivered. Either more arrive than the dispatcher ' +
        'can work off (look at its Throttles and ConcurrentExecutions, raise the deploy setting ' +
        'dispatcherConcurrency or the account’s limit), or it keeps failing on some (look at its log). SQS leaves ' +
        'out of this age what was received three times or more: that shows in the alarm on the dead letters.',
    });
    alarm('OldestWakeUpAlarm', {
      metric: oldest(retries.queue),
      // A call that waits its full time in the queue is as old as that when it is due.
      threshold: maxDelaySeconds + Duration.minutes(15).toSeconds(),
      periods: 3,
      text:
        'Later attempts are more than 15 minutes late: their wake-up calls are older than 30 minutes, of which they wait at ' +
        'most 15 on purpose. Either more come due than the retrier can work off (look at its Throttles and ' +
        'ConcurrentExecutions, raise the deploy setting retrierConcurrency or the account’s limit), or it keeps failing on ' +
        'some (look at its log). First attempts are not held up.',
    });
    alarm('ApiErrorsAlarm', {
      metric: api.httpApi.metricServerError({ period, statistic: Stats.SUM }),
      threshold: 0,
      periods: 2,
      text:
        'The management API answers with 5xx. Deliveries go on, but people cannot manage handlers. Find the ' +
        'requests by their status in the API’s access log, and the errors behind them in the log of its function.',
    });

    // The one alarm on silence: a rule that was disabled, or an account without a free Lambda, causes no error.
    const sweeperStopped = new Alarm(this, 'SweeperStoppedAlarm', {
      metric: retries.sweeper.metricInvocations({ period }),
      threshold: 1,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      evaluationPeriods: 2,
      // Not "breaching": then every new stack would begin with a false alarm. A sweeper that has run and does no more
      // leads from OK to INSUFFICIENT_DATA.
      treatMissingData: TreatMissingData.MISSING,
      alarmDescription:
        'The sweeper has not been started for ten minutes (without data this alarm is "insufficient", and tells of it in the ' +
        'same way). Attempts that wait for more than 15 minutes are not made until it is. Look whether the rule EveryMinute ' +
        'is disabled (EventBridge, default bus), and whether the account runs as many Lambdas as it may (Throttles of the ' +
        'sweeper).',
    });
    if (action !== undefined) {
      sweeperStopped.addAlarmAction(action);
      sweeperStopped.addInsufficientDataAction(action);
    }
  }
}
