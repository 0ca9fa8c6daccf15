import { setTimeout as sleep } from 'node:timers/promises';
import {
  PutEventsCommand,
  type EventBridgeClient,
  type PutEventsRequestEntry,
  type PutEventsResultEntry,
} from '@aws-sdk/client-eventbridge';
import { cutBatches } from '../aws/batches.ts';

/** What became of one entry. */
export type PutResult =
  | { id: string }
  /** `isUnknown`: the call itself failed, so the bus may have taken the entry all the same. */
  | { error: Error; isUnknown: boolean };

// 100, 200, 400 and 800 ms, each with half of it at random: callers that were throttled together come back apart.
const defaultTries = 5;
const firstWaitMs = 100;

/**
 * Puts entries on a bus, as many a call as it takes. Entries that it could not take for now are put once more, those alone. Never rejects. After a
 * call that failed as a whole, although the client has repeated it, nothing more is sent: a bus that is away is not asked again for each batch.
 *
 * @param options.tries how often an entry is put at most
 * @returns what became of each entry, in their order
 */
export async function putEvents(
  client: EventBridgeClient,
  entries: readonly PutEventsRequestEntry[],
  { tries = defaultTries, delay = sleep }: { tries?: number; delay?: (ms: number) => Promise<unknown> } = {},
): Promise<PutResult[]> {
  const results: PutResult[] = entries.map(() => ({ error: notSent, isUnknown: false }));
  const placed = entries.map((entry, index) => ({ entry, index }));
  for (const batch of cutBatches(placed, ({ entry }) => entryBytes(entry))) {
    let left: typeof placed = batch;
    for (let tried = 1; left.length > 0; tried++) {
      const answers = await putBatch(
        client,
        left.map(({ entry }) => entry),
      );
      for (const [position, { index }] of left.entries()) results[index] = toResult(answers, position);
      if (answers instanceof Error) return results;
      left = left.filter((_, position) => isForNow(answers[position]?.ErrorCode));
      if (tried >= tries) break;
      if (left.length > 0) await delay(firstWaitMs * 2 ** (tried - 1) * (0.5 + Math.random() / 2));
    }
  }
  return results;
}

const notSent = new Error('It was not sent: a call before it failed.');

async function putBatch(
  client: EventBridgeClient,
  entries: PutEventsRequestEntry[],
): Promise<PutEventsResultEntry[] | Error> {
  try {
    // Answers 200 even when it took nothing: what counts stands in the entries.
    const { Entries = [] } = await client.send(new PutEventsCommand({ Entries: entries }));
    return Entries;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function toResult(answers: PutEventsResultEntry[] | Error, position: number): PutResult {
  if (answers instanceof Error) return { error: answers, isUnknown: true };
  const { EventId, ErrorCode, ErrorMessage } = answers[position] ?? {};
  return EventId === undefined
    ? {
        error: new Error(`${ErrorCode ?? 'no answer'}: ${ErrorMessage ?? 'the entry has no id'}`),
        isUnknown: false,
      }
    : { id: EventId };
}

// The others say that the entry is wrong, or that this caller may not put it.
const isForNow = (code: string | undefined): boolean =>
  code !== undefined && /Throttl|InternalFailure|InternalException|ServiceUnavailable/u.test(code);

/** The size of an entry as EventBridge counts it: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html */
const entryBytes = ({ Source, DetailType, Detail, Time, Resources = [] }: PutEventsRequestEntry): number =>
  [Source, DetailType, Detail, ...Resources].reduce(
    (bytes, text) => bytes + Buffer.byteLength(text ?? ''),
    Time === undefined ? 0 : 14,
  );
