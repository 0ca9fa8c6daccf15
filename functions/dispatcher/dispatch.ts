import { sentencesOf } from '../../shared/catalogue/detail-problem.ts';
import { parseEvent, type DomainEvent, type ParsedEvent } from '../../shared/events/envelope.ts';
import { isOwnEvent } from '../../shared/events/own-events.ts';
import type { ExecutionRecord } from '../../shared/executions/execution.ts';
import { failureOf } from '../../shared/executions/failure-event.ts';
import { storageProblem } from '../../shared/events/packed-text.ts';
import { keyAt, keyToString, placeOf, type ExecutionKey, type Place } from '../../shared/executions/key.ts';
import type { ExecutionStatus } from '../../shared/executions/life-cycle.ts';
import { isHalting, isHeldBack, runEvent, type Call } from './run-event.ts';
import type { Services } from './services.ts';

/** A queue message, as far as the dispatcher cares. */
export type Message = {
  id: string;
  body: string;
  /** When the queue first took it: the same on every redelivery, and when the event was sent again. */
  sentAt: Date;
  /** How often it was received, this time included. */
  receives: number;
  /** Whether the event was sent to the queue before: then some of its executions are in the log. */
  sentAgain: boolean;
  /** Only what is held behind a halting handler is to run, and it stands there. */
  goesOnAt: Place | null;
};

/** What became of a batch: one wide log line. */
export type BatchReport = {
  messages: number;
  /** Messages to be returned to the queue, because something about them is not in the log yet. */
  failedMessageIds: string[];
  deadLetters: number;
  /** Events that were sent again because the deadline was too near for the rest of them. */
  putOff: number;
  /** Executions that an earlier delivery of the same message had logged. */
  repeated: number;
  /** What was written to the log, by status. */
  executions: Record<ExecutionStatus, number>;
  /** What went wrong on our side, each thing once. */
  problems: string[];
};

/** An event to be dispatched, with the messages that brought it (a queue may deliver one twice). */
type Arrival = Pick<Message, 'sentAt' | 'receives' | 'sentAgain'> & {
  event: DomainEvent;
  messageIds: string[];
  place: Place;
  /** Whether nothing of it is to run but what is held there. */
  onlyHalted: boolean;
};

/** Messages that have to come back, and why. */
type Failure = { messageIds: readonly string[]; error: unknown };

/** What the parts of a batch add up to. */
type Tally = { written: ExecutionRecord[]; repeated: number; putOff: number; failures: Failure[] };

// What kills the environment takes its whole batch along, twice. The third and the fourth time each event runs alone, so
// that the innocent ones get done; after that side by side again, or a backlog after an outage would never be.
const runsAlone = ({ receives }: Arrival): boolean => receives === 3 || receives === 4;

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
  const { arrivals, deadLetters, failures } = await readMessages(services, messages);
  const tallies = [
    await runEvents(
      services,
      arrivals.filter((arrival) => !runsAlone(arrival)),
      deadline,
    ),
  ];
  for (const arrival of arrivals.filter(runsAlone)) {
    tallies.push(await runEvents(services, [arrival], deadline));
  }
  // They say about how much ran: a batch is not done again for their sake.
  const uncounted = await services.hours.flush().then(
    () => [],
    (error: unknown) => [{ messageIds: [], error }],
  );
  // Nor for what could not be told about the targets.
  const untold = (await services.circuits.flush()).map((error) => ({ messageIds: [], error }));

  const allFailures = [...failures, ...tallies.flatMap((tally) => tally.failures), ...uncounted, ...untold];
  return {
    messages: messages.length,
    failedMessageIds: [...new Set(allFailures.flatMap(({ messageIds }) => messageIds))],
    deadLetters,
    putOff: tallies.reduce((sum, { putOff }) => sum + putOff, 0),
    repeated: tallies.reduce((sum, { repeated }) => sum + repeated, 0),
    executions: countByStatus(tallies.flatMap(({ written }) => written)),
    problems: [...new Set(allFailures.map(({ error }) => String(error)))],
  };
}

/** Parses the messages. What cannot be an event, or must not, becomes a dead letter, with its reason, and is done. */
async function readMessages(
  services: Services,
  messages: readonly Message[],
): Promise<{ arrivals: Arrival[]; deadLetters: number; failures: Failure[] }> {
  const { deadLetters, logShards } = services;
  const arrivals = new Map<string, Arrival>();
  const failures: Failure[] = [];
  let rejected = 0;
  for (const message of messages) {
    try {
      const read = await readMessage(services, message);
      if (read.ok) {
        addArrival(arrivals, read.event, message, logShards);
      } else {
        const { id, sentAt: receivedAt, body } = message;
        await deadLetters.record({ id, receivedAt, reason: read.reason, body });
        rejected += 1;
      }
    } catch (error) {
      failures.push({ messageIds: [message.id], error });
    }
  }
  return { arrivals: [...arrivals.values()], deadLetters: rejected, failures };
}

/** The event in a message, with what is wrong with it by the schema of its type; or why it is not dispatched. */
async function readMessage(
  { currentRegistry, checkEvent }: Services,
  { body, goesOnAt }: Message,
): Promise<ParsedEvent> {
  const parsed = parseEvent(body);
  if (!parsed.ok) return parsed;
  const { event } = parsed;
  const reason = storageProblem(event.raw);
  if (reason !== null) return { ok: false, reason };
  const { validation, problems } = await checkEvent(event, (await currentRegistry()).eventType(event.type));
  if (problems.length === 0) return parsed;
  const warnings = sentencesOf(problems);
  // What was taken once goes on, even if its type has become strict since.
  if (validation === 'strict' && goesOnAt === null)
    return { ok: false, reason: strictReason(event.type, warnings) };
  return { ok: true, event: { ...event, warnings } };
}

const strictReason = (type: string, sentences: readonly string[]): string =>
  `The event is not what the schema of ${type} says, which is strict: ${sentences.join('; ')}.`;

// What has one place in a handler's log is one event; a batch must not ask for a key twice.
function addArrival(
  arrivals: Map<string, Arrival>,
  event: DomainEvent,
  { id, sentAt, receives, sentAgain, goesOnAt }: Message,
  logShards: number,
): void {
  const place = goesOnAt ?? placeOf(event, sentAt, logShards);
  const arrival = arrivals.get(place.sk);
  if (arrival === undefined) {
    const onlyHalted = goesOnAt !== null;
    arrivals.set(place.sk, { event, sentAt, receives, sentAgain, messageIds: [id], place, onlyHalted });
  } else {
    arrival.messageIds.push(id);
    arrival.receives = Math.max(arrival.receives, receives);
    arrival.sentAgain ||= sentAgain;
    arrival.onlyHalted &&= goesOnAt !== null;
    if (goesOnAt !== null) arrival.place = goesOnAt;
  }
}

const withKept = async ({ keeping }: Services, event: DomainEvent): Promise<DomainEvent> => ({
  ...event,
  kept: await keeping.keep(event.raw),
});

/** Runs events side by side and writes their executions. What fails here comes back, and what is logged is not run again. */
async function runEvents(services: Services, arrivals: readonly Arrival[], deadline: Date): Promise<Tally> {
  if (arrivals.length === 0) return { written: [], repeated: 0, putOff: 0, failures: [] };
  try {
    const plans = await planCalls(services, arrivals);
    const calls = plans.flatMap(({ groups }) => groups.flat());
    const arrivalOf = new Map(
      plans.flatMap(({ arrival, groups }) => groups.flat().map(({ key }) => [key, arrival] as const)),
    );
    const batch = services.executionLog.openBatch();
    const ends = await Promise.all(
      plans.map(async ({ arrival, groups }) => {
        // What nobody asked for is not kept.
        const isWanted = groups.some((group) => group.length > 0);
        const event = isWanted ? await withKept(services, arrival.event) : arrival.event;
        return runEvent(services, { event, groups, deadline }, (record, call) =>
          batch.add(record, {
            redelivered: arrival.receives > 1 || arrival.sentAgain,
            wasHalted: isHeldBack(call),
          }),
        );
      }),
    );
    const { written, overtaken, unwritten, unwoken } = await batch.close();
    const heldMaybe = new Set(
      overtaken.filter(({ state }) => state.status !== 'succeeded').map(({ key }) => key),
    );
    // After the log, or the next dispatcher would not find there what was done.
    const putOff = arrivals.filter((_, index) => ends[index]?.result === 'put-off');
    return {
      written,
      repeated: calls.filter(({ recorded }) => recorded !== null).length,
      putOff: putOff.length,
      failures: [
        ...ends.flatMap(({ result }, index) =>
          result instanceof Error ? [{ messageIds: arrivals[index]?.messageIds ?? [], error: result }] : [],
        ),
        ...(await sendAgain(services, putOff)),
        ...(await goOnIfReleased(
          services,
          plans.flatMap(({ arrival, groups }, index) => {
            const planned = groups.flat();
            const haltedBy = planned.some(({ key }) => heldMaybe.has(key))
              ? planned.filter(isHalting).map(({ key }) => key)
              : (ends[index]?.haltedBy ?? []);
            return haltedBy.length > 0 ? [{ arrival, haltedBy }] : [];
          }),
        )),
        ...(await tellFailures(services, written, arrivalOf)),
        ...unwoken.map((error) => ({ messageIds: [], error })),
        ...unwritten.map(({ record, error }) => ({
          messageIds: arrivalOf.get(record.key)?.messageIds ?? [],
          error,
        })),
      ],
    };
  } catch (error) {
    return {
      written: [],
      repeated: 0,
      putOff: 0,
      failures: [{ messageIds: arrivals.flatMap(({ messageIds }) => messageIds), error }],
    };
  }
}

/**
 * Sends events again that could not be finished in time. To hand their messages back would do too, but ten of those are
 * one message for the dead letters, and it is the next batch that has to wait out the visibility timeout.
 */
async function sendAgain({ requeue }: Services, arrivals: readonly Arrival[]): Promise<Failure[]> {
  if (arrivals.length === 0) return [];
  const { unsent } = await requeue(
    arrivals.map(({ event, sentAt, place, onlyHalted }) => ({
      body: event.raw,
      sentAt,
      ...(onlyHalted && { goesOnAt: place }),
    })),
  );
  return unsent.map(({ index, error }) => ({ messageIds: arrivals[index]?.messageIds ?? [], error }));
}

/**
 * Sends events again whose halting execution has succeeded while the others were written down as held, here or by another dispatcher that the
 * queue has handed the message to as well: whoever ended it may have sent the event before there was anything to go on with.
 *
 *   here    halted by A ......... writes B held, looks at A ... has succeeded: sends
 *   retrier    calls A, writes success, sends ... dispatched: B is not there yet
 *
 *   here    calls A ............................................. writes success, calls B ... 500, B is held already: looks at A, sends
 *   another    calls A ... 500, writes failed, B held, looks at A
 */
async function goOnIfReleased(
  services: Services,
  halted: readonly { arrival: Arrival; haltedBy: readonly ExecutionKey[] }[],
): Promise<Failure[]> {
  const { executionLog } = services;
  const looks = await Promise.all(
    halted.map(async ({ arrival, haltedBy }) => {
      try {
        const stand = await Promise.all(haltedBy.map(executionLog.statusOf));
        return { arrival, isReleased: stand.includes('succeeded'), failures: [] };
      } catch (error) {
        return { arrival, isReleased: false, failures: [{ messageIds: arrival.messageIds, error }] };
      }
    }),
  );
  const released = looks
    .filter(({ isReleased }) => isReleased)
    .map(({ arrival }) => ({ ...arrival, onlyHalted: true }));
  return [...looks.flatMap(({ failures }) => failures), ...(await sendAgain(services, released))];
}

/** Tells on the bus what has failed for good, unless it was done for an event that tells such a thing. */
async function tellFailures(
  { announce }: Services,
  written: readonly ExecutionRecord[],
  arrivalOf: ReadonlyMap<ExecutionKey, Arrival>,
): Promise<Failure[]> {
  const failures = written.flatMap((record) => {
    const arrival = arrivalOf.get(record.key);
    const failure = failureOf(record);
    return failure === null || arrival === undefined || isOwnEvent(arrival.event) ? [] : [failure];
  });
  return (await announce(failures)).map((error) => ({ messageIds: [], error }));
}

/** The calls that each event asks for, by priority, and where their executions stand. */
async function planCalls({ currentRegistry, executionLog }: Services, arrivals: readonly Arrival[]) {
  const registry = await currentRegistry();
  const plans = arrivals.map((arrival) => {
    const matching = registry.matching(arrival.event);
    // What is held for an event was asked for when it came, whatever the filter of its handler says by now.
    const asked = arrival.onlyHalted ? registry.askedFor(arrival.event) : matching;
    const groups = asked.map((group) =>
      group.map((registered) => ({
        registered,
        key: keyAt(arrival.place, registered.handler.id),
      })),
    );
    return { arrival, groups, matchingIds: new Set(matching.flat().map(({ handler }) => handler.id)) };
  });
  const keys = plans.flatMap(({ groups }) => groups.flat().map(({ key }) => key));
  // What goes on was written a moment ago, and to miss it would be to leave it there.
  const isConsistent = arrivals.some(({ sentAgain }) => sentAgain);
  const recorded = await executionLog.findRecorded(keys, { isConsistent });
  return plans.map(({ arrival, groups, matchingIds }) => ({
    arrival,
    groups: groups.map((group) =>
      group
        .map((call): Call => ({ ...call, recorded: recorded.get(keyToString(call.key)) ?? null }))
        .filter((call) => !arrival.onlyHalted || goesOn(call, matchingIds)),
    ),
  }));
}

// Who has no execution was not there, or it has expired: it is not called for what the others are to go on with. Whose filter does not match any
// more goes on where it is held, and halts nobody else.
const goesOn = (call: Call, matchingIds: ReadonlySet<string>): boolean =>
  call.recorded !== null && (isHeldBack(call) || matchingIds.has(call.registered.handler.id));

function countByStatus(records: readonly ExecutionRecord[]): Record<ExecutionStatus, number> {
  const counts = { succeeded: 0, failed: 0, waiting: 0, held: 0 };
  for (const { state } of records) counts[state.status] += 1;
  return counts;
}
