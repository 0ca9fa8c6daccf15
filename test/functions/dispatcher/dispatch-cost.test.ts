import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { anEvent } from '../../support/builders.ts';
import { startReceiver } from '../../support/http-server.ts';
import { answerTogether, crowdsOf100 } from './answers.ts';
import { aMessage, startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
});
afterEach(async () => {
  vi.useRealTimers();
  await dispatcher.clear();
});
afterAll(() => dispatcher[Symbol.asyncDispose]());

const batchSize = 100;

/** Dispatches 100 new events and gives what each of them cost; prints it. */
async function measure(name: string, services: ReturnType<typeof dispatcher.coldStart>) {
  const now = new Date();
  const messages = Array.from({ length: batchSize }, () =>
    aMessage({ body: anEvent({ time: now.toISOString() }), sentAt: now }),
  );
  dispatcher.wire.reset();
  const report = await dispatcher.dispatch(messages, { services });
  expect(report).toMatchObject({ failedMessageIds: [], problems: [], executions: { succeeded: batchSize } });

  const calls = dispatcher.wire.calls();
  const operations = [...Map.groupBy(calls, ({ operation }) => operation)]
    .map(([operation, same]) => `${same.length} ${operation}`)
    .join(', ');
  const cost = {
    calls: calls.length / batchSize,
    units: calls.reduce((sum, { capacityUnits }) => sum + capacityUnits, 0) / batchSize,
  };
  process.stdout.write(
    `${name}: ${cost.calls} calls and ${cost.units} capacity units an event (${operations})\n`,
  );
  return cost;
}

// A write unit is for the execution, half a read unit for the look whether it is there already; that half is missing on
// DynamoDB Local (test/support/dynamo.test.ts). Three calls beyond what is needed are allowed: on a busy machine
// a write goes out with fewer than 25 executions.
describe('the cost of each event, in a batch of 100 that succeed', () => {
  it('is 0.06 calls in a steady state, and 0.07 every ten seconds, when hourly counts are added', async () => {
    // Away from the end of an hour: the rows of a new hour are the next test's matter.
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-11-23T10:00:00Z') });
    await using receiver = await startReceiver(answerTogether(...crowdsOf100));
    await dispatcher.register({ target: { url: receiver.url } });
    const services = dispatcher.coldStart();
    await measure('first batch', services);

    vi.setSystemTime('2026-11-23T10:00:02Z');
    const steady = await measure('steady', services);
    expect(steady.calls).toBeLessThanOrEqual(0.09);
    expect(steady.units).toBeLessThanOrEqual(1.55);

    vi.setSystemTime('2026-11-23T10:00:20Z');
    const counting = await measure('with hourly counts', services);
    expect(counting.calls).toBeLessThanOrEqual(0.1);
    expect(counting.units).toBeLessThanOrEqual(1.56);
  });

  it('is 0.08 calls in the first batch of an environment, which loads the handlers and opens the hour', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-11-23T10:00:00Z') });
    await using receiver = await startReceiver(answerTogether(...crowdsOf100));
    await dispatcher.register({ target: { url: receiver.url } });

    const cold = await measure('cold', dispatcher.coldStart());
    expect(cold.calls).toBeLessThanOrEqual(0.11);
    expect(cold.units).toBeLessThanOrEqual(1.58);
  });
});
