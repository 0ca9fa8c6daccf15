import { crc32 } from 'node:zlib';
import { expiresAfter } from '../aws/tables.ts';
import { packText, unpackText } from '../events/packed-text.ts';
import type { Attempt, ExecutionRecord, ListedExecution } from './execution.ts';
import { readKey } from './key.ts';
import { isParked, type ExecutionState, type ExecutionStatus, type StatusReason } from './life-cycle.ts';

/** How long executions are kept after their last change, in days. What waits for time is kept until it ends. */
export type Retention = { endedDays: number; heldDays: number };

const writeUnitBytes = 1024;
// Spreads what needs attention over partitions; the same number for every status.
export const attentionPartitions = 8;

/** The kinds of partitions in the sparse index. What is parked waits, too, and sorts like what needs a person. */
export type AttentionKind = Exclude<ExecutionStatus, 'succeeded'> | 'parked';

export const partitionsOfKind = (kind: AttentionKind): string[] =>
  Array.from({ length: attentionPartitions }, (_, partition) => `${kind}#${partition}`);

/** The partitions of the sparse index that hold all executions of a status, and maybe others. */
export const attentionPartitionsOf = (status: Exclude<ExecutionStatus, 'succeeded'>): string[] =>
  status === 'waiting'
    ? [...partitionsOfKind('waiting'), ...partitionsOfKind('parked')]
    : partitionsOfKind(status);

/** The record as a DynamoDB item. */
export function toItem(record: ExecutionRecord, retention: Retention, now: Date): Record<string, unknown> {
  const { state, event, request } = record;
  const item = {
    ...record.key,
    handlerName: record.handlerName,
    event: event.type,
    // The key holds the time, unless the upstream's was too far off to be used there.
    ...(event.time === readKey(record.key).time ? {} : { eventTime: event.time }),
    ...(event.objectId === null ? {} : { objectId: event.objectId }),
    ...(record.warnings === undefined ? {} : { warnings: record.warnings }),
    ...stateAttributes(state),
    ...attentionOf(record),
    generation: record.generation,
    ...(record.attemptsBefore === 0 ? {} : { attemptsBefore: record.attemptsBefore }),
    ...(record.putOffs === 0 ? {} : { putOffs: record.putOffs }),
    startedAt: record.startedAt,
    attemptCount: record.attemptCount,
    attempts: record.attempts.map(omitNulls),
    ...(request === null ? {} : { request }),
    ...(event.sealed === undefined ? {} : { eventSealed: event.sealed }),
    ...expiry(state, retention, now),
  };
  return { ...item, eventBody: packEvent(event.raw, itemBytes(item)) };
}

/** The record in a DynamoDB item. */
export function fromItem(item: Record<string, unknown>): ExecutionRecord {
  const { eventBody, eventSealed, request } = item as StoredExecution;
  const listed = fromListedItem(item);
  return {
    ...listed,
    event: {
      ...listed.event,
      raw: unpackText(eventBody),
      ...(eventSealed === undefined ? {} : { sealed: eventSealed }),
    },
    request: request ?? null,
  };
}

/** What `fromListedItem` reads. An event is most of its item, and lists do not show it. */
export const listedAttributes = [
  'pk',
  'sk',
  'handlerName',
  'event',
  'eventTime',
  'objectId',
  'warnings',
  'status',
  'reason',
  'nextAttemptAt',
  'byHand',
  'attentionKey',
  'generation',
  'attemptsBefore',
  'putOffs',
  'startedAt',
  'attemptCount',
  'attempts',
] as const satisfies (keyof StoredExecution)[];

/** The record in a DynamoDB item that was read with `listedAttributes`. */
export function fromListedItem(item: Record<string, unknown>): ListedExecution {
  const stored = item as Pick<StoredExecution, (typeof listedAttributes)[number]>;
  const key = { pk: stored.pk, sk: stored.sk };
  return {
    key,
    handlerName: stored.handlerName,
    event: {
      type: stored.event,
      time: stored.eventTime ?? readKey(key).time,
      objectId: stored.objectId ?? null,
    },
    ...(stored.warnings === undefined ? {} : { warnings: stored.warnings }),
    state: stateOf(stored),
    generation: stored.generation,
    attemptsBefore: stored.attemptsBefore ?? 0,
    putOffs: stored.putOffs ?? 0,
    startedAt: stored.startedAt,
    attemptCount: stored.attemptCount,
    attempts: stored.attempts.map(
      ({ number, at, durationMs, statusCode = null, error = null, response = null, output = null }) => ({
        number,
        at,
        durationMs,
        statusCode,
        error,
        response,
        output,
      }),
    ),
  };
}

type StoredExecution = {
  pk: string;
  sk: string;
  handlerName: string;
  event: string;
  eventTime?: string;
  objectId?: string | number;
  warnings?: string[];
  status: ExecutionStatus;
  reason?: StatusReason;
  nextAttemptAt?: string;
  byHand?: true;
  /** Of a waiting execution: when the sweeper must look. */
  attentionKey?: string;
  generation: number;
  attemptsBefore?: number;
  putOffs?: number;
  startedAt: string;
  attemptCount: number;
  attempts: (Pick<Attempt, 'number' | 'at' | 'durationMs'> & Partial<Attempt>)[];
  request?: NonNullable<ExecutionRecord['request']>;
  eventBody: string | Uint8Array;
  /** The values that are redacted in it. */
  eventSealed?: Uint8Array;
};

const stateOf = ({
  status,
  reason,
  nextAttemptAt,
  byHand,
  attentionKey,
}: Pick<
  StoredExecution,
  'status' | 'reason' | 'nextAttemptAt' | 'byHand' | 'attentionKey'
>): ExecutionState =>
  ({
    status,
    ...(reason === undefined ? {} : { reason }),
    ...(nextAttemptAt === undefined ? {} : { nextAttemptAt, sweepAt: attentionKey }),
    ...(byHand === undefined ? {} : { byHand }),
  }) as ExecutionState;

// `sweepAt` is stored as the key of the index.
function stateAttributes(state: ExecutionState): Record<string, string | true> {
  if (!('sweepAt' in state)) return state;
  const { sweepAt: _sweepAt, ...attributes } = state;
  return attributes;
}

const omitNulls = (attempt: Attempt) =>
  Object.fromEntries(Object.entries(attempt).filter(([, value]) => value !== null));

/**
 * The keys of the sparse index: nothing for a success, so that it costs no index write.
 * What waits sorts by when the sweeper must look; what is parked or needs a person by handler and time.
 */
function attentionOf({ key, state }: Pick<ExecutionRecord, 'key' | 'state'>): Record<string, string> {
  const { handlerId, time, eventId } = readKey(key);
  const partition = crc32(eventId) % attentionPartitions;
  const byHandler = (kind: AttentionKind) => ({
    attention: `${kind}#${partition}`,
    attentionKey: `${handlerId}#${time}#${eventId}`,
  });
  switch (state.status) {
    case 'succeeded':
      return {};
    case 'failed':
    case 'held':
      return byHandler(state.status);
    case 'waiting':
      return isParked(state)
        ? byHandler('parked')
        : { attention: `waiting#${partition}`, attentionKey: state.sweepAt };
    default:
      return state satisfies never;
  }
}

function expiry(state: ExecutionState, retention: Retention, now: Date): { expiresAt?: number } {
  if (state.status === 'waiting') return {};
  const days = state.status === 'held' ? retention.heldDays : retention.endedDays;
  return { expiresAt: expiresAfter(now, days) };
}

// Compressed only when that saves a write unit: text is what people can read in the table.
function packEvent(raw: string, otherBytes: number): string | Uint8Array {
  const rawBytes = Buffer.byteLength(raw);
  const units = (bodyBytes: number) =>
    Math.ceil((otherBytes + 'eventBody'.length + bodyBytes) / writeUnitBytes);
  if (units(rawBytes) === 1) return raw;
  const packed = packText(raw);
  return units(packed.length) < units(rawBytes) ? packed : raw;
}

/**
 * The size of an item as DynamoDB counts it: names and values in UTF-8, about one byte for two digits of a number, three
 * bytes and one an element for the lists and maps in it (Developer Guide, "DynamoDB item sizes and formats").
 */
export const itemBytes = (item: Readonly<Record<string, unknown>>): number =>
  Object.entries(item).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + valueBytes(value), 0);

function valueBytes(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (typeof value === 'number') return Math.ceil(String(value).length / 2) + 1;
  if (value instanceof Uint8Array) return value.length;
  if (Array.isArray(value)) return value.reduce<number>((sum, element) => sum + 1 + valueBytes(element), 3);
  if (typeof value === 'object' && value !== null) {
    return 3 + Object.keys(value).length + itemBytes(value as Record<string, unknown>);
  }
  return 1;
}
