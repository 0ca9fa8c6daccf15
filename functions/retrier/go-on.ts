import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { placeIn, readKey, sentAtOf } from '../../shared/executions/key.ts';
import type { Services } from './services.ts';

// A dispatcher may know a handler as it was a second before, by a clock of its own.
const registryLagMs = 60_000;

/**
 * Sends the event of an execution that has succeeded to the dispatcher again, if its handler halts those behind it, or may have done so when the
 * execution began: they run now. To be done before the wake-up call is acknowledged. Throws when the queue does not take it; the call comes again then.
 */
export async function goOn(
  { currentRegistry, keeping, requeue }: Services,
  { key, event, startedAt }: ExecutionRecord,
): Promise<void> {
  const { handlerId } = readKey(key);
  const found = (await currentRegistry()).find(handlerId);
  if (found === null || found === 'archived') return;
  const { onFailure, updatedAt } = found.handler;
  const wasEdited = Date.parse(updatedAt) > Date.parse(startedAt) - registryLagMs;
  if (onFailure !== 'halt' && !wasEdited) return;
  const { text: body } = await keeping.reveal(event);
  // The place alone would do; but of a dead letter only the time is left.
  const { unsent } = await requeue([{ body, sentAt: sentAtOf(key, event), goesOnAt: placeIn(key) }]);
  for (const { error } of unsent) throw error;
}
