import { startReceiver } from './http-server.ts';

/** One request to DynamoDB: each try of the SDK is one. */
export type DynamoCall = {
  /** `PutItem`, `BatchWriteItem` ... */
  operation: string;
  input: Record<string, unknown>;
  /** The input as text, for those who look for a value anywhere in it. */
  text: string;
  capacityUnits: number;
};

type Answer = { status: number; body: unknown } | null;

/** An answer in DynamoDB's stead; null lets the call through, when what happens meanwhile has happened. */
export type Intercept = (call: DynamoCall) => Answer | Promise<Answer>;

/** An error that the SDK does not try again. */
export const refusal = {
  status: 400,
  body: { __type: 'com.amazon.coral.service#AccessDeniedException', message: 'not today' },
};

/**
 * The wire between the SDK and the embedded DynamoDB: counts calls and the capacity they consume, and answers
 * some of them itself. It sees what the network would see, the SDK's own retries included.
 */
export async function startDynamoWire(endpoint: string) {
  let calls: DynamoCall[] = [];
  let intercept: Intercept = () => null;
  let interceptAnswer: Intercept = () => null;
  const receiver = await startReceiver(async ({ headers, body }, response) => {
    const call: DynamoCall = {
      operation: String(headers['x-amz-target']).replace(/^.*\./u, ''),
      input: JSON.parse(body) as Record<string, unknown>,
      text: body,
      capacityUnits: 0,
    };
    calls.push(call);
    const instead = await intercept(call);
    if (instead !== null) {
      response.writeHead(instead.status, { 'content-type': 'application/x-amz-json-1.0' });
      response.end(JSON.stringify(instead.body));
      return;
    }
    // A connection that breaks in between breaks for the caller too, who tries again.
    const answer = await fetch(endpoint, {
      method: 'POST',
      headers: Object.fromEntries(
        ['x-amz-target', 'content-type', 'authorization', 'x-amz-date'].map((name) => [
          name,
          String(headers[name]),
        ]),
      ),
      body: JSON.stringify({ ...call.input, ReturnConsumedCapacity: 'TOTAL' }),
    }).catch(() => null);
    if (answer === null) {
      response.destroy();
      return;
    }
    const text = await answer.text();
    call.capacityUnits = capacityOf(text);
    const lost = await interceptAnswer(call);
    if (lost !== null) {
      response.writeHead(lost.status, { 'content-type': 'application/x-amz-json-1.0' });
      response.end(JSON.stringify(lost.body));
      return;
    }
    response.writeHead(answer.status, { 'content-type': 'application/x-amz-json-1.0' }).end(text);
  });
  return {
    url: receiver.url,
    calls: () => calls,
    /** Answers of its own from now on, until `reset`. */
    intercept(by: Intercept) {
      intercept = by;
    },
    /** Lets calls through, and puts answers of its own in place of DynamoDB's, until `reset`. */
    interceptAnswer(by: Intercept) {
      interceptAnswer = by;
    },
    /** Refuses the calls that a test picks. */
    refuse(which: (call: DynamoCall) => boolean) {
      intercept = (call) => (which(call) ? refusal : null);
    },
    /** Forgets what was counted, and lets every call through. */
    reset() {
      calls = [];
      intercept = () => null;
      interceptAnswer = () => null;
    },
    close: receiver.close,
  };
}

type Consumed = { CapacityUnits: number };

function capacityOf(answer: string): number {
  const { ConsumedCapacity = [] } = JSON.parse(answer) as { ConsumedCapacity?: Consumed | Consumed[] };
  return [ConsumedCapacity].flat().reduce((sum, { CapacityUnits }) => sum + CapacityUnits, 0);
}
