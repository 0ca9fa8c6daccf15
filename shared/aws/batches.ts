/** SendMessageBatch and PutEvents take so many entries, and all of them together so many bytes. */
const maxEntries = 10;
const maxBatchBytes = 1_048_576;

/**
 * Divides entries, in their order, into as few batches as SQS or EventBridge take. One that is larger than a batch may be has one of its own, for the
 * service to refuse.
 *
 * @param bytesOf the size of an entry as the service counts it
 */
export function cutBatches<Entry>(
  entries: readonly Entry[],
  bytesOf: (entry: Entry) => number,
): [Entry, ...Entry[]][] {
  const batches: [Entry, ...Entry[]][] = [];
  let room = 0;
  for (const entry of entries) {
    const bytes = bytesOf(entry);
    const last = batches.at(-1);
    if (last === undefined || last.length === maxEntries || bytes > room) {
      batches.push([entry]);
      room = maxBatchBytes - bytes;
    } else {
      last.push(entry);
      room -= bytes;
    }
  }
  return batches;
}
