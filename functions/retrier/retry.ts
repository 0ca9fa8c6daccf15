import { NotFoundError } from '../../shared/errors.ts';
import { settleMarginMs } from '../../shared/executions/attempt.ts';
import type { WaitingExecution } from '../../shared/executions/claim.ts';
import { readKey } from '../../shared/executions/key.ts';
import type { ExecutionStatus } from '../../shared/executions/life-cycle.ts';
import { endWaiting } from '../../shared/executions/settle.ts';
import { WakeUp } from '../../shared/executions/wake-ups.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import { runAttempt, type AttemptResult } from './run-attempt.ts';
import type { Services } from './services.ts';

/** A message of the retries queue. */
export type Message = { id: string; body: string; sentAt: Date };

/** What became of a batch: one wide log line. */
export type RetryReport = {
  messages: number;
  /** Messages to be returned to the queue, because nothing about them is settled yet. */
  failedMessageIds: string[];
  /** Messages that are no wake-up calls. */
  deadLetters: number;
  /** Wake-up calls for what has changed since, or is somebody else's by now. */
  stale: number;
  /** Sent again, because the deadline was too near or the handler was not known yet. */
  putOff: number;
  /** What was written to the log, by status. */
  executions: Record<ExecutionStatus, number>;
  /** What went wrong on our side, each thing once. */
  problems: string[];
};

/** What one wake-up call led to. */
type Retried =
  | AttemptResult
  | { kind: 'dead-letter' }
  | { kind: 'failed'; messageId: string; error: unknown };

// SQS knows whole seconds, so a wake-up call comes up to a second early. Another second is for clocks that differ.
const maxEarlyMs = 2000;
// A handler that the registry does not know yet is a second old at most.
const unknownHandlerWaitMs = 1000;

/**
 * Works off a batch of wake-up calls: for each, look whether the execution still waits, claim it, make the attempt, settle,
 * write the log. A call that is stale does nothing: whoever changed the execution has sent another one.
 *
 * @param deadline when the invocation ends; no attempt begins that could outlive it
 */
export async function retryBatch(
  services: Services,
  messages: readonly Message[],
  deadline: Date,
): Promise<RetryReport> {
  const results = await Promise.all(
    messages.map((message) =>
      retryOne(services, message, deadline).catch((error: unknown): Retried => ({
        kind: 'failed',
        messageId: message.id,
        error,
      })),
    ),
  );
  // They say about how much ran: a batch is not done again for their sake.
  const uncounted = await services.hours.flush().then(
    (): unknown[] => [],
    (error: unknown) => [error],
  );

  const executions = { succeeded: 0, failed: 0, waiting: 0, held: 0 };
  const problems = uncounted;
  const failedMessageIds: string[] = [];
  for (const result of results) {
    if (result.kind === 'settled') {
      executions[result.status] += 1;
      if (result.unwoken !== null) problems.push(result.unwoken);
    }
    if (result.kind === 'failed') {
      failedMessageIds.push(result.messageId);
      problems.push(result.error);
    }
  }
  const count = (kind: Retried['kind']) => results.filter((result) => result.kind === kind).length;
  return {
    messages: messages.length,
    failedMessageIds,
    deadLetters: count('dead-letter'),
    stale: count('stale'),
    putOff: count('put-off'),
    executions,
    problems: [...new Set(problems.map(String))],
  };
}

async function retryOne(services: Services, message: Message, deadline: Date): Promise<Retried> {
  const { claims, wakeUps, deadLetters, now, delay } = services;
  const wakeUp = readWakeUp(message.body);
  if (wakeUp === null) {
    const { id, sentAt: receivedAt, body } = message;
    await deadLetters.record({ id, receivedAt, reason: 'Not a wake-up call of Handoff.', body });
    return { kind: 'dead-letter' };
  }
  const execution = await claims.readWaiting(wakeUp);
  if (execution === null || isStale(execution, wakeUp, now())) return { kind: 'stale' };
  const earlyMs = Date.parse(execution.record.state.nextAttemptAt) - now().getTime();
  if (earlyMs > 0) await delay(earlyMs);

  const registered = await findHandler(services, execution);
  if (registered === 'unknown') {
    await wakeUps.send(wakeUp, new Date(now().getTime() + unknownHandlerWaitMs));
    return { kind: 'put-off' };
  }
  if (typeof registered === 'string') return endExecution(services, execution, registered);

  const { type } = registered.handler.target;
  return services.turns[type](async () => {
    const result = await runAttempt(services, registered, execution, deadline);
    if (result.kind === 'put-off') await wakeUps.send(wakeUp, now());
    return result;
  });
}

function readWakeUp(body: string): WakeUp | null {
  try {
    return WakeUp.safeParse(JSON.parse(body)).data ?? null;
  } catch {
    return null; // Not JSON.
  }
}

const isStale = ({ record, claimedUntil }: WaitingExecution, { generation }: WakeUp, now: Date): boolean =>
  record.generation !== generation ||
  Date.parse(record.state.nextAttemptAt) - now.getTime() > maxEarlyMs ||
  (claimedUntil !== null && Date.parse(claimedUntil) > now.getTime());

/** The handler as it is now, or why no attempt can be made. */
async function findHandler(
  { currentRegistry, handlers }: Services,
  { record }: WaitingExecution,
): Promise<RegisteredHandler | 'disabled' | 'archived' | 'deleted' | 'unknown'> {
  const { handlerId } = readKey(record.key);
  const found = (await currentRegistry()).find(handlerId);
  if (found === null) {
    // The registry may be a second old, and the handler younger than that. To end its work is for good: look once more.
    const exists = await handlers.get(handlerId).then(
      () => true,
      (error: unknown) => {
        if (error instanceof NotFoundError) return false;
        throw error;
      },
    );
    return exists ? 'unknown' : 'deleted';
  }
  if (found === 'archived') return found;
  return found.handler.status === 'disabled' ? 'disabled' : found;
}

/** Holds or ends what waits for a handler that does not run any more. Claimed first, as every change of what waits. */
async function endExecution(
  { claims }: Services,
  execution: WaitingExecution,
  reason: 'disabled' | 'archived' | 'deleted',
): Promise<Retried> {
  const claim = await claims.claim(execution, settleMarginMs);
  if (claim === null) return { kind: 'stale' };
  const record = endWaiting(execution.record, reason);
  const { lost, unwoken } = await claims.settle(execution, record, claim);
  return lost ? { kind: 'stale' } : { kind: 'settled', status: record.state.status, unwoken };
}
