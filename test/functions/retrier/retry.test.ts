import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { Services } from '../../../functions/retrier/services.ts';
import { isWaiting, type WaitingExecution } from '../../../shared/executions/claim.ts';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import type { ExecutionKey } from '../../../shared/executions/key.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { aScriptHandler } from '../../support/builders.ts';
import { startReceiver, type Respond } from '../../support/http-server.ts';
import { startLane } from './lane.ts';

const lane = await startLane();
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const nothing = { succeeded: 0, failed: 0, waiting: 0, held: 0 };

/** An endpoint that is down, and up again when the test says so. */
async function startSickReceiver() {
  const health = { up: false };
  const respond: Respond = (_, response) => void response.writeHead(health.up ? 200 : 503).end();
  return Object.assign(await startReceiver(respond), { health });
}

/** A handler whose first attempt of an event has failed. */
async function failOnce(input: Parameters<typeof lane.register>[0], eventId = 'e-1') {
  const handler = await lane.register(input);
  await lane.dispatch({ id: eventId });
  return handler;
}

async function only(handler: Pick<Handler, 'id'>): Promise<ExecutionRecord> {
  const records = await lane.logOf(handler);
  expect(records).toHaveLength(1);
  return records[0] as ExecutionRecord;
}

/** Takes the wake-up calls that the queue has now, as a retrier does that dies with them. Answers how many. */
const loseCalls = (): number =>
  lane.queues.retries.delete(lane.queues.retries.receive(10).map(({ receiptHandle }) => receiptHandle));

/** Changes a stored handler, as the API would. */
async function edit(handler: Handler, change: Partial<Handler>): Promise<void> {
  const { sealedSecrets } = await lane.store.get(handler.id);
  const { id, version } = handler;
  await lane.store.replace(
    { handler: { ...handler, ...change, id, version: version + 1 }, sealedSecrets },
    version,
  );
}

async function readWaiting(claims: Services['claims'], key: ExecutionKey): Promise<WaitingExecution | null> {
  const found = await claims.read(key);
  return found !== null && isWaiting(found) ? found : null;
}

describe('a later attempt', () => {
  it('is made when its time has come, under the same webhook-id, and ends the execution', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [60] } });
    expect(await lane.retryDue()).toMatchObject({ messages: 0 });

    receiver.health.up = true;
    lane.clock.advance(63_000);
    expect(await lane.retryDue()).toEqual({
      messages: 1,
      failedMessageIds: [],
      deadLetters: 0,
      stale: 0,
      putOff: 0,
      executions: { ...nothing, succeeded: 1 },
      problems: [],
    });
    const record = await only(handler);
    expect(record).toMatchObject({ state: { status: 'succeeded' }, attemptCount: 2, generation: 1 });
    expect(record.attempts.map(({ number, statusCode }) => [number, statusCode])).toEqual([
      [1, 503],
      [2, 200],
    ]);
    const ids = receiver.requests.map(({ headers }) => headers['webhook-id']);
    expect(ids).toEqual([`e-1_${handler.id}`, `e-1_${handler.id}`]);
    expect(lane.queues.retries.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
  });

  it('uses up the schedule of its handler, and no more', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10, 20] } });
    for (const seconds of [11, 22]) {
      lane.clock.advance(seconds * 1000);
      await lane.retryDue();
    }
    expect(await only(handler)).toMatchObject({ state: { status: 'failed' }, attemptCount: 3 });
    lane.clock.advance(3_600_000);
    expect(await lane.retryDue()).toMatchObject({ messages: 0 });
    expect(receiver.requests).toHaveLength(3);
  });

  it('waits out the fraction of a second that no queue knows', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    const { state } = await only(handler);
    const due = 'nextAttemptAt' in state ? Date.parse(state.nextAttemptAt) : Number.NaN;
    lane.clock.advance(10_000);
    expect(lane.clock.now().getTime()).toBeLessThan(due);
    await lane.retryDue();
    const [, second] = (await only(handler)).attempts;
    expect(Date.parse(second?.at ?? '')).toBeGreaterThanOrEqual(due);
  });

  it('goes by the handler as it is now', async () => {
    await using old = await startSickReceiver();
    await using receiver = await startReceiver();
    const handler = await failOnce({ target: { url: old.url }, retry: { schedule: [10] } });
    await edit(handler, {
      name: 'CRM, moved',
      target: { ...handler.target, url: `${receiver.url}/moved` },
    });
    lane.clock.advance(11_000);
    await lane.retryDue();
    expect(await only(handler)).toMatchObject({
      state: { status: 'succeeded' },
      handlerName: 'CRM, moved',
      request: { url: `${receiver.url}/moved` },
    });
    expect(old.requests).toHaveLength(1);
  });

  it('is not begun when the deadline is too near, and comes up again', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    lane.clock.advance(11_000);
    const deadline = new Date(lane.clock.now().getTime() + 12_000);
    expect(await lane.retryDue(lane.coldRetrier(), { deadline })).toMatchObject({
      putOff: 1,
      executions: nothing,
    });
    expect((await only(handler)).attemptCount).toBe(1);
    expect(await lane.retryDue()).toMatchObject({ executions: { failed: 1 } });
  });
});

describe('a wake-up call', () => {
  it('does nothing when it is doubled', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10, 3600] } });
    await lane.wake(await only(handler));
    await lane.wake(await only(handler));
    lane.clock.advance(10_600);
    expect(await lane.retryDue()).toMatchObject({ messages: 3, stale: 2, executions: { waiting: 1 } });
    expect(receiver.requests).toHaveLength(2);
  });

  it.each([
    ['comes long before its time', { schedule: [3600] }, 1],
    ['is for an earlier generation', { schedule: [10] }, 0],
  ])('does nothing when it %s', async (_, retry, generation) => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry });
    const { key } = await only(handler);
    if (generation === 0) lane.clock.advance(60_000);
    loseCalls();
    await lane.wake({ key, generation });
    expect(await lane.retryDue()).toMatchObject({ stale: 1 });
    expect(receiver.requests).toHaveLength(1);
  });

  it('does nothing for an execution that is gone or has ended', async () => {
    await using receiver = await startReceiver();
    const handler = await failOnce({ target: { url: receiver.url } });
    const { key } = await only(handler);
    await lane.wake({ key, generation: 1 });
    await lane.wake({ key: { ...key, sk: `${key.sk}-gone` }, generation: 1 });
    expect(await lane.retryDue()).toMatchObject({ messages: 2, stale: 2 });
    expect(receiver.requests).toHaveLength(1);
  });

  it.each(['not JSON', '{"pk":"h_1#0"}', '[]', '{"pk":"h_1#0","sk":"","generation":1}'])(
    'that is none becomes a dead letter: %s',
    async (body) => {
      await lane.queues.retries.send([{ body }]);
      expect(await lane.retryDue()).toMatchObject({ deadLetters: 1, problems: [] });
      expect(lane.queues.retries.counts().visible).toBe(0);
    },
  );

  it('comes back when the table cannot be read', async () => {
    await using receiver = await startSickReceiver();
    await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    lane.clock.advance(11_000);
    lane.wire.refuse(({ operation }) => operation === 'GetItem');
    const report = await lane.retryDue();
    expect(report.failedMessageIds).toHaveLength(1);
    expect(report.problems).not.toEqual([]);
  });
});

describe('clocks that differ', () => {
  it('a call that comes seconds early goes back for the rest of the time', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    await lane.wake(await only(handler));
    lane.clock.advance(5000);
    expect(await lane.retryDue()).toMatchObject({ messages: 1, putOff: 1 });
    expect(receiver.requests).toHaveLength(1);
    lane.clock.advance(6000);
    expect(await lane.retryDue()).toMatchObject({ executions: { failed: 1 } });
  });

  it('a claim of a clock that is days ahead keeps nobody off', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    const { claims } = lane.coldRetrier();
    const waiting = await readWaiting(claims, (await only(handler)).key);
    if (waiting === null) throw new Error('It does not wait.');
    await claims.claim(waiting, 86_400_000);
    lane.clock.advance(11_000);
    expect(await lane.retryDue()).toMatchObject({ executions: { failed: 1 } });
  });
});

describe('a claim', () => {
  it('whose answer was lost is taken as what it is', async () => {
    await using receiver = await startSickReceiver();
    await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    lane.clock.advance(11_000);
    let updates = 0;
    // The first try is done, and the second one of the SDK finds what it wrote.
    lane.wire.interceptAnswer(({ operation, text }) =>
      operation === 'UpdateItem' && text.includes('claimToken') && updates++ === 0
        ? { status: 500, body: { __type: 'InternalServerError' } }
        : null,
    );
    expect(await lane.retryDue()).toMatchObject({ stale: 0, executions: { failed: 1 } });
    expect(updates).toBe(2);
    expect(receiver.requests).toHaveLength(2);
  });

  it('of what was lost before is worked off alone', async () => {
    const underWay = { now: 0, most: 0, isUp: false };
    await using receiver = await startReceiver(async (_, response) => {
      underWay.now += 1;
      underWay.most = Math.max(underWay.most, underWay.now);
      await new Promise((resolve) => setImmediate(resolve));
      underWay.now -= 1;
      response.writeHead(underWay.isUp ? 204 : 503).end();
    });
    const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10] } });
    for (const id of ['e-1', 'e-2', 'e-3']) await lane.dispatch({ id });
    lane.clock.advance(11_000);
    loseCalls();
    const { claims } = lane.coldRetrier();
    for (const { key } of await lane.logOf(handler)) {
      const waiting = await readWaiting(claims, key);
      if (waiting === null) throw new Error('It does not wait.');
      await claims.claim(waiting, 1000);
    }
    lane.clock.advance(2000);
    for (const record of await lane.logOf(handler)) await lane.wake(record);
    underWay.most = 0;
    underWay.isUp = true;
    expect(await lane.retryDue()).toMatchObject({ executions: { succeeded: 3 } });
    expect(underWay.most).toBe(1);
  });

  it('is settled although it cannot be counted', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    receiver.health.up = true;
    lane.clock.advance(11_000);
    lane.wire.refuse(({ operation, text }) => operation === 'UpdateItem' && text.includes('HOUR'));
    const report = await lane.retryDue();
    expect(report).toMatchObject({ failedMessageIds: [], executions: { succeeded: 1 } });
    expect(report.problems).not.toEqual([]);
    expect(await only(handler)).toMatchObject({ state: { status: 'succeeded' } });
  });

  it('lets one of two retriers make the attempt', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    await lane.wake(await only(handler));
    lane.clock.advance(11_000);
    const reports = await Promise.all([
      lane.retryDue(lane.coldRetrier()),
      (async () => {
        await lane.wake(await only(handler));
        return lane.retryDue(lane.coldRetrier());
      })(),
    ]);
    expect(reports.reduce((sum, { executions }) => sum + executions.failed, 0)).toBe(1);
    expect(receiver.requests).toHaveLength(2);
  });

  it('that ended without a result is taken over, and the third one is logged as a failed attempt', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10, 20] } });
    lane.clock.advance(11_000);
    loseCalls();
    for (let lost = 1; lost <= 3; lost++) {
      await loseClaim(handler);
      await lane.wake(await only(handler));
      // Whose worker may still be alive is left alone.
      expect(await lane.retryDue()).toMatchObject({ stale: 1 });
      lane.clock.advance(25_000);
    }
    await lane.wake(await only(handler));
    expect(await lane.retryDue()).toMatchObject({ executions: { waiting: 1 } });
    expect(await only(handler)).toMatchObject({
      state: { status: 'waiting', reason: 'retry' },
      attemptCount: 2,
      attempts: [{ statusCode: 503 }, { error: 'lost: 3 calls in a row ended without a result' }],
    });
    expect(receiver.requests).toHaveLength(1);

    // The next one is made again: the count was of this attempt.
    receiver.health.up = true;
    lane.clock.advance(22_000);
    expect(await lane.retryDue()).toMatchObject({ executions: { succeeded: 1 } });
  });

  /** Leaves a claim behind, as a retrier does that dies during its call. */
  async function loseClaim(handler: Handler): Promise<void> {
    const { claims } = lane.coldRetrier();
    const waiting = await readWaiting(claims, (await only(handler)).key);
    if (waiting === null) throw new Error('It does not wait.');
    expect(await claims.claim(waiting, 25_000)).not.toBeNull();
  }

  it('that was lost to a success of the same generation leaves the success alone', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    const { claims } = lane.coldRetrier();
    const { key } = await only(handler);
    const waiting = await readWaiting(claims, key);
    if (waiting === null) throw new Error('It does not wait.');
    const first = await claims.claim(waiting, 1000);
    lane.clock.advance(2000);
    const second = await claims.claim((await readWaiting(claims, key)) ?? waiting, 1000);
    if (first === null || second === null) throw new Error('Both were to be taken.');

    const success = { ...waiting.record, state: { status: 'succeeded' } as const };
    const failure = { ...waiting.record, state: { status: 'failed' } as const };
    // The one whose lease is over comes back well: that counts, and what the other one finds does not.
    expect(await claims.settle(waiting, failure, first)).toMatchObject({ lost: true });
    expect(await claims.settle(waiting, success, first)).toMatchObject({ lost: false });
    expect(await claims.settle(waiting, failure, second)).toMatchObject({ lost: true });
    expect((await only(handler)).state).toEqual({ status: 'succeeded' });
  });
});

describe('a script that AWS has no room for', () => {
  it('waits without an attempt, and runs when there is room', async () => {
    let busy = true;
    await using lambda = await startReceiver((_, response) => {
      if (busy) response.writeHead(429, { 'x-amzn-errortype': 'TooManyRequestsException' }).end('{}');
      else response.writeHead(200, { 'content-type': 'application/json' }).end('{"done":true}');
    });
    vi.stubEnv('AWS_ENDPOINT_URL_LAMBDA', lambda.url);
    const handler = aScriptHandler({ script: 'balance-guard', retry: { schedule: 'none' } });
    await lane.registerAs(handler);
    const settings = { SCRIPTS: 'balance-guard', SCRIPT_FUNCTION_PREFIX: 'handoff-script-' };
    expect(await lane.dispatch({}, settings)).toMatchObject({ executions: { waiting: 1 } });
    expect(await only(handler)).toMatchObject({
      state: { status: 'waiting', reason: 'busy' },
      attemptCount: 0,
      attempts: [],
      request: null,
    });

    lane.clock.advance(16_000);
    expect(await lane.retryDue(lane.coldRetrier(settings))).toMatchObject({ executions: { waiting: 1 } });
    expect(await only(handler)).toMatchObject({ attemptCount: 0, putOffs: 2 });
    busy = false;
    // The second time it waits for twice as long.
    lane.clock.advance(16_000);
    expect(await lane.retryDue(lane.coldRetrier(settings))).toMatchObject({ messages: 0 });
    lane.clock.advance(15_000);
    expect(await lane.retryDue(lane.coldRetrier(settings))).toMatchObject({ executions: { succeeded: 1 } });
    expect(await only(handler)).toMatchObject({
      state: { status: 'succeeded' },
      attemptCount: 1,
      attempts: [{ number: 1, statusCode: null, response: '{"done":true}' }],
      request: { type: 'script', script: 'balance-guard' },
    });
  });
});

describe('what waits for a handler that does not run any more', () => {
  it.each([
    ['disabled', { status: 'held', reason: 'disabled' }],
    ['archived', { status: 'failed', reason: 'archived' }],
  ] as const)('is settled without a call: %s', async (status, state) => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    await edit(handler, { status });
    lane.clock.advance(11_000);
    expect(await lane.retryDue()).toMatchObject({ executions: { [state.status]: 1 } });
    expect(await only(handler)).toMatchObject({ state, attemptCount: 1 });
    expect(receiver.requests).toHaveLength(1);
  });

  it('fails when the handler was deleted', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    await lane.store.remove(handler.id, 1);
    lane.clock.advance(11_000);
    await lane.retryDue();
    expect(await only(handler)).toMatchObject({ state: { status: 'failed', reason: 'deleted' } });
  });

  it.each(['disabled', 'archived'] as const)(
    'goes on when its handler was %s and is enabled again, whatever an older registry says',
    async (status) => {
      await using receiver = await startSickReceiver();
      const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
      await edit(handler, { status });
      lane.clock.advance(10_300);
      const services = lane.coldRetrier();
      await services.currentRegistry();
      await edit({ ...handler, version: 2 }, { status: 'enabled' });
      lane.clock.advance(400);
      expect(await lane.retryDue(services)).toMatchObject({ putOff: 1, executions: nothing });
      lane.clock.advance(1000);
      expect(await lane.retryDue(services)).toMatchObject({ executions: { failed: 1 } });
      expect(receiver.requests).toHaveLength(2);
    },
  );

  it('is not ended by a registry that is older than the handler', async () => {
    await using receiver = await startSickReceiver();
    const services = lane.coldRetrier();
    await services.currentRegistry();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    lane.clock.advance(10_600);
    // The view of this environment is stretched: the clock of its registry has not moved.
    const stale = {
      ...services,
      currentRegistry: async () => ({
        matching: () => [],
        askedFor: () => [],
        find: () => null,
        eventType: () => null,
      }),
    };
    expect(await lane.retryDue(stale)).toMatchObject({ putOff: 1, executions: nothing });
    lane.clock.advance(1000);
    expect(await lane.retryDue(services)).toMatchObject({ executions: { failed: 1 } });
    expect((await only(handler)).attemptCount).toBe(2);
  });
});

describe('the sweeper', () => {
  it('wakes what has lost its call, once, and again when that is lost too', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({ target: { url: receiver.url }, retry: { schedule: [10, 3600] } });
    lane.clock.advance(11_000);
    expect(loseCalls()).toBe(1);
    expect(await lane.sweep()).toMatchObject({ woken: 0 });

    lane.clock.advance(120_000);
    expect(await lane.sweep()).toMatchObject({ woken: 1, problems: [] });
    expect(await lane.sweep()).toMatchObject({ woken: 0 });
    expect(loseCalls()).toBe(1);

    lane.clock.advance(17 * 60_000);
    expect(await lane.sweep()).toMatchObject({ woken: 1 });
    expect(await lane.retryDue()).toMatchObject({ executions: { waiting: 1 } });
    expect((await only(handler)).attemptCount).toBe(2);
  });

  it('takes what a dead retrier had claimed, when the lease is over', async () => {
    await using receiver = await startSickReceiver();
    const handler = await failOnce({
      target: { url: receiver.url, timeoutMs: 1000 },
      retry: { schedule: [10] },
    });
    lane.clock.advance(11_000);
    const { claims } = lane.coldRetrier();
    const waiting = await readWaiting(claims, (await only(handler)).key);
    if (waiting === null) throw new Error('It does not wait.');
    await claims.claim(waiting, 16_000);
    expect(await lane.retryDue()).toMatchObject({ stale: 1 });
    expect(await lane.sweep()).toMatchObject({ woken: 0 });
    lane.clock.advance(16_000);
    // A little later than the end of the lease, for clocks that differ.
    expect(await lane.sweep()).toMatchObject({ woken: 0 });
    lane.clock.advance(5000);
    expect(await lane.sweep()).toMatchObject({ woken: 1 });
    expect(await lane.retryDue()).toMatchObject({ executions: { failed: 1 } });
  });

  it('leaves to another run what that has taken', async () => {
    await using receiver = await startSickReceiver();
    for (const id of ['e-1', 'e-2', 'e-3']) {
      await lane.register({
        id: `h_${id}`,
        target: { url: receiver.url },
        events: [`crm.${id}`],
        retry: { schedule: [10] },
      });
      await lane.dispatch({ id, type: `crm.${id}` });
    }
    lane.clock.advance(140_000);
    const reports = await Promise.all([lane.sweep(), lane.sweep()]);
    expect(reports.reduce((sum, { woken }) => sum + woken, 0)).toBe(3);
  });

  it('says what it could not do, and does it at the next run', async () => {
    await using receiver = await startSickReceiver();
    await failOnce({ target: { url: receiver.url }, retry: { schedule: [10] } });
    lane.clock.advance(140_000);
    lane.wire.refuse(({ operation }) => operation === 'Query');
    expect((await lane.sweep()).problems).not.toEqual([]);
    lane.wire.reset();
    expect(await lane.sweep()).toMatchObject({ woken: 1, problems: [] });
  });
});
