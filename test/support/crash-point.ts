/**
 * Loaded into the engine before its own code (`--import`). Counts the remote steps of the process that change anything, as
 * they happen: SDK calls that write, deliveries, acknowledgements. Kills the process before or after one of them. A
 * step that only reads is none: killed there, a process leaves behind what it leaves behind after the step before.
 *
 * It is armed by a request. `GET /healthz?count` counts from there, and with `from=PutItem:3` from when the third such step
 * has ended; with `crash=before:UpdateItem:2` the process dies at its second UpdateItem. Each step is counted by its
 * name, because steps side by side come in any order. It prints each step that it counts, when it begins and when it has ended, and each
 * acknowledgement.
 */
import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';
import type { ClientRequest, IncomingMessage } from 'node:http';

const reads = new Set([
  'BatchGetItem',
  'GetFunctionConfiguration',
  'GetItem',
  'ListTables',
  'Query',
  'ReceiveMessage',
]);

const numbers = new WeakMap<object, string>();
let isCounting = false;
let crashAt = '';
let beginsAfter = { name: '', times: 0 };
let counts = new Map<string, number>();

function arm(parameters: URLSearchParams): void {
  crashAt = parameters.get('crash') ?? '';
  const [name = '', times = 0] = (parameters.get('from') ?? '').split(':');
  beginsAfter = { name, times: Number(times) };
  counts = new Map();
  isCounting = true;
}

function before(step: object, name: string): void {
  if (!isCounting || beginsAfter.times > 0 || reads.has(name)) return;
  const number = (counts.get(name) ?? 0) + 1;
  counts.set(name, number);
  numbers.set(step, `${name}:${number}`);
  print(`step ${name}:${number}`);
  crashIf(`before:${name}:${number}`);
}

function after(step: object, name: string): void {
  const number = numbers.get(step);
  if (number !== undefined) {
    print(`ended ${number}`);
    crashIf(`after:${number}`);
  }
  if (isCounting && name === beginsAfter.name) beginsAfter.times -= 1;
}

function crashIf(place: string): void {
  if (place !== crashAt) return;
  print(`killed ${place}`);
  process.kill(process.pid, 'SIGKILL');
}

// Synchronous, or the last lines of a process that is killed would never come.
const print = (line: string): number => writeSync(1, `${line}\n`);

/** Of the AWS SDK: `DynamoDB_20120810.PutItem`, `AmazonSQS.SendMessageBatch`; Lambda's calls are told by their paths. */
function callName(request: ClientRequest): string {
  const target = request.getHeader('x-amz-target');
  if (typeof target === 'string') return target.slice(target.indexOf('.') + 1);
  return request.path.endsWith('/configuration') ? 'GetFunctionConfiguration' : 'Invoke';
}

const sdkCall = (message: unknown): ClientRequest => (message as { request: ClientRequest }).request;
const delivery = (message: unknown): object => (message as { request: object }).request;

subscribe('http.server.request.start', (message) => {
  const { url = '' } = (message as { request: IncomingMessage }).request;
  if (url.startsWith('/healthz?count')) arm(new URLSearchParams(url.slice(url.indexOf('?'))));
});
// The AWS SDK goes through node:http. The engine's own server does not use these channels.
subscribe('http.client.request.start', (message) => before(sdkCall(message), callName(sdkCall(message))));
subscribe('http.client.response.finish', (message) => after(sdkCall(message), callName(sdkCall(message))));
// Deliveries go through undici.
subscribe('undici:request:create', (message) => before(delivery(message), 'delivery'));
subscribe('undici:request:headers', (message) => after(delivery(message), 'delivery'));
subscribe('tracing:handoff.queue.acknowledge:start', (message) => before(message as object, 'acknowledge'));
subscribe('tracing:handoff.queue.acknowledge:end', (message) => {
  after(message as object, 'acknowledge');
  const { queue, receiptHandles } = message as { queue: string; receiptHandles: string[] };
  print(`acknowledged ${receiptHandles.length} of ${queue}`);
});
