import { hash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { log } from '../shared/log.ts';
import { accountId } from './aws-identity.ts';
import { systemAttributes } from './event-source.ts';
import {
  attributeType,
  isReceiptHandle,
  maxMessageBytes,
  messageBytes,
  messageProblem,
  type Message,
  type OutgoingMessage,
  type Queue,
} from './queue.ts';
import { readBody } from './request-body.ts';
import type { RequestListener } from './server.ts';

const maxEntries = 10;
const maxReceived = 10;
/** The text of a body can be several times longer than what it says, since it is JSON inside JSON. */
const maxRequestBytes = 8 * maxMessageBytes;

/** A call that fails as a whole, or one entry of a batch, in SQS's own form. */
class SqsError extends Error {
  override name = 'SqsError' as const;
  /** The shape in SQS's model, which is the name that the SDK gives its error. */
  readonly type: string;
  readonly status: number;
  /** What the older query protocol called it; SDKs show it as `error.Code`. */
  readonly queryCode: string;

  constructor(type: string, message: string, { status = 400, queryCode = type } = {}) {
    super(message);
    this.type = type;
    this.status = status;
    this.queryCode = queryCode;
  }
}

const modelled = (type: string, message: string, queryName = type): SqsError =>
  new SqsError(type, message, { queryCode: `AWS.SimpleQueueService.${queryName}` });

const invalidParameter = (message: string): SqsError => new SqsError('InvalidParameterValue', message);

const missingParameter = (name: string): SqsError =>
  new SqsError('MissingParameter', `The request must contain the parameter ${name}.`);

// In AWS's protocols null is the same as absent.
const optional = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);

const Outgoing = z.object({
  MessageBody: optional(z.string()),
  DelaySeconds: optional(z.number()),
  MessageAttributes: optional(
    z.record(z.string(), z.object({ DataType: optional(z.string()), StringValue: optional(z.string()) })),
  ),
});
type Outgoing = z.output<typeof Outgoing>;

const Addressed = z.object({ QueueUrl: optional(z.string()) });
const Entry = z.object({ Id: optional(z.string()) });
const Receipt = z.object({ ReceiptHandle: optional(z.string()) });
const entriesOf = <Schema extends z.ZodType>(entry: Schema) =>
  Addressed.extend({ Entries: optional(z.array(entry)) });
const Names = optional(z.array(z.string()));

const SendRequest = Addressed.extend(Outgoing.shape);
const SendBatchRequest = entriesOf(Entry.extend(Outgoing.shape));
const ReceiveRequest = Addressed.extend({
  MaxNumberOfMessages: optional(z.number()),
  VisibilityTimeout: optional(z.number()),
  AttributeNames: Names,
  MessageSystemAttributeNames: Names,
  MessageAttributeNames: Names,
});
const DeleteRequest = Addressed.extend(Receipt.shape);
const DeleteBatchRequest = entriesOf(Entry.extend(Receipt.shape));

export type SqsEndpointOptions = {
  /** By name. */
  queues: ReadonlyMap<string, Queue>;
  /** Of the key that a call must be signed with; the signature itself is not checked. */
  accessKeyId: string;
};

/** The URL by which the SDK finds a queue at an endpoint on `port`. */
export const queueUrl = (port: number, name: string): string =>
  `http://127.0.0.1:${port}/${accountId}/${name}`;

/**
 * The SQS that our own functions see, over the AWS JSON protocol (`POST /`): sending, receiving and deleting messages,
 * one or a batch of them, and nothing else. It refuses what SQS refuses, but takes all characters of Unicode. Receiving
 * never waits. What was sent is committed to the queue before it answers.
 */
export function createSqsEndpoint({ queues, accessKeyId }: SqsEndpointOptions): RequestListener {
  const operations = new Map<unknown, (json: unknown) => unknown>([
    ['AmazonSQS.SendMessage', async (json) => sendMessage(read(SendRequest, json))],
    ['AmazonSQS.SendMessageBatch', async (json) => sendMessageBatch(read(SendBatchRequest, json))],
    ['AmazonSQS.ReceiveMessage', (json) => receiveMessage(read(ReceiveRequest, json))],
    ['AmazonSQS.DeleteMessage', (json) => deleteMessage(read(DeleteRequest, json))],
    ['AmazonSQS.DeleteMessageBatch', (json) => deleteMessageBatch(read(DeleteBatchRequest, json))],
  ]);

  async function sendMessage({ QueueUrl, ...outgoing }: z.output<typeof SendRequest>) {
    const queue = queueAt(QueueUrl);
    const message = readMessage(outgoing);
    const [MessageId] = await queue.send([message]);
    return { MessageId, MD5OfMessageBody: hash('md5', message.body) };
  }

  async function sendMessageBatch({ QueueUrl, Entries }: z.output<typeof SendBatchRequest>) {
    const queue = queueAt(QueueUrl);
    const entries = readEntries(Entries);
    // All together have the limit of a single message: one that is too large fails its whole batch.
    const bytes = entries.reduce((sum, entry) => sum + messageBytes(textsOf(entry)), 0);
    if (bytes > maxMessageBytes) {
      throw modelled(
        'BatchRequestTooLong',
        `Batch requests cannot be longer than ${maxMessageBytes} bytes. You have sent ${bytes} bytes.`,
      );
    }
    const { accepted, Failed } = divide(entries, readMessage);
    const ids = accepted.length === 0 ? [] : await queue.send(accepted.map(({ value }) => value));
    const Successful = accepted.map(({ Id, value }, index) => ({
      Id,
      MessageId: ids[index],
      MD5OfMessageBody: hash('md5', value.body),
    }));
    return { Successful, Failed };
  }

  function receiveMessage(request: z.output<typeof ReceiveRequest>) {
    const queue = queueAt(request.QueueUrl);
    const { MaxNumberOfMessages: max = 1 } = request;
    if (!Number.isInteger(max) || max < 1 || max > maxReceived) {
      throw invalidParameter(
        `Value ${max} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and ${maxReceived}, if provided.`,
      );
    }
    if (request.VisibilityTimeout !== undefined) {
      throw modelled('UnsupportedOperation', 'Here every message is hidden for the time set for its queue.');
    }
    const systemNames = [...(request.MessageSystemAttributeNames ?? []), ...(request.AttributeNames ?? [])];
    const messages = queue
      .receive(max)
      .map((message) => shownMessage(message, systemNames, request.MessageAttributeNames ?? []));
    return messages.length === 0 ? {} : { Messages: messages };
  }

  function deleteMessage({ QueueUrl, ReceiptHandle }: z.output<typeof DeleteRequest>) {
    queueAt(QueueUrl).delete([readReceipt(ReceiptHandle)]);
    return {};
  }

  function deleteMessageBatch({ QueueUrl, Entries }: z.output<typeof DeleteBatchRequest>) {
    const queue = queueAt(QueueUrl);
    const { accepted, Failed } = divide(readEntries(Entries), (entry) => readReceipt(entry.ReceiptHandle));
    queue.delete(accepted.map(({ value }) => value));
    return { Successful: accepted.map(({ Id }) => ({ Id })), Failed };
  }

  function queueAt(url: string | undefined): Queue {
    if (url === undefined || url === '') throw missingParameter('QueueUrl');
    const [, account, name = ''] = URL.parse(url)?.pathname.split('/') ?? [];
    const queue = account === accountId ? queues.get(name) : undefined;
    if (queue === undefined) {
      throw modelled('QueueDoesNotExist', 'The specified queue does not exist.', 'NonExistentQueue');
    }
    return queue;
  }

  // The port is on loopback, where other users, a page in a browser and the handlers' own targets can reach it.
  function checkCaller({ headers }: IncomingMessage): void {
    if (
      headers.authorization?.includes(`Credential=${accessKeyId}/`) !== true ||
      headers.origin !== undefined
    ) {
      throw new SqsError('InvalidClientTokenId', 'The security token included in the request is invalid.', {
        status: 403,
      });
    }
  }

  async function answer(request: IncomingMessage): Promise<unknown> {
    checkCaller(request);
    const operation = operations.get(request.headers['x-amz-target']);
    if (operation === undefined || request.method !== 'POST' || request.url !== '/') {
      throw new SqsError(
        'UnknownOperationException',
        'This endpoint sends, receives and deletes messages only.',
      );
    }
    const body = await readBody(request, maxRequestBytes);
    if (body === null) {
      throw new SqsError('RequestEntityTooLargeException', 'The request is larger than 8 MB.', {
        status: 413,
      });
    }
    return operation(parseJson(body));
  }

  return async (request, response) => {
    try {
      send(response, 200, await answer(request));
    } catch (error) {
      if (request.destroyed && !request.complete) return;
      if (!(error instanceof SqsError)) {
        log.error('sqs.failed', { operation: request.headers['x-amz-target'], error });
      }
      sendError(
        response,
        error instanceof SqsError
          ? error
          : new SqsError('InternalFailure', 'The queue could not be used. The log says why.', {
              status: 500,
            }),
      );
    }
  };
}

function send(response: ServerResponse, status: number, body: unknown, headers = {}): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/x-amz-json-1.0',
    'content-length': Buffer.byteLength(text),
    'x-amzn-requestid': randomUUID(),
    ...headers,
  });
  response.end(text);
}

function sendError(response: ServerResponse, { type, message, status, queryCode }: SqsError): void {
  const fault = status < 500 ? 'Sender' : 'Receiver';
  send(
    response,
    status,
    { __type: `com.amazonaws.sqs#${type}`, message },
    { 'x-amzn-query-error': `${queryCode};${fault}` },
  );
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch (cause) {
    throw new SqsError(
      'SerializationException',
      `The request is not JSON: ${(cause as SyntaxError).message}`,
    );
  }
}

function read<Schema extends z.ZodType>(schema: Schema, json: unknown): z.output<Schema> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new SqsError('SerializationException', z.prettifyError(parsed.error));
}

type IdentifiedEntry = { Id: string };

/** The entries of a batch, once it is sure that the answer can name each of them. */
function readEntries<Entry extends { Id?: string | undefined }>(
  entries: readonly Entry[] = [],
): (Entry & IdentifiedEntry)[] {
  if (entries.length === 0) {
    throw modelled('EmptyBatchRequest', 'There should be at least one entry in the request.');
  }
  if (entries.length > maxEntries) {
    throw modelled(
      'TooManyEntriesInBatchRequest',
      `Maximum number of entries per request are ${maxEntries}. You have sent ${entries.length}.`,
    );
  }
  const ids = new Set<string>();
  return entries.map((entry) => {
    const { Id = '' } = entry;
    if (!/^[\w-]{1,80}$/u.test(Id)) {
      throw modelled(
        'InvalidBatchEntryId',
        'A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.',
      );
    }
    if (ids.has(Id)) throw modelled('BatchEntryIdsNotDistinct', `Id ${Id} repeated.`);
    ids.add(Id);
    return { ...entry, Id };
  });
}

type Failure = { Id: string; Code: string; Message: string; SenderFault: true };

/** Reads each entry of a batch by itself: what is wrong with one fails that one alone. */
function divide<Entry extends IdentifiedEntry, Value>(
  entries: readonly Entry[],
  readEntry: (entry: Entry) => Value,
): { accepted: { Id: string; value: Value }[]; Failed: Failure[] } {
  const accepted: { Id: string; value: Value }[] = [];
  const Failed: Failure[] = [];
  for (const entry of entries) {
    const { Id } = entry;
    try {
      accepted.push({ Id, value: readEntry(entry) });
    } catch (error) {
      if (!(error instanceof SqsError)) throw error;
      Failed.push({ Id, Code: error.type, Message: error.message, SenderFault: true });
    }
  }
  return { accepted, Failed };
}

function readMessage(outgoing: Outgoing): OutgoingMessage {
  const { body, attributes } = textsOf(outgoing);
  const { DelaySeconds: delaySeconds = 0, MessageAttributes = {} } = outgoing;
  if (body === '') throw missingParameter('MessageBody');
  if (!Number.isInteger(delaySeconds)) {
    throw invalidParameter(
      `Value ${delaySeconds} for parameter DelaySeconds is invalid. Reason: Must be a whole number.`,
    );
  }
  for (const [name, { DataType }] of Object.entries(MessageAttributes)) {
    if (DataType !== attributeType) {
      throw invalidParameter(`The message attribute "${name}" must be of the type ${attributeType}.`);
    }
  }
  // Half of a surrogate pair has no UTF-8, so it could not be handed out as it came.
  if (![body, ...Object.values(attributes)].every((text) => text.isWellFormed())) {
    throw new SqsError('InvalidMessageContents', 'The message contains characters outside the allowed set.');
  }
  const message = { body, attributes, delaySeconds };
  const problem = messageProblem(message);
  if (problem !== null) throw invalidParameter(`One or more parameters are invalid. Reason: ${problem}`);
  return message;
}

const textsOf = ({ MessageBody: body = '', MessageAttributes = {} }: Outgoing) => ({
  body,
  attributes: Object.fromEntries(
    Object.entries(MessageAttributes).map(([name, { StringValue = '' }]) => [name, StringValue]),
  ),
});

function readReceipt(handle = ''): string {
  if (handle === '') throw missingParameter('ReceiptHandle');
  if (!isReceiptHandle(handle)) {
    throw new SqsError('ReceiptHandleIsInvalid', `The input receipt handle "${handle}" is not a valid one.`);
  }
  return handle;
}

/** A message as ReceiveMessage shows it: with those of its attributes that were asked for. */
function shownMessage(message: Message, systemNames: readonly string[], names: readonly string[]) {
  const system = Object.entries(systemAttributes(message)).filter(
    ([name]) => systemNames.includes('All') || systemNames.includes(name),
  );
  const own = Object.entries(message.attributes).filter(([name]) =>
    names.some(
      (wanted) =>
        wanted === 'All' ||
        wanted === name ||
        (wanted.endsWith('.*') && name.startsWith(wanted.slice(0, -2))),
    ),
  );
  return {
    MessageId: message.messageId,
    ReceiptHandle: message.receiptHandle,
    MD5OfBody: hash('md5', message.body),
    Body: message.body,
    ...(system.length > 0 && { Attributes: Object.fromEntries(system) }),
    ...(own.length > 0 && {
      MessageAttributes: Object.fromEntries(
        own.map(([name, StringValue]) => [name, { StringValue, DataType: attributeType }]),
      ),
    }),
  };
}
