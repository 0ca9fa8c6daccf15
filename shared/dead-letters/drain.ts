import {
  DeleteMessageBatchCommand,
  ReceiveMessageCommand,
  type Message,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import type { ExecutionKey } from '../executions/key.ts';
import type { ExecutionStatus } from '../executions/life-cycle.ts';
import { readWakeUp, type WakeUps } from '../executions/wake-ups.ts';
import type { DeadLetters } from './dead-letters.ts';
import { sentAtAttribute } from '../executions/requeue.ts';

/** What became of a queue of dead messages. */
export type Drained = {
  /** Messages that are gone from the queue. */
  count: number;
  /** What went wrong. What it concerns is still in the queue and comes back. */
  problems: Error[];
};

export type DeadQueue = { sqs: SQSClient; queueUrl: string };

// Limit of ReceiveMessage and of DeleteMessageBatch.
const maxMessages = 10;
/** What one run takes at most; the rest is for the next one. */
export const maxDrained = 200;

// With these, EventBridge says why it could not deliver an event:
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
const errorCodeAttribute = 'ERROR_CODE';
const errorMessageAttribute = 'ERROR_MESSAGE';
const maxErrorLength = 1000;

/**
 * Moves the messages of a queue's dead-letter queue into rows, which can be listed, as a queue cannot. A message is deleted
 * only after its row is stored. Never rejects.
 *
 * @param reason a sentence: why messages end there. What EventBridge says of an event that it could not deliver is added
 */
export const drainDeadLetters = ({
  deadLetters,
  reason,
  ...queue
}: DeadQueue & { deadLetters: Pick<DeadLetters, 'record'>; reason: string }): Promise<Drained> =>
  drain(queue, ({ MessageId: id = '', Body: body = '', Attributes, MessageAttributes }) => {
    const texts = textsOf(MessageAttributes);
    return deadLetters.record({
      id,
      receivedAt: firstSentAt(texts.get(sentAtAttribute), Attributes?.SentTimestamp),
      reason: `${reason}${deliveryError(texts)}`,
      body,
    });
  });

/**
 * Empties the dead-letter queue of wake-up calls. They are thrown away, since what they were for waits in the table and is woken again; but not one
 * whose execution has succeeded: its event may not have gone on yet to those behind a halting handler, and nobody else would see to that. It
 * is sent once more, until it is worked off or its execution has expired. Never rejects.
 *
 * @param log says where an execution stands; null when it is not in there
 */
export const drainWakeUps = ({
  log,
  wakeUps,
  now,
  ...queue
}: DeadQueue & {
  log: { statusOf: (key: ExecutionKey) => Promise<ExecutionStatus | null> };
  wakeUps: Pick<WakeUps, 'send'>;
  now: () => Date;
}): Promise<Drained> =>
  drain(queue, async ({ Body: body = '' }) => {
    const wakeUp = readWakeUp(body);
    if (wakeUp !== null && (await log.statusOf(wakeUp)) === 'succeeded') await wakeUps.send(wakeUp, now());
  });

/** Receives messages, has each of them kept, and deletes those that are. */
async function drain(queue: DeadQueue, keep: (message: Message) => Promise<void>): Promise<Drained> {
  const problems: Error[] = [];
  let count = 0;
  // What goes wrong is likely to be the fault of the table or the queue: the next messages would wait for it too.
  while (count < maxDrained && problems.length === 0) {
    try {
      const messages = await receiveMessages(queue);
      if (messages.length === 0) break;
      const results = await Promise.allSettled(messages.map(keep));
      for (const [index, result] of results.entries()) {
        if (result.status === 'rejected') problems.push(unkept(messages[index], result.reason));
      }
      const kept = messages.filter((_, index) => results[index]?.status === 'fulfilled');
      const undeleted = await deleteMessages(queue, kept);
      problems.push(...undeleted);
      count += kept.length - undeleted.length;
    } catch (cause) {
      problems.push(
        new Error(`The queue ${queue.queueUrl} could not be drained: ${String(cause)}`, { cause }),
      );
    }
  }
  return { count, problems };
}

async function receiveMessages({ sqs, queueUrl }: DeadQueue): Promise<Message[]> {
  const { Messages = [] } = await sqs.send(
    new ReceiveMessageCommand({
      QueueUrl: queueUrl,
      MaxNumberOfMessages: maxMessages,
      MessageSystemAttributeNames: ['SentTimestamp'],
      MessageAttributeNames: [sentAtAttribute, errorCodeAttribute, errorMessageAttribute],
    }),
  );
  return Messages;
}

const unkept = (message: Message | undefined, cause: unknown): Error =>
  new Error(`The dead message ${message?.MessageId} could not be kept: ${String(cause)}`, { cause });

async function deleteMessages({ sqs, queueUrl }: DeadQueue, messages: readonly Message[]): Promise<Error[]> {
  if (messages.length === 0) return [];
  const { Failed = [] } = await sqs.send(
    new DeleteMessageBatchCommand({
      QueueUrl: queueUrl,
      Entries: messages.map(({ ReceiptHandle }, index) => ({ Id: String(index), ReceiptHandle })),
    }),
  );
  return Failed.map(({ Id, Code, Message: text }) => {
    const id = messages[Number(Id)]?.MessageId;
    return new Error(`The dead message ${id} was not deleted: ${Code} ${text}`);
  });
}

const textsOf = (attributes: Message['MessageAttributes'] = {}): ReadonlyMap<string, string> =>
  new Map(Object.entries(attributes).map(([name, { StringValue = '' }]) => [name, StringValue]));

/** When the queue first took a message: in milliseconds as SQS says it, unless the message was sent again. */
function firstSentAt(sentAt: string | undefined, sentTimestamp: string | undefined): Date {
  const first = new Date(sentAt ?? '');
  return Number.isNaN(first.getTime()) ? new Date(Number(sentTimestamp)) : first;
}

function deliveryError(texts: ReadonlyMap<string, string>): string {
  const said = [texts.get(errorCodeAttribute), texts.get(errorMessageAttribute)].filter(
    (text) => text !== undefined && text !== '',
  );
  return said.length === 0 ? '' : ` The bus said: ${said.join(': ').slice(0, maxErrorLength)}`;
}
