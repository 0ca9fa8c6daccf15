import { eventsQueue } from '../../shared/aws/queues.ts';
import { drainDeadLetters, drainWakeUps } from '../../shared/dead-letters/drain.ts';
import type { Services } from './services.ts';

export type DrainedQueues = { deadLetters: number; deadWakeUps: number; problems: unknown[] };

/** Empties the dead-letter queues: what they hold cannot be listed there. Events become dead-letter rows, with the reason. */
export async function drainQueues(services: Services): Promise<DrainedQueues> {
  const { sqs, deadLetters, deadLetterQueues, executionLog, wakeUps, now } = services;
  const drain = (queueUrl: string, reason: string) =>
    drainDeadLetters({ sqs, deadLetters, queueUrl, reason });
  const { events, undelivered, retries } = deadLetterQueues;
  const [drainedEvents, drainedUndelivered, drainedWakeUps] = [
    await drain(
      events,
      `The dispatcher received it ${eventsQueue.maxReceiveCount} times and could not work it off; its log says why.`,
    ),
    undelivered === undefined
      ? nothing
      : await drain(undelivered, 'The bus could not put it into the events queue.'),
    await drainWakeUps({ sqs, queueUrl: retries, log: executionLog, wakeUps, now }),
  ];
  return {
    deadLetters: drainedEvents.count + drainedUndelivered.count,
    deadWakeUps: drainedWakeUps.count,
    problems: [drainedEvents, drainedUndelivered, drainedWakeUps].flatMap(({ problems }) => problems),
  };
}

// One machine has no bus that could fail to reach the queue.
const nothing = { count: 0, problems: [] };
