import { SendMessageBatchCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { z } from 'zod';
import { maxDelaySeconds } from '../aws/queues.ts';
import type { ExecutionRecord } from './execution.ts';
import { ridesInQueue, wakeAt } from './retry-decision.ts';

// Twice as long as any is. What DynamoDB cannot have for a key (2048 and 1024 bytes) it answers with an error, each time.
const keyPart = z.string().min(1).max(300);

/**
 * What the retries queue carries: that it is time for the next attempt of an execution. What waits is data, this is only a
 * call to look at it: a stale or doubled one does nothing, a lost one is found by the sweeper.
 */
export const WakeUp = z.strictObject({
  pk: keyPart,
  sk: keyPart,
  /** A wake-up call for an earlier generation is stale. Null where it is not known: then it is for any. */
  generation: z.int().nullable(),
  /** The token of a probe: the execution is parked, and this attempt asks whether its target is back. */
  probe: z.string().optional(),
});
export type WakeUp = z.output<typeof WakeUp>;

/** Null for a text that is no wake-up call. */
export function readWakeUp(body: string): WakeUp | null {
  try {
    return WakeUp.safeParse(JSON.parse(body)).data ?? null;
  } catch {
    return null; // Not JSON.
  }
}

export type WakeUps = ReturnType<typeof createWakeUps>;

// Limit of SendMessageBatch.
const maxEntries = 10;
// How long a call waits for others to share its request.
const lingerMs = 20;

type Pending = { wakeUp: WakeUp; due: Date; resolve: () => void; reject: (error: unknown) => void };

/** Sends wake-up calls, several in one request. */
export function createWakeUps({ sqs, queueUrl, now }: { sqs: SQSClient; queueUrl: string; now: () => Date }) {
  let pending: Pending[] = [];
  let linger: NodeJS.Timeout | undefined;

  /**
   * Resolves when the queue has the call, and rejects when it does not: then the sweeper will send one. SQS knows whole
   * seconds only, so a call comes up to a second early, never late.
   *
   * @param due at most 15 minutes from now, or the call comes too early and is dropped
   */
  function send(wakeUp: WakeUp, due: Date): Promise<void> {
    return new Promise((resolve, reject) => {
      pending.push({ wakeUp, due, resolve, reject });
      if (pending.length >= maxEntries) sendPending();
      else linger ??= setTimeout(sendPending, lingerMs);
    });
  }

  /**
   * Sends the wake-up call of an execution that was just written, where it waits and the queue can wait so long.
   *
   * @param lateMs how late its last one has come
   */
  async function sendFor(
    { key, state, generation }: Pick<ExecutionRecord, 'key' | 'state' | 'generation'>,
    { lateMs = 0 }: { lateMs?: number } = {},
  ): Promise<void> {
    if (!('nextAttemptAt' in state)) return;
    if (ridesInQueue(new Date(state.nextAttemptAt), now()))
      await send({ ...key, generation }, wakeAt(state, lateMs));
  }

  function sendPending(): void {
    clearTimeout(linger);
    linger = undefined;
    const calls = pending;
    pending = [];
    sendBatch(calls).catch((cause: unknown) => {
      const error = new Error(`The retries queue did not take wake-up calls: ${String(cause)}`, { cause });
      for (const { reject } of calls) reject(error);
    });
  }

  async function sendBatch(calls: readonly Pending[]): Promise<void> {
    const { Failed = [] } = await sqs.send(
      new SendMessageBatchCommand({
        QueueUrl: queueUrl,
        Entries: calls.map(({ wakeUp, due }, index) => ({
          Id: String(index),
          MessageBody: JSON.stringify(wakeUp),
          DelaySeconds: delaySeconds(due),
        })),
      }),
    );
    for (const [index, { resolve, reject }] of calls.entries()) {
      const failure = Failed.find(({ Id }) => Id === String(index));
      if (failure === undefined) resolve();
      else
        reject(
          new Error(`The retries queue did not take a wake-up call: ${failure.Code} ${failure.Message}`),
        );
    }
  }

  const delaySeconds = (due: Date): number =>
    Math.min(maxDelaySeconds, Math.max(0, Math.floor((due.getTime() - now().getTime()) / 1000)));

  return { send, sendFor };
}
