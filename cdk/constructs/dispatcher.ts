import { Duration } from 'aws-cdk-lib';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { SqsEventSource } from 'aws-cdk-lib/aws-lambda-event-sources';
import { Construct } from 'constructs';
import { DispatcherEnv } from '../../functions/dispatcher/env.ts';
import { eventsQueue } from '../../shared/aws/queues.ts';
import type { Config } from '../config.ts';
import { HandoffFunction } from './function.ts';
import type { Intake } from './intake.ts';
import type { Retries } from './retries.ts';
import type { Scripts } from './scripts.ts';
import type { Storage } from './storage.ts';

export type DispatcherProps = {
  config: Config;
  storage: Storage;
  intake: Intake;
  retries: Retries;
  scripts: Scripts;
};

/** The function that takes events from the queue in batches and runs the handlers that asked for them. */
export class Dispatcher extends Construct {
  readonly lambda: IFunction;

  constructor(scope: Construct, id: string, { config, storage, intake, retries, scripts }: DispatcherProps) {
    super(scope, id);

    const { lambda } = new HandoffFunction(this, 'Dispatch', {
      folder: 'dispatcher',
      description: 'Runs the handlers that asked for an event, and writes the execution log',
      memoryMb: config.dispatcherMemoryMb,
      timeout: Duration.seconds(eventsQueue.dispatcherTimeoutSeconds),
      runsInCircles: true,
      runsTransforms: true,
      logRetentionDays: config.logRetentionDays,
      env: DispatcherEnv,
      environment: {
        HANDLERS_TABLE: storage.handlers.readAndStop,
        EXECUTIONS_TABLE: storage.log.record,
        DATA_KEY: storage.dataKey.open,
        REDACT_PATHS: config.redactPaths.join(','),
        EVENT_BUS: intake.publish,
        EVENTS_QUEUE: intake.send,
        RETRIES_QUEUE: retries.send,
        SCRIPTS: scripts.invoke,
        SCRIPT_FUNCTION_PREFIX: scripts.functionPrefix,
        LOG_SHARDS: config.logShards,
        RETENTION_DAYS: config.retentionDays,
        HELD_RETENTION_DAYS: config.heldRetentionDays,
        CIRCUITS: config.circuitBreaker,
        AUTO_DISABLE_DAYS: config.autoDisableDays,
        ALLOW_HTTP: config.allowHttp,
        ALLOW_CIDRS: config.allowCidrs.join(','),
      },
    });
    this.lambda = lambda;

    lambda.addEventSource(
      new SqsEventSource(intake.eventsQueue, {
        // Lambda refuses batches of more than 10 without a window.
        batchSize: config.batchWindowSeconds === 0 ? 10 : 100,
        maxBatchingWindow: Duration.seconds(config.batchWindowSeconds),
        reportBatchItemFailures: true,
        ...(config.dispatcherConcurrency !== null && { maxConcurrency: config.dispatcherConcurrency }),
      }),
    );
  }
}
