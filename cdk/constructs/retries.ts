import { Duration } from 'aws-cdk-lib';
import { Rule, Schedule } from 'aws-cdk-lib/aws-events';
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { Construct } from 'constructs';
import { RetrierEnv } from '../../functions/retrier/env.ts';
import { SweeperEnv } from '../../functions/sweeper/env.ts';
import { retriesQueue } from '../../shared/aws/queues.ts';
import type { Config } from '../config.ts';
import { HandoffFunction, type Access } from './function.ts';
import type { Intake } from './intake.ts';
import { drain, queueDefaults, sendTo } from './queue.ts';
import type { Scripts } from './scripts.ts';
import type { Storage } from './storage.ts';

export type RetriesProps = { config: Config; storage: Storage; intake: Intake; scripts: Scripts };

/**
 * The lane of later attempts: a queue of wake-up calls, the function that works them off, and the sweeper, which sends
 * those that no queue could wait for and those that were lost. First attempts never wait behind any of it.
 */
export class Retries extends Construct {
  readonly queue: Queue;
  /** Wake-up calls that the retrier received ten times and could not work off. */
  readonly deadLetters: Queue;
  /** The right to send wake-up calls. */
  readonly send: Access<'RETRIES_QUEUE'>;
  readonly retrier: IFunction;
  readonly sweeper: IFunction;

  constructor(scope: Construct, id: string, props: RetriesProps) {
    super(scope, id);

    this.deadLetters = new Queue(this, 'DeadLetters', queueDefaults);
    this.queue = new Queue(this, 'Queue', {
      ...queueDefaults,
      visibilityTimeout: Duration.seconds(retriesQueue.visibilityTimeoutSeconds),
      deadLetterQueue: { queue: this.deadLetters, maxReceiveCount: retriesQueue.maxReceiveCount },
    });
    this.send = sendTo('RETRIES_QUEUE', this.queue);
    this.retrier = this.createRetrier(props);
    this.sweeper = this.createSweeper(props);
  }

  private createRetrier({ config, storage, intake, scripts }: RetriesProps): IFunction {
    const { lambda } = new HandoffFunction(this, 'Retry', {
      folder: 'retrier',
      description: 'Makes the later attempts of executions, each when its wake-up call comes',
      // It makes the same calls as the dispatcher, with the same events.
      memoryMb: config.dispatcherMemoryMb,
      timeout: Duration.seconds(retriesQueue.retrierTimeoutSeconds),
      runsInCircles: true,
      runsTransforms: true,
      logRetentionDays: config.logRetentionDays,
      env: RetrierEnv,
      environment: {
        HANDLERS_TABLE: storage.handlers.readAndStop,
        EXECUTIONS_TABLE: storage.log.resume,
        DATA_KEY: storage.dataKey.open,
        REDACT_PATHS: config.redactPaths.join(','),
        EVENT_BUS: intake.publish,
        EVENTS_QUEUE: intake.send,
        RETRIES_QUEUE: this.send,
        SCRIPTS: scripts.invoke,
        SCRIPT_FUNCTION_PREFIX: scripts.functionPrefix,
        RETENTION_DAYS: config.retentionDays,
        HELD_RETENTION_DAYS: config.heldRetentionDays,
        CIRCUITS: config.circuitBreaker,
        AUTO_DISABLE_DAYS: config.autoDisableDays,
        ALLOW_HTTP: config.allowHttp,
        ALLOW_CIDRS: config.allowCidrs.join(','),
      },
    });
    // Where events are to go out at once, so are wake-up calls. Where events may be gathered for longer than the one
    // second that batches of more than 10 need, wake-up calls may not: they come when it is time.
    const atOnce = config.batchWindowSeconds === 0;
    lambda.addEventSource(
      new SqsEventSource(this.queue, {
        batchSize: atOnce ? 10 : 100,
        maxBatchingWindow: Duration.seconds(atOnce ? 0 : 1),
        reportBatchItemFailures: true,
        maxConcurrency: config.retrierConcurrency,
      }),
    );
    return lambda;
  }

  private createSweeper({ config, storage, intake }: RetriesProps): IFunction {
    const everyRun = { retryAttempts: 0, maxEventAge: Duration.minutes(1) };
    const { lambda } = new HandoffFunction(this, 'Sweep', {
      folder: 'sweeper',
      description:
        'Sends the wake-up calls that are due, goes on with recoveries, and empties the dead-letter queues into the table',
      memoryMb: 256,
      timeout: Duration.minutes(1),
      logRetentionDays: config.logRetentionDays,
      env: SweeperEnv,
      environment: {
        HANDLERS_TABLE: storage.handlers.settle,
        EXECUTIONS_TABLE: storage.log.sweep,
        DATA_KEY: storage.dataKey.open,
        REDACT_PATHS: config.redactPaths.join(','),
        RETRIES_QUEUE: this.send,
        EVENTS_DEAD_LETTERS_QUEUE: intake.drainDeadLetters,
        UNDELIVERED_EVENTS_QUEUE: intake.drainUndelivered,
        RETRIES_DEAD_LETTERS_QUEUE: drain('RETRIES_DEAD_LETTERS_QUEUE', this.deadLetters),
        LOG_SHARDS: config.logShards,
        RETENTION_DAYS: config.retentionDays,
        HELD_RETENTION_DAYS: config.heldRetentionDays,
        CIRCUITS: config.circuitBreaker,
      },
    });
    // Nobody repeats a run that was missed or failed, neither the rule nor Lambda: the next one is a minute away, and
    // finds all that this one left.
    lambda.configureAsyncInvoke(everyRun);
    // A rule costs nothing and invokes by a permission on the function. A schedule of EventBridge Scheduler is billed
    // and needs a role; what it has beyond (time zones, single runs, millions of schedules) is of no use here.
    new Rule(this, 'EveryMinute', {
      description: 'Starts the sweeper',
      schedule: Schedule.rate(Duration.minutes(1)),
      targets: [new LambdaFunction(lambda, everyRun)],
    });
    return lambda;
  }
}
