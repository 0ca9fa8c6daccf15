import { eventsQueue } from '../../shared/aws/queues.ts';
import { discardWakeUps, drainDeadLetters } from '../../shared/events/drain.ts';
import type { Services } from './services.ts';

export type DrainedQueues = { deadLetters: number; deadWakeUps: number; problems: unknown[] };

/**
 * Empties the dead-letter queues: what they hold cannot be listed there. Events become dead-letter rows, with the reason.
 * Wake-up calls are worth nothing, since what they were for waits in the table and is woken again.
 */
export async function drainQueues({ sqs, deadLetters, deadLetterQueues }: Services): Promise<DrainedQueues> {
  const drain = (queueUrl: string, reason: string) =>
    drainDeadLetters({ sqs, deadLetters, queueUrl, reason });
  const { events, undelivered, retries } = deadLetterQueues;
  const [drainedEvents, drainedUndelivered, wakeUps] = [
    await drain(
      events,
      `The dispatcher received it ${eventsQueue.maxReceiveCount} times and could not work it off; its log says why.`,
    ),
    undelivered === undefined
      ? nothing
      : await drain(undelivered, 'The bus could not put it into the events queue.'),
    await discardWakeUps({ sqs, queueUrl: retries }),
  ];
  return {
    deadLetters: drainedEvents.count + drainedUndelivered.count,
    deadWakeUps: wakeUps.count,
    problems: [drainedEvents, drainedUndelivered, wakeUps].flatMap(({ problems }) => problems),
  };
}

// One machine has no bus that could fail to reach the queue.
const nothing = { count: 0, problems: [] };
