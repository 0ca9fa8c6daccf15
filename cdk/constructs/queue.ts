import { Duration } from 'aws-cdk-lib';
import { QueueEncryption, type IQueue } from 'aws-cdk-lib/aws-sqs';
import type { Access, ResourceVariable } from './function.ts';

export const queueDefaults = {
  encryption: QueueEncryption.SQS_MANAGED,
  enforceSSL: true,
  // The most that SQS keeps.
  retentionPeriod: Duration.days(14),
  // An event may have 1 MB; the default of a queue has been less.
  maxMessageSizeBytes: 1_048_576,
};

/** The right to put messages into a queue. */
export const sendTo = <Variable extends ResourceVariable>(
  variable: Variable,
  queue: IQueue,
): Access<Variable> => accessTo(variable, queue, ['sqs:SendMessage']);

/** The right to take messages out of a queue that invokes no function. */
export const drain = <Variable extends ResourceVariable>(
  variable: Variable,
  queue: IQueue,
): Access<Variable> => accessTo(variable, queue, ['sqs:DeleteMessage', 'sqs:ReceiveMessage']);

const accessTo = <Variable extends ResourceVariable>(
  variable: Variable,
  queue: IQueue,
  actions: string[],
): Access<Variable> => ({
  variable,
  value: queue.queueUrl,
  permissions: [{ actions, resources: [queue.queueArn] }],
});
