import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { log } from '../shared/log.ts';
import { maxEventBytes } from '../shared/events/envelope.ts';
import { accountId, busName, region } from './aws-identity.ts';
import { signatureProblem, type AwsKeys } from './aws-signature.ts';
import { diskProblem, type Queue } from './queue.ts';
import { readBody } from './request-body.ts';
import { isObject } from '../shared/json-object.ts';

const maxEntries = 10;
/** All entries of one call together. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html */
const maxEntriesBytes = 1_048_576;
/** The text of an entry can be several times longer than what it says, since it is JSON inside JSON. */
const maxRequestBytes = 8 * maxEntriesBytes;
const maxSourceLength = 256;
const maxDetailTypeLength = 128;

type Entry = {
  Source?: string | null;
  DetailType?: string | null;
  Detail?: string | null;
  EventBusName?: string | null;
  Time?: number | string | null;
  Resources?: (string | null)[] | null;
  TraceHeader?: string | null;
};

type EntryResult = { EventId: string } | { ErrorCode: string; ErrorMessage: string };

/** A call that fails as a whole, in AWS's own form. */
class AwsError extends Error {
  override name = 'AwsError' as const;
  readonly type: string;
  readonly status: number;

  constructor(type: string, message: string, status = 400) {
    super(message);
    this.type = type;
    this.status = status;
  }
}

export type AwsEndpointOptions = {
  queue: Pick<Queue, 'send'>;
  /** What callers have to sign with. Null: only this machine can reach the endpoint, and any credentials are good. */
  keys: AwsKeys | null;
  now?: () => Date;
  newId?: () => string;
};

/**
 * The AWS endpoint for upstreams: `PutEvents` over the AWS JSON protocol (`POST /`), and nothing else. It refuses
 * what EventBridge refuses. Accepted events are committed to the queue before it answers.
 */
export function createAwsEndpoint({
  queue,
  keys,
  now = () => new Date(),
  newId = randomUUID,
}: AwsEndpointOptions): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  async function putEvents(body: Buffer): Promise<{ FailedEntryCount: number; Entries: EntryResult[] }> {
    const entries = readEntries(body);
    const receivedAt = now();
    const messages: { body: string }[] = [];
    const results = entries.map((entry): EntryResult => {
      const failure = entryFailure(entry);
      if (failure !== null) return failure;
      const id = newId();
      const event = envelope(entry, id, receivedAt);
      // EventBridge accepts such an entry and then fails to deliver it: SQS carries no more than this.
      if (Buffer.byteLength(event) > maxEventBytes) {
        return invalidArgument('Detail', 'with its envelope the event is larger than 1 MB');
      }
      messages.push({ body: event });
      return { EventId: id };
    });
    if (messages.length > 0) await queue.send(messages);
    return { FailedEntryCount: entries.length - messages.length, Entries: results };
  }

  async function answer(request: IncomingMessage): Promise<unknown> {
    checkCaller(request);
    const operation = request.headers['x-amz-target'];
    if (operation !== 'AWSEvents.PutEvents') {
      throw new AwsError(
        'UnknownOperationException',
        'This endpoint answers AWSEvents.PutEvents and nothing else.',
      );
    }
    const body = await readBody(request, maxRequestBytes);
    if (body === null) {
      throw new AwsError('RequestEntityTooLargeException', 'The request is larger than 8 MB.', 413);
    }
    const problem = keys === null ? null : signatureProblem(request, body, keys, now());
    if (problem !== null) throw new AwsError(problem.type, problem.message);
    return putEvents(body);
  }

  function checkCaller({ headers }: IncomingMessage): void {
    if (!/^AWS4-HMAC-SHA256\s.*Credential=[^\s,]+/u.test(headers.authorization ?? '')) {
      throw new AwsError('MissingAuthenticationTokenException', 'Missing Authentication Token', 403);
    }
    // Where any credentials are good, a web page can be made to look as if it came from this address (DNS
    // rebinding). Browsers name the page in every POST; AWS clients never do.
    if (headers.origin !== undefined) {
      throw new AwsError('AccessDeniedException', 'Web pages may not call this endpoint.');
    }
  }

  return async (request, response) => {
    try {
      send(response, 200, await answer(request));
    } catch (error) {
      if (error instanceof AwsError) {
        send(response, error.status, { __type: error.type, message: error.message });
        return;
      }
      if (request.destroyed && !request.complete) return;
      log.error('put-events.failed', { error: error as Error });
      const problem = diskProblem(error);
      send(response, 500, {
        __type: 'InternalException',
        message: `The event could not be stored${problem === null ? '' : `: ${problem}`}.`,
      });
    }
  };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/x-amz-json-1.1',
    'content-length': Buffer.byteLength(text),
    'x-amzn-requestid': randomUUID(),
  });
  response.end(text);
}

function readEntries(body: Buffer): Entry[] {
  let json: unknown;
  try {
    json = JSON.parse(body.toString());
  } catch {
    throw new AwsError('SerializationException', 'The request is not JSON.');
  }
  const entries = isObject(json) ? (json['Entries'] ?? null) : undefined;
  if (entries === undefined || (entries !== null && !Array.isArray(entries))) {
    throw new AwsError('SerializationException', 'The request must be {"Entries": [...]}.');
  }
  if (entries === null) {
    throw constraintError("Value null at 'entries' failed to satisfy constraint: Member must not be null");
  }
  if (entries.length === 0 || entries.length > maxEntries) {
    const bound = entries.length === 0 ? 'greater than or equal to 1' : `less than or equal to ${maxEntries}`;
    const value = entries.length === 0 ? '[]' : `[${entries.length} entries]`;
    throw constraintError(
      `Value '${value}' at 'entries' failed to satisfy constraint: Member must have length ${bound}`,
    );
  }
  entries.forEach(checkTypes);
  const checked = entries as Entry[];
  if (checked.reduce((bytes, entry) => bytes + entryBytes(entry), 0) > maxEntriesBytes) {
    throw new AwsError('ValidationException', 'Total size of the entries in the request is over the limit.');
  }
  return checked;
}

const constraintError = (message: string): AwsError =>
  new AwsError('ValidationException', `1 validation error detected: ${message}`);

/** A field of another type fails the whole call, as everywhere in AWS; null is the same as absent. */
function checkTypes(entry: unknown): void {
  if (!isObject(entry)) throw new AwsError('SerializationException', 'An entry must be an object.');
  for (const field of ['Source', 'DetailType', 'Detail', 'EventBusName', 'TraceHeader']) {
    const value = entry[field] ?? '';
    if (typeof value !== 'string') throw new AwsError('SerializationException', `${field} must be a string.`);
  }
  const time = entry['Time'] ?? 0;
  if (typeof time !== 'number' && !(typeof time === 'string' && !Number.isNaN(Date.parse(time)))) {
    throw new AwsError('SerializationException', 'Time must be seconds since 1970, or an ISO 8601 time.');
  }
  const resources = entry['Resources'] ?? [];
  if (!Array.isArray(resources) || !resources.every((resource) => typeof resource === 'string')) {
    throw new AwsError('SerializationException', 'Resources must be a list of strings.');
  }
}

/** As AWS counts: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html */
function entryBytes({ Source, DetailType, Detail, Time, Resources }: Entry): number {
  const texts = [Source, DetailType, Detail, ...(Resources ?? [])];
  const timeBytes = Time === null || Time === undefined ? 0 : 14;
  return texts.reduce((bytes, text) => bytes + Buffer.byteLength(text ?? ''), timeBytes);
}

const invalidArgument = (parameter: string, reason: string): EntryResult => ({
  ErrorCode: 'InvalidArgument',
  ErrorMessage: `Parameter ${parameter} is not valid. Reason: ${reason}.`,
});

/** Why this one entry is refused while the others of its call go on; null when it is good. */
function entryFailure(entry: Entry): EntryResult | null {
  for (const parameter of ['Source', 'DetailType', 'Detail'] as const) {
    if ((entry[parameter] ?? '') === '')
      return invalidArgument(parameter, `${parameter} is a required argument`);
  }
  const { Source, DetailType, Detail, EventBusName, Time } = entry as Entry &
    Record<'Source' | 'DetailType' | 'Detail', string>;
  const isOurBus = EventBusName === busName || (EventBusName ?? '').endsWith(`:event-bus/${busName}`);
  if (!isOurBus) return invalidArgument('EventBusName', `the only event bus here is "${busName}"`);
  if (Source.startsWith('aws.')) {
    return { ErrorCode: 'NotAuthorizedForSourceException', ErrorMessage: 'Not authorized for the source.' };
  }
  if (Source.length > maxSourceLength) {
    return invalidArgument('Source', `Source is longer than ${maxSourceLength} characters`);
  }
  if (DetailType.length > maxDetailTypeLength) {
    return invalidArgument('DetailType', `DetailType is longer than ${maxDetailTypeLength} characters`);
  }
  if (Time !== null && Time !== undefined && !isYearOfFourDigits(readTime(Time))) {
    return invalidArgument('Time', 'Time is out of range');
  }
  if (!isJsonObject(Detail)) return { ErrorCode: 'MalformedDetail', ErrorMessage: 'Detail is malformed.' };
  return null;
}

const readTime = (time: number | string): Date => new Date(typeof time === 'number' ? time * 1000 : time);

// Beyond it ISO 8601 needs a sign and six digits, which most readers do not know.
const isYearOfFourDigits = (time: Date): boolean =>
  time.getUTCFullYear() >= 0 && time.getUTCFullYear() <= 9999;

function isJsonObject(text: string): boolean {
  // Half of a surrogate pair has no UTF-8, so it could not be passed on as it came.
  if (!text.isWellFormed()) return false;
  try {
    return isObject(JSON.parse(text));
  } catch {
    return false;
  }
}

/**
 * The event as EventBridge delivers it. The text of `Detail` is put in as it came: read and written again,
 * 12345678901234567890 and 1.0 would be other numbers.
 */
function envelope(
  { Source, DetailType, Detail, Time, Resources }: Entry,
  id: string,
  receivedAt: Date,
): string {
  const time = Time === null || Time === undefined ? receivedAt : readTime(Time);
  const head = JSON.stringify({
    version: '0',
    id,
    'detail-type': DetailType,
    source: Source,
    account: accountId,
    time: `${time.toISOString().slice(0, 19)}Z`,
    region,
    resources: Resources ?? [],
  });
  return `${head.slice(0, -1)},"detail":${Detail}}`;
}
