import type { RequestListener } from '../../local/server.ts';
import { readBody } from '../../local/request-body.ts';

/** One entry of a SendMessageBatch. */
export type SentEntry = { Id: string; MessageBody: string };

type Batch = { QueueUrl: string; Entries: SentEntry[] };
type BatchAnswer = { Successful?: unknown[]; Failed?: unknown[] };

const maxBytes = 8 * 1_048_576;
const pastFaults = 'x-past-faults';
const sendBatch = 'AmazonSQS.SendMessageBatch';

/** The way to the queues: sends can be refused there, whole calls or single entries of them. Everything else comes through. */
export function createSqsFaults(endpoint: RequestListener) {
  let isRefused: ((queueUrl: string) => boolean) | null = null;
  let isFailed: ((entry: SentEntry, queueUrl: string) => boolean) | null = null;

  const listener: RequestListener = async (request, response) => {
    const isFaulty = isRefused !== null || isFailed !== null;
    const operation = request.headers['x-amz-target'];
    if (!isFaulty || operation !== sendBatch || request.headers[pastFaults] !== undefined)
      return endpoint(request, response);
    const { host, authorization } = request.headers;
    const batch = JSON.parse(String(await readBody(request, maxBytes))) as Batch;
    const answer = (status: number, body: unknown) =>
      void response
        .writeHead(status, { 'content-type': 'application/x-amz-json-1.0' })
        .end(JSON.stringify(body));
    // Not one that the SDK tries again: it has given up by then.
    if (isRefused?.(batch.QueueUrl) === true)
      return answer(400, { __type: 'com.amazonaws.sqs#AccessDeniedException', message: 'no sends today' });
    const failed = batch.Entries.filter((entry) => isFailed?.(entry, batch.QueueUrl) === true);
    const good = batch.Entries.filter((entry) => !failed.includes(entry));
    const taken =
      good.length === 0
        ? {}
        : ((await fetch(`http://${host}/`, {
            method: 'POST',
            headers: { 'x-amz-target': sendBatch, authorization: String(authorization), [pastFaults]: 'yes' },
            body: JSON.stringify({ ...batch, Entries: good }),
          }).then((passed) => passed.json())) as BatchAnswer);
    answer(200, {
      Successful: taken.Successful ?? [],
      Failed: [
        ...(taken.Failed ?? []),
        ...failed.map(({ Id }) => ({
          Id,
          SenderFault: false,
          Code: 'InternalError',
          Message: 'not this one',
        })),
      ],
    });
  };

  return {
    listener,
    /** Refuses every send to a queue of this name, until `clear`. */
    refuse(queueName: string) {
      isRefused = (queueUrl) => queueUrl.endsWith(`/${queueName}`);
    },
    /** Fails these entries of batches and takes the others, until `clear`. */
    fail(which: (entry: SentEntry) => boolean) {
      isFailed = which;
    },
    clear() {
      isRefused = null;
      isFailed = null;
    },
  };
}
