// How long the dispatcher may take for a batch, and the retrier too.
const dispatcherTimeoutSeconds = 180;
const retrierTimeoutSeconds = 180;

/** SQS delays a message by at most 15 minutes; what waits for longer waits in the table. */
export const maxDelaySeconds = 900;

/** What holds for the events queue wherever it is: for the stack that creates it and for the engine that plays it. */
export const eventsQueue = {
  dispatcherTimeoutSeconds,
  /**
   * Six times the timeout, as AWS asks for, so that a batch which Lambda throttles is not received twice meanwhile:
   * https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
   */
  visibilityTimeoutSeconds: 6 * dispatcherTimeoutSeconds,
  /** After so many tries in vain, an event goes to the dead-letter queue. */
  maxReceiveCount: 10,
} as const;

/** What holds for the queue of wake-up calls for later attempts. */
export const retriesQueue = {
  retrierTimeoutSeconds,
  visibilityTimeoutSeconds: 6 * retrierTimeoutSeconds,
  maxReceiveCount: 10,
} as const;
