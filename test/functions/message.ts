import type { Message } from '../../functions/dispatcher/dispatch.ts';
import type { Queue } from '../../local/queue.ts';
import { readAttributes } from '../../shared/executions/requeue.ts';

/** A message of the events queue, as the dispatcher gets it. */
export function messageFrom({
  messageId,
  body,
  attributes,
  sentAt,
  receiveCount,
}: ReturnType<Queue['receive']>[number]): Message {
  const { firstSentAt, goesOnAt } = readAttributes(attributes);
  return {
    id: messageId,
    body,
    sentAt: firstSentAt ?? new Date(sentAt),
    receives: receiveCount,
    sentAgain: firstSentAt !== null,
    goesOnAt,
  };
}
