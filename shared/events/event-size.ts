import { randomBytes, randomUUID } from 'node:crypto';
import { maxEventBytes } from './envelope.ts';
import { maxStoredEventBytes, storageProblem } from './packed-text.ts';

// The bus writes the envelope: its id, account and region are others, so the event may compress a little worse than here.
const envelopeMargin = randomBytes(192).toString('base64');

/**
 * What of an event is larger than what is carried, although the bus takes it: queues carry so much, and with its executions so much is kept.
 * It would end as a dead letter. Null when it is small enough.
 *
 * @param event.detail as JSON
 */
export function oversizeOf({
  type,
  source,
  time,
  detail,
}: {
  type: string;
  source: string;
  time: Date;
  detail: string;
}): { what: string; maxBytes: number } | null {
  const envelope = JSON.stringify({
    version: '0',
    id: randomUUID(),
    'detail-type': type,
    source,
    account: '000000000000',
    time,
    region: 'us-east-1',
    resources: [],
  });
  const raw = `${envelope.slice(0, -1)},"detail":${detail}}${envelopeMargin}`;
  if (Buffer.byteLength(raw) > maxEventBytes) return { what: 'event', maxBytes: maxEventBytes };
  if (storageProblem(raw) !== null) return { what: 'compressed event', maxBytes: maxStoredEventBytes };
  return null;
}
