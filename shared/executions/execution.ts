import type { KeptText } from '../events/keeping.ts';
import { z } from 'zod';
import type { SentRequest } from '../delivery/request.ts';
import { payloadFormats } from '../events/format.ts';
import { ExecutionStatus, StatusReason, type ExecutionState } from './life-cycle.ts';
import { encodeExecutionId, readKey, type ExecutionKey } from './key.ts';

/** One try of an execution: a call that was really made. */
export const Attempt = z.strictObject({
  number: z.int().describe('From 1, counted on over all generations'),
  at: z.iso.datetime().describe('When it began'),
  durationMs: z.number(),
  statusCode: z.int().nullable().describe('HTTP status; null when no answer came'),
  error: z.string().nullable().describe('Why it failed, beginning with the class of the failure'),
  response: z
    .string()
    .nullable()
    .describe('The body of the response, or what the script returned, cut at 4 KB'),
  output: z.string().nullable().describe('The end of what the script printed, 4 KB; null for HTTP'),
});
export type Attempt = z.output<typeof Attempt>;

/** One handler and one event, as the log holds it: the unit of the log. */
export type ExecutionRecord = {
  key: ExecutionKey;
  handlerName: string;
  /** The event's type and time, its entity's id, and the event itself: as it came, but for the values that are redacted. */
  event: { type: string; time: string; objectId: string | number | null } & KeptText;
  /** What is wrong with the event by the schema of its type; absent when nothing is. */
  warnings?: readonly string[];
  state: ExecutionState;
  /** Raised when an ended execution is run again by a person or a replay. */
  generation: number;
  /** The attempts of earlier generations, and probes that failed: the schedule of this one counts from here. */
  attemptsBefore: number;
  /** How often in a row its next attempt was put off without a call. */
  putOffs: number;
  /** When the first attempt began, or when it was held. */
  startedAt: string;
  attemptCount: number;
  /** Oldest first. */
  attempts: readonly Attempt[];
  /** Where the last attempt went; null when none was made. */
  request: SentRequest | null;
};

/** What lists need of a record: all but the event itself and the request. */
export type ListedExecution = Omit<ExecutionRecord, 'event' | 'request'> & {
  event: Omit<ExecutionRecord['event'], keyof KeptText>;
};

/** An execution in the lists of the API. */
export const Execution = z.strictObject({
  id: z.string(),
  handlerId: z.string(),
  handlerName: z.string().describe('As it was at the last attempt'),
  eventId: z.string(),
  event: z.string().describe('The event type'),
  eventTime: z.iso.datetime(),
  objectId: z.union([z.string(), z.number()]).nullable().describe("The id of the event's entity"),
  warnings: z
    .array(z.string())
    .describe('What is wrong with the event by the schema of its type, a few sentences, each with the path'),
  status: ExecutionStatus,
  reason: StatusReason.nullable().describe(
    'Why it waits (`retry`: for its next attempt; `busy`: there was no room for the call; `rate-limit`: for its slot; `circuit`: parked, until its target answers), is held (its handler is `disabled`; `halted`: one before it that halts has not succeeded), or failed without a last attempt (its handler was `archived` or `deleted`)',
  ),
  generation: z.int().describe('From 1; raised when what has ended is run again'),
  attemptCount: z.int().describe('Of all generations'),
  nextAttemptAt: z.iso.datetime().nullable().describe('Null when it does not wait for a time'),
  startedAt: z.iso.datetime().describe('When its first attempt began, or when it was held'),
  durationMs: z.number().nullable().describe('Of the last attempt'),
  statusCode: z.int().nullable().describe('Of the last attempt'),
  error: z.string().nullable().describe('Of the last attempt'),
});
export type Execution = z.output<typeof Execution>;

/** A single execution with everything that is known about it. */
export const ExecutionDetail = Execution.extend({
  eventBody: z.record(z.string(), z.unknown()).describe('The whole EventBridge event'),
  request: z
    .discriminatedUnion('type', [
      z.strictObject({
        type: z.literal('http'),
        method: z.string(),
        url: z.string(),
        headers: z.record(z.string(), z.string()).describe('Secrets are shown as ***'),
        format: z.enum(payloadFormats),
        transform: z.string().nullable().describe('The JSONata expression that made the body'),
        body: z
          .string()
          .nullable()
          .describe(
            'Made of the event as it is kept. Null where the transform gives none: then nothing was sent',
          ),
        error: z.string().nullable().describe('Why there is no body'),
      }),
      z.strictObject({ type: z.literal('script'), script: z.string(), body: z.string() }),
    ])
    .nullable()
    .describe('As it was sent; null when no attempt was made'),
  attempts: z.array(Attempt),
});
export type ExecutionDetail = z.output<typeof ExecutionDetail>;

/** What lists show of a record. */
export function summarize(record: ListedExecution): Execution {
  const { handlerId, eventId } = readKey(record.key);
  const last = record.attempts.at(-1);
  const { state } = record;
  return {
    id: encodeExecutionId(record.key),
    handlerId,
    handlerName: record.handlerName,
    eventId,
    event: record.event.type,
    eventTime: record.event.time,
    objectId: record.event.objectId,
    warnings: [...(record.warnings ?? [])],
    status: state.status,
    reason: ('reason' in state ? state.reason : undefined) ?? null,
    generation: record.generation,
    attemptCount: record.attemptCount,
    nextAttemptAt: 'nextAttemptAt' in state ? state.nextAttemptAt : null,
    startedAt: record.startedAt,
    durationMs: last?.durationMs ?? null,
    statusCode: last?.statusCode ?? null,
    error: last?.error ?? null,
  };
}
