import { unpackText } from '../events/packed-text.ts';
import { listedAttributes } from './item.ts';
import { readKey, type ExecutionKey } from './key.ts';
import type { ExecutionStatus, StatusReason } from './life-cycle.ts';

/** Which executions to list; all of what is given must be so. Times are ISO 8601 UTC with milliseconds, both ends included. */
export type ExecutionFilter = {
  handlerId?: string | undefined;
  event?: string | undefined;
  status?: ExecutionStatus | undefined;
  reason?: StatusReason | undefined;
  eventId?: string | undefined;
  /** The id of the event's entity, as text, be it a number or text in the event. */
  objectId?: string | undefined;
  /** Contained in the error of the last attempt, whatever its case. */
  error?: string | undefined;
  /**
   * Contained in the detail of the event, whatever its case. The detail is compared as JSON without white space and with
   * only the escapes that it needs; the text may be a part of that, or of a value as it is without escapes.
   */
  data?: string | undefined;
  from?: string | undefined;
  to?: string | undefined;
};

/** Whether a filter looks into texts. Nothing can say where to find them, so everything in the time asked for is read. */
export const isTextSearch = ({ error, data }: ExecutionFilter): boolean =>
  error !== undefined || data !== undefined;

/** A filter as the searches apply it, all but its times. */
export type Matcher = ReturnType<typeof createMatcher>;

export function createMatcher(filter: ExecutionFilter) {
  const error = filter.error?.toLowerCase();
  // A text as it is, or as it looks inside a JSON string.
  const texts = filter.data === undefined ? [] : [filter.data, JSON.stringify(filter.data).slice(1, -1)];
  const data = texts.map((text) => text.toLowerCase());

  /** What DynamoDB itself can leave out of the answer: attributes and the values that they may have. */
  const where: Readonly<Record<string, readonly (string | number)[]>> = {
    ...(filter.status !== undefined && { status: [filter.status] }),
    ...(filter.reason !== undefined && { reason: [filter.reason] }),
    ...(filter.event !== undefined && { event: [filter.event] }),
    ...(filter.objectId !== undefined && { objectId: storedObjectIds(filter.objectId) }),
  };

  /** What `isWanted` reads. An event is most of its item, so only a search in it reads it. */
  const attributes: readonly string[] =
    filter.data === undefined ? listedAttributes : [...listedAttributes, 'eventBody'];

  function isWantedKey(key: ExecutionKey): boolean {
    const { handlerId, eventId } = readKey(key);
    return (filter.handlerId ?? handlerId) === handlerId && (filter.eventId ?? eventId) === eventId;
  }

  /** Whether an item is wanted that was read with `attributes`. */
  function isWanted(item: Readonly<Record<string, unknown>>): boolean {
    const { attempts, eventBody } = item as StoredTexts;
    return (
      isWantedKey(item as ExecutionKey) &&
      Object.entries(where).every(([name, values]) => values.includes(item[name] as string | number)) &&
      (error === undefined || attempts.at(-1)?.error?.toLowerCase().includes(error) === true) &&
      (data.length === 0 || isWantedDetail(eventBody))
    );
  }

  function isWantedDetail(eventBody: string | Uint8Array): boolean {
    const { detail } = JSON.parse(unpackText(eventBody)) as { detail: unknown };
    const written = JSON.stringify(detail).toLowerCase();
    return data.some((text) => written.includes(text));
  }

  return {
    where,
    attributes,
    isWantedKey,
    isWanted,
    /** Whether much of what is read may be left out. */
    isSelective: Object.keys(where).length > 0 || filter.eventId !== undefined || isTextSearch(filter),
  };
}

type StoredTexts = {
  attempts: readonly { error?: string | null }[];
  eventBody: string | Uint8Array;
};

// The log has numbers as numbers (only safe integers, see the envelope), and the query cannot tell.
function storedObjectIds(objectId: string): (string | number)[] {
  const number = Number(objectId);
  return Number.isSafeInteger(number) && String(number) === objectId ? [objectId, number] : [objectId];
}
