import { randomUUID } from 'node:crypto';
import { startReceiver } from '../support/http-server.ts';

export type PutEventsEntry = Record<'EventBusName' | 'Source' | 'DetailType' | 'Detail', string> & {
  Time: number;
};

/** An EventBridge that takes every event, but those of the type `bus.full`. It is this thread's from here on. */
export async function startBus() {
  let published: PutEventsEntry[] = [];
  let isRefused: (entry: PutEventsEntry) => boolean = () => false;
  const receiver = await startReceiver(({ body }, response) => {
    const { Entries } = JSON.parse(body) as { Entries: PutEventsEntry[] };
    published.push(...Entries);
    const taken = Entries.map((entry) =>
      isRefused(entry) || entry.DetailType === 'bus.full'
        ? { ErrorCode: 'ThrottlingException', ErrorMessage: 'inner words' }
        : { EventId: randomUUID() },
    );
    const FailedEntryCount = taken.filter((entry) => 'ErrorCode' in entry).length;
    response
      .writeHead(200, { 'content-type': 'application/x-amz-json-1.1' })
      .end(JSON.stringify({ FailedEntryCount, Entries: taken }));
  });
  process.env['AWS_ENDPOINT_URL_EVENTBRIDGE'] = receiver.url;
  return {
    /** Oldest first. */
    published: () => published,
    /** From now on it does not take these, until `clear`; nothing at all unless a test picks. */
    refuse(which: (entry: PutEventsEntry) => boolean = () => true) {
      isRefused = which;
    },
    clear() {
      published = [];
      isRefused = () => false;
    },
    close: receiver.close,
  };
}
