/**
 * What one attempt produced. A remote failure is a value, never an exception: what a target does wrong is an
 * everyday fact that belongs into the log, not an error of Handoff.
 */
export type Outcome =
  | {
      kind: 'succeeded';
      /** HTTP status; null for a script. */
      statusCode: number | null;
      /** The response as text, cut at `maxResponseBytes`; null when there was none. */
      response: string | null;
      /** The response ended before its end. */
      isBrokenOff?: true;
      /** The end of what a script printed, of at most `maxOutputBytes`. */
      output?: string;
      demand?: Extract<Demand, 'disable'>;
    }
  | {
      kind: 'failed';
      /** Whether another attempt can succeed with nothing changed: a 503 can, a 404 or a refused address cannot. */
      retryable: boolean;
      /** HTTP status, or null when no answer came. */
      statusCode: number | null;
      /** A short classified reason for admins, e.g. `timeout: no answer within 10000 ms`. Never raw internals. */
      error: string;
      response: string | null;
      isBrokenOff?: true;
      output?: string;
      demand?: Demand;
      /** The header `Retry-After` as it came. */
      retryAfter?: string;
      /** There was nothing to send, which says nothing about the target. */
      isUnsent?: true;
    }
  /** No call was made, so no attempt is used up: AWS had no room for the script, or others had the thread for transforms. */
  | { kind: 'put-off'; reason: 'busy' };

/**
 * What a receiver asks for beside its answer: that this handler is not called any more (`410 Gone`, or the header
 * `webhook-delivery: disable`), or that this delivery is not repeated (`webhook-delivery: abort-message`).
 */
export type Demand = 'disable' | 'abort';

/** What came of a call that was made, or that was refused for good reason. */
export type CallOutcome = Exclude<Outcome, { kind: 'put-off' }>;

/** Responses are stored up to this size (bytes of UTF-8); the rest is not read. */
export const maxResponseBytes = 4096;

/** Of what a script prints the last part is kept, as much as Lambda hands back (`LogType: Tail`), in bytes. */
export const maxOutputBytes = 4096;

/** What a script says of its failure is kept up to this length, in characters. */
export const maxErrorLength = 500;

/**
 * Whether another attempt can succeed with nothing changed, judged by the status of a failed answer: the target
 * was too slow (408), busy with the same object (409), not ready (425), asked for patience (429), or broken (5xx).
 * A redirect cannot: it is not followed, so it would come again.
 */
export function isRetryableStatus(statusCode: number): boolean {
  return [408, 409, 425, 429].includes(statusCode) || (statusCode >= 500 && statusCode <= 599);
}

/** The outcome of an attempt that got no answer, or was not sent at all. */
export const unanswered = (error: string, { retryable }: { retryable: boolean }): CallOutcome => ({
  kind: 'failed',
  retryable,
  statusCode: null,
  error,
  response: null,
});

/** The outcome of an attempt for which there was nothing to send, and will be nothing another time. */
export const unsent = (error: string): CallOutcome => ({
  kind: 'failed',
  retryable: false,
  isUnsent: true,
  statusCode: null,
  error: error.slice(0, maxErrorLength).toWellFormed(),
  response: null,
});
