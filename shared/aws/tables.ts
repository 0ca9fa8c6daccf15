/**
 * The shape of the two tables, in one place for the stack that creates them, the engine that embeds them and
 * the stores that use them. Renaming anything here loses data of a deployed stack.
 */
export const handlersTable = {
  partitionKey: 'pk',
  sortKey: 'sk',
  /** As in the other table. Handlers have none. */
  expiry: 'expiresAt',
} as const;

/** The partitions of the audit trail in the handlers table begin like this; no function may change or delete what is in them. */
export const auditPartitionPrefix = 'AUDIT#';

export const executionsTable = {
  partitionKey: 'pk',
  sortKey: 'sk',
  /** Seconds since 1970. DynamoDB deletes late (within days), the embedded one never: reads filter by themselves. */
  expiry: 'expiresAt',
  /** Sparse: only what is not well has these attributes, so a success costs no index write. Keys only. */
  attention: {
    indexName: 'attention',
    partitionKey: 'attention',
    sortKey: 'attentionKey',
  },
} as const;

const secondsPerDay = 86_400;

/** The expiry of an item that is kept for so many days from `now` on. */
export const expiresAfter = (now: Date, days: number): number =>
  Math.floor(now.getTime() / 1000) + days * secondsPerDay;

/** Whether an item has expired, and is there only because it was not deleted yet. */
export const isExpired = (item: Readonly<Record<string, unknown>>, now: Date): boolean =>
  item['expiresAt'] !== undefined && (item['expiresAt'] as number) <= Math.floor(now.getTime() / 1000);
