import { SendMessageBatchCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { maxEventBytes } from './envelope.ts';

/** The message attribute of an event that was sent again: when the queue first took it, in ISO 8601. */
export const sentAtAttribute = 'sentAt';

/** An event that goes back to the events queue. */
export type RequeuedEvent = {
  /** The text of the event, as it came. */
  body: string;
  /** When the queue first took it: the place of its executions in the log may depend on that. */
  sentAt: Date;
};

/** An event that the queue did not take: its place in the list that was to be sent, and why. */
export type UnsentEvent = { index: number; error: Error };

/**
 * Sends events to the events queue again, as they came. Never rejects: what the queue did not take comes back with its
 * reason, and all others are in the queue then.
 */
export type EventRequeue = (events: readonly RequeuedEvent[]) => Promise<{ unsent: UnsentEvent[] }>;

// Limits of SendMessageBatch: so many messages, and all of them together no more bytes than a single one.
const maxEntries = 10;
const maxBatchBytes = maxEventBytes;

// SQS counts name, type and value; an ISO time has 24 characters.
const attributeBytes = `${sentAtAttribute}String`.length + 24;

type Entry = RequeuedEvent & { index: number };

/** @param queueUrl of the events queue */
export function createEventRequeue({ sqs, queueUrl }: { sqs: SQSClient; queueUrl: string }): EventRequeue {
  async function sendBatch(batch: readonly Entry[]): Promise<UnsentEvent[]> {
    try {
      const { Failed = [] } = await sqs.send(
        new SendMessageBatchCommand({
          QueueUrl: queueUrl,
          Entries: batch.map(({ index, body, sentAt }) => ({
            Id: String(index),
            MessageBody: body,
            ...(hasRoomForAttribute(body) && {
              MessageAttributes: {
                [sentAtAttribute]: { DataType: 'String', StringValue: sentAt.toISOString() },
              },
            }),
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
    const { batches, unsent } = batchesOf(events);
    const results = await Promise.all(batches.map(sendBatch));
    return { unsent: [...unsent, ...results.flat()].toSorted((a, b) => a.index - b.index) };
  };
}

// The largest events go without it: then the queue's own time of the second sending counts, which moves an execution by at
// most the hours in between, and only where the event's own time is far off.
const hasRoomForAttribute = (body: string): boolean =>
  Buffer.byteLength(body) + attributeBytes <= maxEventBytes;

/** Divides events into batches that SQS takes. What it could never take would fail its whole batch, so it is left out. */
function batchesOf(events: readonly RequeuedEvent[]): { batches: Entry[][]; unsent: UnsentEvent[] } {
  const batches: Entry[][] = [];
  const unsent: UnsentEvent[] = [];
  let room = 0;
  for (const [index, event] of events.entries()) {
    const bodyBytes = Buffer.byteLength(event.body);
    if (bodyBytes === 0 || bodyBytes > maxEventBytes) {
      const error = new Error(
        `An event of ${bodyBytes} bytes cannot be sent: SQS takes 1 to ${maxEventBytes}.`,
      );
      unsent.push({ index, error });
      continue;
    }
    const bytes = Math.min(bodyBytes + attributeBytes, maxBatchBytes);
    const last = batches.at(-1);
    const entry = { ...event, index };
    if (last === undefined || last.length === maxEntries || bytes > room) {
      batches.push([entry]);
      room = maxBatchBytes - bytes;
    } else {
      last.push(entry);
      room -= bytes;
    }
  }
  return { batches, unsent };
}
