import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { anEvent } from '../support/builders.ts';
import { startRawServer, startReceiver } from '../support/http-server.ts';
import { aMessage, again, startDispatcher } from '../functions/dispatcher/dispatcher.ts';
import { startLane } from '../functions/retrier/lane.ts';
import { parkMany } from '../functions/retrier/park-many.ts';

const minuteMs = 60_000;
let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;

/** New events, each of its own id. */
function someMessages(count: number) {
  const now = new Date();
  return Array.from({ length: count }, () =>
    aMessage({ body: anEvent({ time: now.toISOString() }), sentAt: now }),
  );
}

/** How many executions of a handler there are of each status and reason. */
async function statesOf({ id }: { id: string }): Promise<Record<string, number>> {
  const states: Record<string, number> = {};
  for (const { status, reason } of await dispatcher.rowsOf(`${id}#0`)) {
    const state = `${status as string}/${(reason ?? 'none') as string}`;
    states[state] = (states[state] ?? 0) + 1;
  }
  return states;
}

const healthOf = async ({ id }: { id: string }) => (await dispatcher.store.readAll()).health.get(id) ?? null;

/** An endpoint that has just died, in one way or another. */
async function startDead(how: 'hangs up' | 'answers 503' | 'hangs') {
  if (how === 'hangs up') {
    const server = await startRawServer((socket) => void socket.destroy());
    return { ...server, countCalls: () => server.sockets.length };
  }
  const receiver = await startReceiver((_, response) => {
    if (how === 'answers 503') response.writeHead(503).end();
  });
  return { ...receiver, countCalls: () => receiver.requests.length };
}

describe('2,000 events to an endpoint that has just died', () => {
  beforeAll(async () => {
    dispatcher = await startDispatcher();
  });
  afterEach(() => dispatcher.clear());
  afterAll(() => dispatcher[Symbol.asyncDispose]());

  // All write at once, through one embedded DynamoDB: what that makes wait for too long comes back, as from the queue.
  async function dispatchAll(count: number): Promise<void> {
    const services = dispatcher.coldStart();
    let messages = someMessages(count);
    while (messages.length > 0) {
      const { failedMessageIds } = await dispatcher.dispatch(messages, { services });
      messages = messages.filter(({ id }) => failedMessageIds.includes(id)).map(again);
    }
  }

  it.each([
    ['hangs up', 200, 10],
    ['answers 503', 20, 100],
    ['hangs', 20, 100],
    ['hangs', 200, 10],
  ] as const)(
    'that %s cost 300 attempts at most: %i environments at once, %i each',
    async (how, environments, each) => {
      await using dead = await startDead(how);
      const handler = await dispatcher.register({ target: { url: dead.url, timeoutMs: 2000 } });
      await Promise.all(Array.from({ length: environments }, () => dispatchAll(each)));

      const { 'waiting/retry': retry = 0, 'waiting/circuit': parked = 0, ...rest } = await statesOf(handler);
      const { 'waiting/busy': busy = 0, ...others } = rest;
      expect(dead.countCalls()).toBeLessThanOrEqual(300);
      expect(retry + parked + busy).toBe(2000);
      expect(others).toEqual({});
      expect((await healthOf(handler))?.circuit).toMatchObject({ failedProbes: 0, probe: null });
      process.stdout.write(`${how}, ${environments} x ${each}: ${dead.countCalls()} attempts\n`);
    },
    60_000,
  );
});

describe('once the endpoint is back', () => {
  it('2,000 parked executions are delivered within three minutes, at a retry scale of 0.01', async () => {
    const scale = 0.01;
    const fast = await startLane(undefined, { RETRY_SCALE: String(scale) });
    try {
      await using receiver = await startReceiver();
      const handler = await fast.register({ target: { url: receiver.url } });
      await parkMany(fast, handler, 2000);
      const startedAt = fast.clock.now().getTime();
      const retrier = fast.coldRetrier();
      for (let runs = 0; runs < 10; runs++) {
        fast.clock.advance(minuteMs * (runs === 0 ? 1 : scale));
        expect(await fast.sweep()).toMatchObject({ problems: [] });
        while (fast.queues.retries.counts().visible > 0) await fast.retryDue(retrier);
      }
      expect(receiver.requests).toHaveLength(2000);
      expect(fast.clock.now().getTime() - startedAt).toBeLessThan(3 * minuteMs);
    } finally {
      await fast.clear();
      await fast[Symbol.asyncDispose]();
    }
  }, 120_000);
});
