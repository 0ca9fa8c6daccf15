import { hash } from 'node:crypto';
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord, SQSRecordAttributes } from 'aws-lambda';
import { log } from '../shared/log.ts';
import { accountId, region } from './aws-identity.ts';
import { lambdaContext } from './lambda-context.ts';
import { attributeType, type Message, type Queue } from './queue.ts';

/** SQS would hand a failed message out again after its whole visibility timeout, 18 minutes; see releaseSeconds. */
const firstReleaseSeconds = 5;
const maxReleaseSeconds = 900;
/** A batch that takes three times as long as is usual waits for a slow target; what takes no longer than this does not. */
const minSlowMs = 150;
const usualTimes = 3;
/** How much a batch counts for what is usual, and the longest that it counts as: one may take as long as a function may. */
const usualShare = 0.2;
const maxUsualMs = 1000;
/** How long a queue that cannot be read (a full disk) is left alone. */
const queueErrorPauseMs = 1000;

export type SqsHandler = (event: SQSEvent, context: Context) => Promise<SQSBatchResponse>;

export type EventSourceOptions = {
  queue: Queue;
  handler: SqsHandler;
  functionName: string;
  /** At most this many messages in one call of the handler. */
  batchSize?: number;
  /**
   * How many batches run side by side. Batch size times batches is what is delivered twice after a kill -9, so
   * it is kept small; a batch that only waits for slow targets does not count, or a slow one would stop the rest.
   */
  batches?: number;
  /** The most batches under way, the waiting ones among them. */
  maxBatches?: number;
  /** As in AWS, a call that takes longer has failed. Unlike there it cannot be stopped: its result is ignored. */
  timeoutMs?: number;
  /** Multiplies the wait of a failed message; below 1 for tests only. */
  retryScale?: number;
};

export type EventSource = {
  /**
   * Takes no more messages and waits up to `graceMs` for the batches under way. Resolves to how many did not
   * end: their messages are in flight, and visible again when the queue is next opened.
   */
  stop(graceMs: number): Promise<number>;
};

// SQS's own attribute; the id of whoever sent the message.
const senderId = 'AIDAIENQZJOLO23YVJ4VO';

const queueArn = (name: string): string => `arn:aws:sqs:${region}:${accountId}:${name}`;

/** What SQS itself says about a message, in its own words. */
export const systemAttributes = (message: Message): SQSRecordAttributes => ({
  ApproximateReceiveCount: String(message.receiveCount),
  SentTimestamp: String(message.sentAt),
  SenderId: senderId,
  ApproximateFirstReceiveTimestamp: String(message.firstReceivedAt),
  ...(message.deadLetterSource !== null && {
    DeadLetterQueueSourceArn: queueArn(message.deadLetterSource),
  }),
});

function sqsRecord(message: Message, queueName: string): SQSRecord {
  return {
    messageId: message.messageId,
    receiptHandle: message.receiptHandle,
    body: message.body,
    attributes: systemAttributes(message),
    messageAttributes: Object.fromEntries(
      Object.entries(message.attributes).map(([name, stringValue]) => [
        name,
        { stringValue, stringListValues: [], binaryListValues: [], dataType: attributeType },
      ]),
    ),
    md5OfBody: hash('md5', message.body),
    eventSource: 'aws:sqs',
    eventSourceARN: queueArn(queueName),
    awsRegion: region,
  };
}

/**
 * The ids that failed, or null when the answer fails the whole batch. What counts as which is Lambda's rule:
 * https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
 */
function failedIds(answer: unknown, messages: readonly Message[]): ReadonlySet<string> | null {
  if (answer === null || answer === undefined) return new Set();
  if (typeof answer !== 'object' || Array.isArray(answer)) return null;
  const failures: unknown = 'batchItemFailures' in answer ? answer.batchItemFailures : null;
  if (failures === null || failures === undefined) return new Set();
  if (!Array.isArray(failures)) return null;
  const known = new Set(messages.map(({ messageId }) => messageId));
  const failed = new Set<string>();
  for (const failure of failures as unknown[]) {
    const isEntry = typeof failure === 'object' && failure !== null && 'itemIdentifier' in failure;
    const id = isEntry ? failure.itemIdentifier : null;
    if (typeof id !== 'string' || !known.has(id)) return null;
    failed.add(id);
  }
  return failed;
}

/**
 * How long a failed message waits: 5 s, doubled with every receive, at most 15 min. SQS would wait for what is
 * left of the visibility timeout, which is long because AWS wants it six times as long as the function's time limit.
 */
function releaseSeconds(receiveCount: number, retryScale: number): number {
  return Math.min(firstReleaseSeconds * 2 ** (receiveCount - 1), maxReleaseSeconds) * retryScale;
}

/**
 * Does what Lambda's event source mapping does: takes batches from a queue, calls the handler with them, deletes
 * what succeeded and hands back what failed.
 */
export function startEventSource({
  queue,
  handler,
  functionName,
  batchSize = 50,
  batches = 2,
  maxBatches = 32,
  timeoutMs = 180_000,
  retryScale = 1,
}: EventSourceOptions): EventSource {
  const underWay = new Set<Promise<void>>();
  let briskCount = 0;
  let usualMs = 0;
  let isStopped = false;
  let pause: NodeJS.Timeout | undefined;

  const mayTakeMore = (): boolean => !isStopped && briskCount < batches && underWay.size < maxBatches;

  function takeBatches(): void {
    if (pause !== undefined) return;
    try {
      while (mayTakeMore()) {
        const messages = queue.receive(batchSize);
        if (messages.length === 0) return;
        const running = runBatch(messages).finally(() => {
          underWay.delete(running);
          takeBatches();
        });
        underWay.add(running);
      }
    } catch (error) {
      log.error('queue.unreadable', { queue: queue.name, error });
      pause = setTimeout(() => {
        pause = undefined;
        takeBatches();
      }, queueErrorPauseMs);
    }
  }

  async function runBatch(messages: readonly Message[]): Promise<void> {
    let isBrisk = true;
    briskCount += 1;
    const noLongerBrisk = (): void => {
      if (isBrisk) briskCount -= 1;
      isBrisk = false;
    };
    const startedMs = performance.now();
    const slowTimer = setTimeout(
      () => {
        noLongerBrisk();
        takeBatches();
      },
      Math.max(minSlowMs, usualTimes * usualMs),
    );
    try {
      settle(messages, await invoke(messages));
    } catch (error) {
      // The queue failed, not the handler. The messages stay in flight and come back.
      log.error('batch.unsettled', { queue: queue.name, error });
    } finally {
      clearTimeout(slowTimer);
      noLongerBrisk();
      usualMs += usualShare * (Math.min(maxUsualMs, performance.now() - startedMs) - usualMs);
    }
  }

  async function invoke(messages: readonly Message[]): Promise<ReadonlySet<string> | null> {
    const event = { Records: messages.map((message) => sqsRecord(message, queue.name)) };
    const timeLimit = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => timeLimit.reject(new Error(`The function ran for more than ${timeoutMs / 1000} seconds.`)),
      timeoutMs,
    );
    try {
      const call = Promise.resolve(handler(event, lambdaContext(functionName, timeoutMs)));
      const answer = await Promise.race([call, timeLimit.promise]);
      const failed = failedIds(answer, messages);
      if (failed === null)
        log.error('batch.malformed-answer', { functionName, answer: JSON.stringify(answer) });
      return failed;
    } catch (error) {
      log.error('batch.failed', { functionName, messageCount: messages.length, error });
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  function settle(messages: readonly Message[], failed: ReadonlySet<string> | null): void {
    const isFailed = ({ messageId }: Message): boolean => failed === null || failed.has(messageId);
    const succeeded = messages.filter((message) => !isFailed(message));
    if (succeeded.length > 0) queue.delete(succeeded.map(({ receiptHandle }) => receiptHandle));
    for (const message of messages) {
      if (!isFailed(message)) continue;
      queue.changeVisibility([message.receiptHandle], releaseSeconds(message.receiveCount, retryScale));
    }
  }

  const stopListening = queue.onMessage(takeBatches);
  takeBatches();

  return {
    async stop(graceMs) {
      isStopped = true;
      stopListening();
      clearTimeout(pause);
      const grace = Promise.withResolvers<void>();
      const timer = setTimeout(grace.resolve, graceMs);
      await Promise.race([Promise.all(underWay), grace.promise]);
      clearTimeout(timer);
      return underWay.size;
    },
  };
}
