/**
 * Loaded into the engine before its own code (`--import`). Numbers the remote steps of the process as they happen: every
 * SDK send, every HTTP dispatch, every acknowledgement. Kills the process before or after the one that CRASH_AT
 * names (`7:before`), and tells of each acknowledgement on the standard output.
 */
import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';

const [crashStep, crashPhase] = (process.env['CRASH_AT'] ?? ':').split(':');
const numbers = new WeakMap<object, number>();
let count = 0;

function before(step: object): void {
  count += 1;
  numbers.set(step, count);
  crashIf(count, 'before');
}

function after(step: object): void {
  const number = numbers.get(step);
  if (number !== undefined) crashIf(number, 'after');
}

function crashIf(number: number, phase: string): void {
  if (String(number) === crashStep && phase === crashPhase) process.kill(process.pid, 'SIGKILL');
}

const requestOf = (message: unknown): object => (message as { request: object }).request;

// The AWS SDK goes through node:http. The engine's own server does not use these channels.
subscribe('http.client.request.start', (message) => before(requestOf(message)));
subscribe('http.client.response.finish', (message) => after(requestOf(message)));
// Deliveries go through undici.
subscribe('undici:request:create', (message) => before(requestOf(message)));
subscribe('undici:request:headers', (message) => after(requestOf(message)));
subscribe('tracing:handoff.queue.acknowledge:start', (message) => before(message as object));
subscribe('tracing:handoff.queue.acknowledge:end', (message) => {
  const acknowledged = message as { receiptHandles: string[] };
  after(acknowledged);
  writeSync(1, `acknowledged ${acknowledged.receiptHandles.length}\n`);
});
