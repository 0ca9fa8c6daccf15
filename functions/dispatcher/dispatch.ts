import { parseEvent, type DomainEvent } from '../../shared/events/envelope.ts';
import { storageProblem } from '../../shared/executions/item.ts';
import { executionKey, keyToString, type ExecutionKey } from '../../shared/executions/key.ts';
import type { ExecutionStatus } from '../../shared/executions/life-cycle.ts';
import type { RegisteredHandler } from '../../shared/handlers/registry.ts';
import { runHandler } from './run-handler.ts';
import type { Services } from './services.ts';

/** A queue message, as far as the dispatcher cares. */
export type Message = {
  id: string;
  body: string;
  /** When the queue took it: the same on every redelivery. */
  sentAt: Date;
  /** How often it was received, this time included. */
  receives: number;
};

/** What became of a batch: one wide log line. */
export type BatchReport = {
  messages: number;
  /** Messages to be returned to the queue, because something about them is not in the log yet. */
  failedMessageIds: string[];
  deadLetters: number;
  /** Executions that an earlier delivery of the same message had logged. */
  repeated: number;
  executions: Record<ExecutionStatus, number>;
  /** Why messages are returned, each reason once. */
  problems: string[];
};

/** An event to be dispatched, with the messages that brought it (a queue may deliver one twice). */
type Arrival = { event: DomainEvent; sentAt: Date; receives: number; messageIds: string[] };

/** One handler for one arrival, and where its execution lives. */
type Call = RegisteredHandler & { key: ExecutionKey };

// An event received this often may be what kills the environment. It no longer takes others along.
const suspectReceives = 3;

/**
 * Dispatches a batch: parse, find the handlers that match, run them by priority, write the log, and tell which
 * messages must come back. A message is done only when all executions of its event are in the log.
 *
 * @param deadline when the invocation ends; no call begins that could outlive it
 */
export async function dispatchBatch(
  services: Services,
  messages: readonly Message[],
  deadline: Date,
): Promise<BatchReport> {
  const report: BatchReport = {
    messages: messages.length,
    failedMessageIds: [],
    deadLetters: 0,
    repeated: 0,
    executions: { succeeded: 0, failed: 0, waiting: 0, held: 0 },
    problems: [],
  };
  const arrivals = await readMessages(services, messages, report);
  const suspects = arrivals.filter(({ receives }) => receives >= suspectReceives);
  await runEvents(
    services,
    arrivals.filter((arrival) => !suspects.includes(arrival)),
    deadline,
    report,
  );
  for (const suspect of suspects) await runEvents(services, [suspect], deadline, report);
  await services.hours
    .flush()
    .catch((error: unknown) => report.problems.push(`hourly counts: ${String(error)}`));
  return report;
}

/** Parses the messages. What cannot be an event becomes a dead letter, with its reason, and is done. */
async function readMessages(
  { deadLetters }: Services,
  messages: readonly Message[],
  report: BatchReport,
): Promise<Arrival[]> {
  const arrivals = new Map<string, Arrival>();
  for (const message of messages) {
    const parsed = parseEvent(message.body);
    const reason = parsed.ok ? storageProblem(parsed.event.raw) : parsed.reason;
    if (!parsed.ok || reason !== null) {
      await deadLetters
        .record({ id: message.id, receivedAt: message.sentAt, reason: reason ?? '', body: message.body })
        .then(() => report.deadLetters++)
        .catch((error: unknown) => giveBack(report, [message.id], error));
      continue;
    }
    const { event } = parsed;
    // What has one place in a handler's log is one event; a batch must not ask for a key twice.
    const identity = executionKey('', event, message.sentAt, 1).sk;
    const arrival = arrivals.get(identity);
    if (arrival === undefined) {
      const { sentAt, receives } = message;
      arrivals.set(identity, { event, sentAt, receives, messageIds: [message.id] });
    } else {
      arrival.messageIds.push(message.id);
      arrival.receives = Math.max(arrival.receives, message.receives);
    }
  }
  return [...arrivals.values()];
}

/** Runs events side by side and writes their executions. */
async function runEvents(
  services: Services,
  arrivals: readonly Arrival[],
  deadline: Date,
  report: BatchReport,
): Promise<void> {
  if (arrivals.length === 0) return;
  try {
    const registry = await services.currentRegistry();
    const plans = arrivals.map((arrival) => ({
      arrival,
      groups: registry
        .matching(arrival.event)
        .map((group) => group.map((registered) => planCall(registered, arrival))),
    }));
    const arrivalOf = new Map(
      plans.flatMap(({ arrival, groups }) => groups.flat().map(({ key }) => [key, arrival] as const)),
    );
    const recorded = await services.executionLog.findRecorded([...arrivalOf.keys()]);
    report.repeated += recorded.size;

    const batch = services.executionLog.openBatch();
    await Promise.all(plans.map(({ arrival, groups }) => runByPriority(arrival, groups)));
    for (const { record, error } of await batch.close()) {
      giveBack(report, arrivalOf.get(record.key)?.messageIds ?? [], error);
      report.executions[record.state.status]--;
    }

    async function runByPriority(arrival: Arrival, groups: readonly Call[][]): Promise<void> {
      for (const group of groups) {
        const done = await Promise.all(
          group.filter(({ key }) => !recorded.has(keyToString(key))).map((call) => runCall(arrival, call)),
        );
        // The priorities after it run when the message comes back.
        if (done.includes(false)) return;
      }
    }

    /** Runs a handler and hands its execution to the log. Otherwise gives the message back, and answers false. */
    async function runCall({ event, receives, messageIds }: Arrival, call: Call): Promise<boolean> {
      try {
        const record = await runHandler(services, { ...call, event, deadline });
        if (record === null) {
          giveBack(report, messageIds, 'the deadline of the batch was too near for the rest of the event');
          return false;
        }
        report.executions[record.state.status]++;
        batch.add(record, { redelivered: receives > 1 });
        return true;
      } catch (error) {
        // A fault of our own. It must not take along what else is in the batch.
        giveBack(report, messageIds, error);
        return false;
      }
    }
  } catch (error) {
    // Nothing is lost: the messages come back, and what is in the log by then is not run again.
    for (const { messageIds } of arrivals) giveBack(report, messageIds, error);
  }

  function planCall(registered: RegisteredHandler, { event, sentAt }: Arrival): Call {
    return { ...registered, key: executionKey(registered.handler.id, event, sentAt, services.logShards) };
  }
}

function giveBack(report: BatchReport, messageIds: readonly string[], problem: unknown): void {
  for (const id of messageIds) {
    if (!report.failedMessageIds.includes(id)) report.failedMessageIds.push(id);
  }
  const text = problem instanceof Error ? `${problem.name}: ${problem.message}` : String(problem);
  if (!report.problems.includes(text)) report.problems.push(text);
}
