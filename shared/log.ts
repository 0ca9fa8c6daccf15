import { Logger } from '@aws-lambda-powertools/logger';

/**
 * The log: one wide line at the edge of each invocation, JSON, with a dotted fact as its message
 * (`batch.dispatched`). Level by POWERTOOLS_LOG_LEVEL; INFO by default.
 */
export const log = new Logger({ serviceName: 'handoff' });
