import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, expect, it } from 'vitest';
import type { ExecutionKey } from '../../shared/executions/key.ts';
import { isParked } from '../../shared/executions/life-cycle.ts';
import { createRecoveries } from '../../shared/executions/recoveries.ts';
import { startReceiver } from '../support/http-server.ts';
import { retention } from '../support/write-executions.ts';
import { startLane } from './retrier/lane.ts';

/** Events that were sealed with a data key which the deployment does not have any more. */

const lane = await startLane('2026-11-23T10:00:01.000Z', { REDACT_PATHS: 'detail.data.iban' });
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const detail = { objectId: 12, data: { iban: 'DE02120300000000202051' } };

const unreadable =
  'What is redacted of it cannot be opened: it was sealed with another data key, or was changed.';

/** What is sealed of an execution cannot be opened any more. */
const spoil = (key: ExecutionKey) =>
  lane.dynamo.send(
    new UpdateCommand({
      TableName: lane.executionsTable,
      Key: key,
      UpdateExpression: 'SET eventSealed = :other',
      ConditionExpression: 'attribute_exists(eventSealed)',
      ExpressionAttributeValues: { ':other': new Uint8Array(64) },
    }),
  );

/** A day of runs, each long enough after the one before for what was lost to come back. */
async function passADay() {
  const retrier = lane.coldRetrier();
  for (let minutes = 0; minutes < 24 * 60; minutes += 19) {
    lane.clock.advance(19 * 60_000);
    await lane.sweep();
    await lane.retryDue(retrier);
  }
}

it('an execution whose event cannot be opened any more fails in the end, and says so on the bus', async () => {
  await using receiver = await startReceiver((_, response) => void response.writeHead(503).end());
  const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10] } });
  await lane.dispatch({ detail });
  for (const { key } of await lane.logOf(handler)) await spoil(key);
  await passADay();
  expect(await lane.logOf(handler)).toMatchObject([
    {
      state: { status: 'failed' },
      attempts: [{ statusCode: 503 }, { error: `event: ${unreadable}`, response: null }],
    },
  ]);
  expect(lane.bus.published().map(({ DetailType }) => DetailType)).toEqual(['handoff.execution.failed']);
  expect(receiver.requests).toHaveLength(1);
});

it('those that are parked do not keep the circuit open for the others', async () => {
  let isUp = false;
  await using receiver = await startReceiver(
    (_, response) => void response.writeHead(isUp ? 204 : 503).end(),
  );
  const handler = await lane.register({ target: { url: receiver.url }, retry: { schedule: [10] } });
  await lane.dispatchSome(8, { detail });
  const records = await lane.logOf(handler);
  expect(records.filter(({ state }) => isParked(state)).length).toBeGreaterThan(0);
  for (const { key } of records) await spoil(key);
  lane.clock.advance(60_000);
  await lane.dispatchSome(4, { detail });
  isUp = true;
  await passADay();
  const ended = (await lane.logOf(handler)).map(({ state }) => state.status);
  expect(ended.toSorted()).toEqual([
    ...Array.from({ length: 8 }, () => 'failed'),
    ...Array.from({ length: 4 }, () => 'succeeded'),
  ]);
});

it('one that may stand behind a halting handler stays held, and keeps no recovery from its end', async () => {
  await using receiver = await startReceiver((_, response) => void response.writeHead(404).end());
  const filter = { detail: { data: { iban: [{ exists: true }] } } };
  await lane.register({ onFailure: 'halt', priority: 1, filter, target: { url: receiver.url } });
  const behind = await lane.register({ priority: 2, target: { url: receiver.url } });
  await lane.dispatch({ detail });
  for (const { key } of await lane.logOf(behind)) await spoil(key);
  const table = { dynamo: lane.dynamo, tableName: lane.handlersTable, now: lane.clock.now };
  const recoveries = createRecoveries({ ...table, keptDays: retention.endedDays });
  const range = { from: '2026-11-23T00:00:00.000Z', to: '2026-11-23T23:59:59.999Z' };
  const { id } = await recoveries.start({ handlerId: behind.id, ...range, statuses: ['held'] });
  expect(await lane.sweep()).toMatchObject({ released: 0, problems: [] });
  expect(await recoveries.get(id)).toMatchObject({ status: 'done', found: 1, released: 0 });
  expect(await lane.logOf(behind)).toMatchObject([{ state: { status: 'held' } }]);
});
