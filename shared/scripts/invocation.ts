// For the authors of scripts: all that a script of the deployment needs to know about Handoff.

/** An EventBridge event, as it came. Fields that are not named here pass through untouched. */
export type ScriptEvent<Data = unknown> = {
  /** Unique for each event. */
  id: string;
  /** The event type, e.g. `client.create`. */
  'detail-type': string;
  /** The service that emitted the event. */
  source: string;
  /** ISO 8601. */
  time: string;
  detail: {
    /** The entity's own id. */
    objectId?: number | string;
    data: Data;
    [field: string]: unknown;
  };
  [field: string]: unknown;
};

/**
 * What a script is called with. What it returns is the response in the log, as JSON; what it prints is kept beside
 * it, the last 4 KB. Throwing fails the attempt, and the attempt is repeated by the handler's schedule: the same
 * execution can come again, so a script must be able to run twice.
 *
 * @example
 * export async function handler({ event, execution }: ScriptInvocation<{ name: string }>) {
 *   if (event.detail.data.name === '') throw new PermanentError('the client has no name');
 *   return { created: event.detail.data.name, by: execution.id };
 * }
 */
export type ScriptInvocation<Data = unknown> = {
  event: ScriptEvent<Data>;
  /** The handler whose target the script is. */
  handler: { id: string; name: string };
  execution: {
    /** The same on every attempt: what a script does once for each event, it can key by this. */
    id: string;
    /** From 1. */
    attempt: number;
  };
};

/**
 * Thrown by a script for what no further attempt can mend: the execution fails and is not repeated. Its name is
 * what counts, so Python scripts define an exception class of this name themselves.
 */
export class PermanentError extends Error {
  override name = 'PermanentError' as const;
}
