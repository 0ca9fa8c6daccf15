import { crc32 } from 'node:zlib';

/** Where an execution lives. Derived from event and handler alone, so that a repeat finds its own item. */
export type ExecutionKey = {
  /** `<handler id>#<log shard>` */
  pk: string;
  /** `<event time>#<event id>` */
  sk: string;
};

/** Where all executions of an event live, each in the partitions of its handler. */
export type Place = { shard: number; sk: string };

const hourMs = 3_600_000;

/**
 * Where an event's executions are to be written.
 *
 * @param event its id, and its time in ISO 8601 with milliseconds, UTC
 * @param sentAt when the queue took the message (SentTimestamp): the same on every redelivery
 * @param shards partitions of one handler in the log (the setting logShards)
 */
export const placeOf = (event: { id: string; time: string }, sentAt: Date, shards: number): Place => ({
  shard: crc32(event.id) % shards,
  sk: `${keyTime(event.time, sentAt)}#${event.id}`,
});

/** Where the execution of a handler is, at the place of an event. */
export const keyAt = ({ shard, sk }: Place, handlerId: string): ExecutionKey => ({
  pk: `${handlerId}#${shard}`,
  sk,
});

/** The place of an execution: it may be another one than would be made now, from the settings of today and what the key has of its event. */
export const placeIn = ({ pk, sk }: ExecutionKey): Place => ({
  shard: Number(pk.slice(pk.lastIndexOf('#') + 1)),
  sk,
});

/** For a message attribute; `readPlace` reads it. */
export const placeToString = ({ shard, sk }: Place): string => `${shard}#${sk}`;

/** Null when it is none. */
export function readPlace(text: string): Place | null {
  const { shard, sk } = /^(?<shard>\d{1,2})#(?<sk>.+)$/su.exec(text)?.groups ?? {};
  return sk === undefined ? null : { shard: Number(shard), sk };
}

/** The key of the execution of a handler and an event; the rest as for `placeOf`. */
export const executionKey = (
  handlerId: string,
  event: { id: string; time: string },
  sentAt: Date,
  shards: number,
): ExecutionKey => keyAt(placeOf(event, sentAt, shards), handlerId);

// Upstreams may set an event's time to anything. Time is what lists walk back along, so a time that is more
// than an hour off gives way to the hour in which the queue took the message.
function keyTime(eventTime: string, sentAt: Date): string {
  const offByMs = Math.abs(Date.parse(eventTime) - sentAt.getTime());
  if (offByMs <= hourMs) return eventTime;
  return new Date(Math.floor(sentAt.getTime() / hourMs) * hourMs).toISOString();
}

/** A time at which the queue may have taken the event of an execution: `placeOf` gives the same time with it. */
export function sentAtOf(key: ExecutionKey, event: { time: string }): Date {
  const keyMs = Date.parse(readKey(key).time);
  // It was more than an hour off, and so it is from the farther end of that hour.
  return new Date(Date.parse(event.time) < keyMs ? keyMs + hourMs - 1 : keyMs);
}

export const keyToString = ({ pk, sk }: ExecutionKey): string => `${pk}#${sk}`;

/** The partitions of a handler's log. */
export const partitionsOf = (handlerId: string, shards: number): string[] =>
  Array.from({ length: shards }, (_, shard) => `${handlerId}#${shard}`);

/** What a key says about its execution. */
export function readKey({ pk, sk }: ExecutionKey): { handlerId: string; time: string; eventId: string } {
  const timeEnd = sk.indexOf('#');
  return {
    handlerId: pk.slice(0, pk.lastIndexOf('#')),
    time: sk.slice(0, timeEnd),
    eventId: sk.slice(timeEnd + 1),
  };
}

/** The hour of a key, as the hourly rows have it: `2026-11-23T10`. */
export const hourOf = (sk: string): string => sk.slice(0, 13);

/** The public execution id: the whole key, opaque and safe in a URL. */
export const encodeExecutionId = (key: ExecutionKey): string =>
  `x_${Buffer.from(keyToString(key)).toString('base64url')}`;

/** The key behind a public id; null when it is none. */
export function decodeExecutionId(id: string): ExecutionKey | null {
  if (!id.startsWith('x_')) return null;
  const text = Buffer.from(id.slice(2), 'base64url').toString('utf8');
  // No longer than a handler id, a shard and an event id can be: DynamoDB refuses long keys with an error.
  const match = /^(?<pk>[^#]{1,64}#\d{1,2})#(?<sk>\d{4}-[\d:.T-]{18}Z#[\x21-\x7e]{1,128})$/u.exec(text);
  const { pk, sk } = match?.groups ?? {};
  return pk === undefined || sk === undefined ? null : { pk, sk };
}
