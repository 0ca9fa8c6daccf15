import { eventsQueue } from '../../shared/aws/queues.ts';
import { discardWakeUps, drainDeadLetters, type Drained } from '../../shared/events/drain.ts';
import type { Services } from './services.ts';

export type DrainedQueues = { deadLetters: number; deadWakeUps: number; problems: unknown[] };

/**
 * Empties the dead-letter queues: what they hold cannot be listed there. Events become dead-letter rows, with the reason.
 * Wake-up calls are worth nothing, since what they were for waits in the table and is woken again.
 */
export async function drainQueues({ sqs, deadLetters, deadLetterQueues }: Services): Promise<DrainedQueues> {
  const { events, undelivered, retries } = deadLetterQueues;
  const drainedEvents = [
    await drained(() =>
      drainDeadLetters({
        sqs,
        deadLetters,
        queueUrl: events,
        reason: `The dispatcher received it ${eventsQueue.maxReceiveCount} times and could not work it off; its log says why.`,
      }),
    ),
    undelivered === undefined
      ? none
      : await drained(() =>
          drainDeadLetters({
            sqs,
            deadLetters,
            queueUrl: undelivered,
            reason: 'The bus could not put it into the events queue.',
          }),
        ),
  ];
  const wakeUps = await drained(() => discardWakeUps({ sqs, queueUrl: retries }));
  return {
    deadLetters: drainedEvents.reduce((sum, { count }) => sum + count, 0),
    deadWakeUps: wakeUps.count,
    problems: [...drainedEvents, wakeUps].flatMap(({ problems }) => problems),
  };
}

const none = { count: 0, problems: [] };

// One queue that cannot be read must not keep the others full.
const drained = (drain: () => Promise<Drained>): Promise<{ count: number; problems: unknown[] }> =>
  drain().catch((error: unknown) => ({ count: 0, problems: [error] }));
