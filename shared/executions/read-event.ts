import { parseEvent, type DomainEvent } from '../events/envelope.ts';
import { UnreadableEventError, type Keeping } from '../events/keeping.ts';
import type { ExecutionRecord } from './execution.ts';

/** An event, and why it cannot be sent any more: then it is as it is kept, without what is redacted. */
export type ReadEvent = { event: DomainEvent; problem: string | null };

/** The event of an execution, which was read once when it came. Rejects when there is no data key now. */
export async function readEvent(
  keeping: Pick<Keeping, 'reveal'>,
  stored: ExecutionRecord['event'],
): Promise<ReadEvent> {
  try {
    const { text, values } = await keeping.reveal(stored);
    return { event: eventIn(text, { ...stored, values }), problem: null };
  } catch (error) {
    if (!(error instanceof UnreadableEventError)) throw error;
    return { event: eventIn(stored.raw, { ...stored, values: [] }), problem: error.message };
  }
}

function eventIn(text: string, kept: NonNullable<DomainEvent['kept']>): DomainEvent {
  const parsed = parseEvent(text);
  if (!parsed.ok) throw new Error(`The event of an execution cannot be read: ${parsed.reason}`);
  return { ...parsed.event, kept };
}
