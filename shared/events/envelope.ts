// Pure core: imports nothing but zod and node:crypto.
import { z } from 'zod';
import { isObject } from '../json-object.ts';

/** SQS and EventBridge carry at most 1 MB (since January 2026). */
export const maxEventBytes = 1_048_576;

/**
 * An EventBridge event as Handoff reads it. Fields that are not named here pass through untouched: `raw` is
 * the text as it came, and that is what is stored and sent on.
 */
export type DomainEvent = {
  /** EventBridge's id; unique for each event. */
  id: string;
  /** The `detail-type`, e.g. `client.create`. */
  type: string;
  /** The service that emitted the event. Handoff's own events say `handoff`. */
  source: string;
  /** ISO 8601, UTC, milliseconds. Upstreams may set it to anything. */
  time: string;
  /** The entity's own id, where the event has one of up to 256 characters. A number that is no safe integer is text. */
  objectId: number | string | null;
  detail: Readonly<Record<string, unknown>>;
  /** The whole event, as `JSON.parse` has it: numbers may have lost digits. */
  json: unknown;
  raw: string;
  /** What is wrong with it by the schema of its type, as sentences; absent when nothing is. */
  warnings?: readonly string[];
  /** How it is kept, and the values in it that nobody may read; absent while nobody has asked for it. */
  kept?: { raw: string; sealed?: Uint8Array; values: readonly string[] };
};

const maxObjectIdLength = 256;

export type ParsedEvent = { ok: true; event: DomainEvent } | { ok: false; reason: string };

// JSON.parse takes any depth, and JSON.stringify ends with a RangeError at a few thousand.
const maxDepth = 1000;
const isDeeperThan = (levels: number, value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((member) => isDeeperThan(levels - 1, member)));

const Envelope = z.looseObject({
  // The id becomes part of a header and of a key: printable ASCII. EventBridge's own are UUIDs.
  id: z
    .string('is missing or not a string')
    .regex(/^[\x21-\x7e]{1,128}$/u, 'must be 1 to 128 printable ASCII characters without spaces'),
  // EventBridge allows 128 characters.
  'detail-type': z
    .string('is missing or not a string')
    .min(1, 'is empty')
    .max(128, 'is longer than 128 characters'),
  source: z.string('is missing or not a string').max(256, 'is longer than 256 characters'),
  time: z.iso.datetime({ offset: true, error: 'is not an ISO 8601 time' }),
  detail: z.custom<Record<string, unknown>>(isObject, 'is not an object'),
});

/**
 * Reads the body of a queue message. Whatever cannot be an event comes back with the reason, in words for
 * the person who finds it among the dead letters.
 */
export function parseEvent(body: string): ParsedEvent {
  const bytes = Buffer.byteLength(body);
  if (bytes > maxEventBytes) {
    return { ok: false, reason: `The event has ${bytes} bytes; at most ${maxEventBytes} are allowed.` };
  }
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch (error) {
    return { ok: false, reason: `The message is not JSON: ${(error as SyntaxError).message}` };
  }
  if (isDeeperThan(maxDepth, json)) {
    return { ok: false, reason: `The event is nested more than ${maxDepth} levels deep.` };
  }
  const parsed = Envelope.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) =>
      issue.path.length === 0
        ? 'the message is not a JSON object'
        : `${issue.path.join('.')} ${issue.message}`,
    );
    return { ok: false, reason: `Not an EventBridge event: ${problems.join('; ')}.` };
  }
  const { id, 'detail-type': type, source, time, detail } = parsed.data;
  return {
    ok: true,
    event: {
      id,
      type,
      source,
      time: new Date(time).toISOString(),
      objectId: readObjectId(detail['objectId'], body),
      detail,
      json,
      raw: body,
    },
  };
}

// It is kept beside the event, uncompressed, and DynamoDB's client refuses numbers that lose digits: such an id
// is taken as the text that the upstream wrote.
function readObjectId(objectId: unknown, body: string): DomainEvent['objectId'] {
  if (typeof objectId === 'string') return objectId.length <= maxObjectIdLength ? objectId : null;
  if (typeof objectId !== 'number') return null;
  if (Number.isSafeInteger(objectId)) return objectId;
  const withTexts = JSON.parse(body, keepNumberText) as { detail: { objectId: string } };
  return readObjectId(withTexts.detail.objectId, body);
}

// The third parameter is newer than TypeScript's ES2024: https://tc39.es/proposal-json-parse-with-source/
const keepNumberText = (_key: string, value: unknown, ...[context]: unknown[]): unknown =>
  typeof value === 'number' ? (context as { source: string }).source : value;
