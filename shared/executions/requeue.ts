import { SendMessageBatchCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { cutBatches } from '../aws/batches.ts';
import { placeToString, readPlace, type Place } from './key.ts';
import { maxEventBytes } from '../events/envelope.ts';

/** The message attribute of an event that was sent again: when the queue first took it, in ISO 8601. */
export const sentAtAttribute = 'sentAt';
/** The message attribute of an event of which only what is held behind a halting handler is to run: the place of its executions. */
export const goesOnAttribute = 'goesOnAt';

/** What the attributes of a message say. */
export const readAttributes = (texts: Readonly<Record<string, string | undefined>>) => {
  const sentAt = new Date(texts[sentAtAttribute] ?? '');
  return {
    /** Null when it was not sent before. */
    firstSentAt: Number.isNaN(sentAt.getTime()) ? null : sentAt,
    goesOnAt: readPlace(texts[goesOnAttribute] ?? ''),
  };
};

/** An event that goes back to the events queue. */
export type RequeuedEvent = {
  /** The text of the event, as it came. */
  body: string;
  /** When the queue first took it: the place of its executions in the log may depend on that. */
  sentAt: Date;
  /** Only what is held behind a halting handler is to run of it, and it stands there. */
  goesOnAt?: Place;
};

/** An event that the queue did not take: its place in the list that was to be sent, and why. */
export type UnsentEvent = { index: number; error: Error };

/**
 * Sends events to the events queue again, as they came. Never rejects: what the queue did not take comes back with its
 * reason, and all others are in the queue then.
 */
export type EventRequeue = (events: readonly RequeuedEvent[]) => Promise<{ unsent: UnsentEvent[] }>;

type Entry = RequeuedEvent & { index: number; attributes: Record<string, string>; bytes: number };

/** @param queueUrl of the events queue */
export function createEventRequeue({ sqs, queueUrl }: { sqs: SQSClient; queueUrl: string }): EventRequeue {
  async function sendBatch(batch: readonly Entry[]): Promise<UnsentEvent[]> {
    try {
      const { Failed = [] } = await sqs.send(
        new SendMessageBatchCommand({
          QueueUrl: queueUrl,
          Entries: batch.map(({ index, body, attributes }) => ({
            Id: String(index),
            MessageBody: body,
            MessageAttributes: Object.fromEntries(
              Object.entries(attributes).map(([name, StringValue]) => [
                name,
                { DataType: 'String', StringValue },
              ]),
            ),
          })),
        }),
      );
      return Failed.map(({ Id, Code, Message }) => ({
        index: Number(Id),
        error: new Error(`The events queue did not take an event: ${Code} ${Message}`),
      }));
    } catch (cause) {
      const error = new Error(`The events queue did not take a batch: ${String(cause)}`, { cause });
      return batch.map(({ index }) => ({ index, error }));
    }
  }

  return async (events) => {
    const entries = events.map(toEntry);
    const batches = cutBatches(entries.filter(isSendable), ({ bytes }) => bytes);
    const unsent = await Promise.all(batches.map(sendBatch));
    const unsendable = entries.filter((entry) => !isSendable(entry)).map(refuse);
    return { unsent: [...unsendable, ...unsent.flat()].toSorted((a, b) => a.index - b.index) };
  };
}

function toEntry(event: RequeuedEvent, index: number): Entry {
  const attributes = attributesOf(event);
  return { ...event, index, attributes, bytes: Buffer.byteLength(event.body) + bytesOf(attributes) };
}

// What SQS never takes would fail its whole batch.
const isSendable = ({ body, bytes }: Entry): boolean => body !== '' && bytes <= maxEventBytes;

const refuse = ({ index, body }: Entry): UnsentEvent => ({
  index,
  error: new Error(
    `An event of ${Buffer.byteLength(body)} bytes cannot be sent: SQS takes 1 to ${maxEventBytes}.`,
  ),
});

// The largest events go without them: then the queue's own time of the second sending counts, which moves an execution by at
// most the hours in between, and only where the event's own time is far off.
function attributesOf({ body, sentAt, goesOnAt }: RequeuedEvent): Record<string, string> {
  const attributes = {
    [sentAtAttribute]: sentAt.toISOString(),
    ...(goesOnAt !== undefined && { [goesOnAttribute]: placeToString(goesOnAt) }),
  };
  return Buffer.byteLength(body) + bytesOf(attributes) <= maxEventBytes ? attributes : {};
}

// SQS counts name, type and value.
const bytesOf = (attributes: Record<string, string>): number =>
  Object.entries(attributes).reduce(
    (sum, [name, value]) => sum + Buffer.byteLength(`${name}String${value}`),
    0,
  );
