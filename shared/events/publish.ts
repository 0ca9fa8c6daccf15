import type { EventBridgeClient, PutEventsRequestEntry } from '@aws-sdk/client-eventbridge';
import type { z } from 'zod';
import { InvalidInputError, type FieldError } from '../errors.ts';
import { builtInEventTypes, eventTypeProblem, type BuiltInName } from '../catalogue/catalogue.ts';
import { fieldOf, zodProblems } from '../catalogue/detail-problem.ts';
import type { domainEvents } from '../catalogue/domain-events.ts';
import { oversizeOf } from './event-size.ts';
import { putEvents } from './put-events.ts';

/** What every event to be published has; everything beside these fields is part of its `Detail`. */
export type NewEvent = {
  type: string;
  /** The entity's own id. */
  objectId: number | string | null;
  data: object;
} & Sending;

/** How an event is put on the bus. */
type Sending = {
  /** The service that emits it, where that is another one than that of the call. Never `handoff`: that is Handoff itself. */
  source?: string;
  /** When it happened. EventBridge keeps whole seconds, and takes its own time when there is none. */
  time?: Date;
};

type DetailOf<Name extends BuiltInName> = z.input<
  Extract<(typeof domainEvents)[number], { name: Name }>['detail']
>;

/** An event of the catalogue: `type` says which data it has. */
export type CatalogueEvent = {
  [Name in BuiltInName]: { type: Name } & Sending & DetailOf<Name>;
}[BuiltInName];

/** Some events are not on the bus. */
export class PublishError extends Error {
  override name = 'PublishError' as const;
  /** Those that the bus has, by their place in the list. */
  readonly sent: readonly { index: number; id: string }[];
  /** The others. `isUnknown`: nobody knows, because the call failed; to publish it again can double it. */
  readonly unsent: readonly { index: number; error: Error; isUnknown: boolean }[];

  constructor(
    message: string,
    { sent, unsent, cause }: Pick<PublishError, 'sent' | 'unsent'> & { cause?: Error | undefined },
  ) {
    super(message, { cause });
    this.sent = sent;
    this.unsent = unsent;
  }
}

export type PublishOptions = {
  /** The deployment's bus: a name or an ARN. */
  busName?: string;
  /** The service that emits the events, as rules of the bus see it. */
  source?: string;
  /** What waits between two tries; of tests. */
  delay?: (ms: number) => Promise<unknown>;
};

/**
 * Puts events on Handoff's bus: what upstream services publish with. All of them are checked before the first is sent, and nothing is sent when
 * one is wrong. They go in calls of up to 10 and 1 MB; what the bus could not take for now is sent again, alone, up to four times.
 *
 *     await publishEvents(new EventBridgeClient(), [
 *       { type: 'client.balance.nonpositive', objectId: 12, data: { id: 12, balance: '0.0000', previousBalance: '5.0000', currency: 'EUR', credit: '0.0000' } },
 *     ]);
 *
 * The fields of a built-in type are known to the compiler; a type of a deployer's own is named: `publishEvents<{ type: 'crm.merged'; ... }>(...)`.
 *
 * @returns the ids that the bus gave them, in the order of the events. Throws InvalidInputError with all that is wrong, each with the index of its
 *   event (`events[1].data.balance`), and PublishError when not all of them are on the bus
 */
export async function publishEvents<Custom extends NewEvent = never>(
  client: EventBridgeClient,
  events: readonly (CatalogueEvent | (NoInfer<Custom> & Sending))[],
  options: PublishOptions = {},
): Promise<string[]> {
  const problems = (events as readonly NewEvent[]).flatMap((event, index) =>
    problemsOf(event, options.source).map(({ field, message }) => ({
      field: `events[${index}].${field}`,
      message,
    })),
  );
  if (problems.length > 0) throw new InvalidInputError(problems);
  return sendEvents(client, events, options);
}

/** The same without looking at the events: for who has done so. */
export async function sendEvents(
  client: EventBridgeClient,
  events: readonly NewEvent[],
  { busName = 'handoff', source = defaultSource, delay }: PublishOptions = {},
): Promise<string[]> {
  const results = await putEvents(
    client,
    events.map((event) => entryOf(event, { busName, source })),
    delay === undefined ? {} : { delay },
  );
  const sent = results.flatMap((result, index) => ('id' in result ? [{ index, id: result.id }] : []));
  const unsent = results.flatMap((result, index) => ('id' in result ? [] : [{ index, ...result }]));
  if (unsent.length === 0) return sent.map(({ id }) => id);
  const first = unsent[0]?.error;
  throw new PublishError(
    `The bus ${busName} did not take ${unsent.length} of ${events.length} events: ${first?.message}`,
    { sent, unsent, cause: first },
  );
}

const defaultSource = 'billing';

function entryOf(
  event: NewEvent,
  { busName, source }: { busName: string; source: string },
): PutEventsRequestEntry {
  return {
    EventBusName: busName,
    Source: event.source ?? source,
    DetailType: event.type,
    ...(event.time !== undefined && { Time: event.time }),
    Detail: JSON.stringify(detailOf(event)),
  };
}

const detailOf = ({ type: _type, source: _source, time: _time, ...detail }: NewEvent): object => detail;

const builtIn = new Map<string, (typeof builtInEventTypes)[number]>(
  builtInEventTypes.map((type) => [type.name, type]),
);

function problemsOf(event: NewEvent, sourceOfCall = defaultSource): FieldError[] {
  const { type, source = sourceOfCall, time = new Date() } = event;
  const name = typeof type === 'string' ? nameProblem(type) : 'must be the name of an event type';
  if (name !== null) return [{ field: 'type', message: name }];
  const detail = detailOf(event);
  const known = builtIn.get(type);
  const problems =
    known === undefined
      ? shapeProblems(event)
      : zodProblems(known.detail, detail).map(({ path, message }) => ({ field: fieldOf(path), message }));
  problems.push(...sendingProblems({ source, time }));
  if (problems.length > 0) return problems;
  try {
    const oversize = oversizeOf({ type, source, time, detail: JSON.stringify(detail, onlyNumbersOfJson) });
    return oversize === null
      ? []
      : [{ field: 'data', message: `the ${oversize.what} has more than ${oversize.maxBytes} bytes` }];
  } catch (error) {
    // A bigint, NaN, or what contains itself.
    return [{ field: 'data', message: `is no JSON: ${(error as Error).message}` }];
  }
}

function sendingProblems({ source, time }: { source: unknown; time: unknown }): FieldError[] {
  const problems: FieldError[] = [];
  if (source === 'handoff') problems.push({ field: 'source', message: 'is that of Handoff alone' });
  // The first is what the bus takes, the other names are those of AWS: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html
  if (typeof source !== 'string' || !/^(?!aws\.).{1,256}$/su.test(source)) {
    const message = 'must be a text of 1 to 256 characters that does not begin with "aws."';
    problems.push({ field: 'source', message });
  }
  if (!(time instanceof Date) || Number.isNaN(time.getTime()))
    problems.push({ field: 'time', message: 'must be a valid Date' });
  return problems;
}

/** JSON.stringify makes null of the others without a word. */
function onlyNumbersOfJson(name: string, value: unknown): unknown {
  if (typeof value !== 'number' || Number.isFinite(value)) return value;
  throw new TypeError(`${name} is ${value}`);
}

const nameProblem = (name: string): string | null =>
  name.startsWith('handoff.')
    ? 'events that begin with "handoff." are emitted by Handoff alone'
    : eventTypeProblem(name);

function shapeProblems({ objectId, data }: Partial<NewEvent>): FieldError[] {
  const problems: FieldError[] = [];
  if (objectId !== null && typeof objectId !== 'string' && !Number.isFinite(objectId))
    problems.push({ field: 'objectId', message: 'must be an id: a number or a text' });
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    problems.push({ field: 'data', message: 'must be an object' });
  return problems;
}
