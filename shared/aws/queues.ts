// How long the dispatcher may take for a batch.
const dispatcherTimeoutSeconds = 180;

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
