import { invokeTarget, type InvokeServices } from '../delivery/invoke.ts';
import { sentRequestOf } from '../delivery/request.ts';
import type { DomainEvent } from '../events/envelope.ts';
import type { Observe } from '../delivery/circuits.ts';
import type { DisableHandler } from '../handlers/disable-handler.ts';
import type { RegisteredHandler } from '../handlers/registry.ts';
import { unanswered, type Outcome } from '../delivery/outcome.ts';
import type { ExecutionRecord } from './execution.ts';
import { encodeExecutionId } from './key.ts';
import { waitsOf } from './retry-decision.ts';
import { settleAttempt, type Beginning } from './settle.ts';

/** What it takes to make an attempt and to decide what comes after it. */
export type AttemptServices = {
  targets: InvokeServices;
  now: () => Date;
  /** From 0 up to 1, for the jitter. */
  random: () => number;
  retryScale: number;
  disableHandler: DisableHandler;
  /** Makes the call, and learns from it how the target is. */
  observe: Observe;
};

// Nobody can tell whether the handler wanted the event. Its target must not get what it did not ask for, and what it did ask for is not lost: the
// execution can be recovered when the filter is mended.
const filterProblem = ({ filter }: RegisteredHandler): Outcome | null =>
  filter !== null && 'problem' in filter
    ? unanswered(`filter: ${filter.problem}`, { retryable: false })
    : null;

/** The time that is kept free after the longest call of an invocation, to settle and to write the log. */
export const settleMarginMs = 5000;

/**
 * Makes one attempt of an execution, the first or a later one, and gives the record to write.
 *
 * @param call what is done instead of calling the target, where the outcome is known without
 */
export async function makeAttempt(
  { targets, now, random, retryScale, disableHandler, observe }: AttemptServices,
  registered: RegisteredHandler,
  execution: Beginning | ExecutionRecord,
  event: DomainEvent,
  call: () => Outcome | Promise<Outcome> = () =>
    filterProblem(registered) ??
    invokeTarget(targets, {
      handler: registered.handler,
      signing: registered.signing,
      auth: registered.auth,
      event,
      execution: {
        id: encodeExecutionId(execution.key),
        attempt: ('attemptCount' in execution ? execution.attemptCount : 0) + 1,
      },
    }),
): Promise<ExecutionRecord> {
  const { handler } = registered;
  const startedAt = now();
  const isLater = 'attemptCount' in execution && execution.attemptCount > 0;
  const outcome = await observe(registered, { event, isLater }, async () => call());
  const endedAt = now();
  const isUnwanted = outcome.kind !== 'put-off' && outcome.demand === 'disable';
  const handlerIs = isUnwanted ? await disableHandler(handler, 'gone', event) : 'as-called';
  return settleAttempt(
    { ...execution, handlerName: handler.name },
    {
      outcome,
      sent: sentRequestOf(handler),
      startedAt,
      endedAt,
      handlerIs,
      waits: waitsOf(handler.retry.schedule),
      random: random(),
      scale: retryScale,
    },
  );
}
