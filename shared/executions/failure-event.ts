import type { OwnEvent } from '../events/own-events.ts';
import { summarize, type ExecutionRecord } from './execution.ts';

/** What is told of an execution that has just been written: that it failed for good. Null when it has not. */
export function failureOf(record: ExecutionRecord): OwnEvent | null {
  // What ends with its handler was ended by a person, who knows.
  if (record.state.status !== 'failed' || record.state.reason !== undefined) return null;
  const { id, handlerId, handlerName, eventId, event, objectId, attemptCount, statusCode, error } =
    summarize(record);
  return {
    type: 'handoff.execution.failed',
    objectId,
    data: { executionId: id, handlerId, handlerName, eventId, event, attemptCount, statusCode, error },
  };
}
