import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Receiver } from '../support/http-server.ts';
import { connect, type System } from './system.ts';

let system: System;
let receiver: Receiver;
const up = new Set<string>();
beforeAll(async () => {
  system = connect();
  receiver = await system.startReceiver(({ path }, response) => {
    response.writeHead(path.startsWith('/halting') && !up.has(path) ? 503 : 204).end();
  });
});
afterAll(async () => {
  await system.close();
  await receiver.close();
});

it('holds what comes behind a handler that halts, until that has succeeded', async () => {
  const type = system.newType();
  const halting = await system.createHandler({
    events: [type],
    url: `${receiver.url}/halting`,
    priority: 1,
    onFailure: 'halt',
    retry: { schedule: [2] },
  });
  const later = await system.createHandler({ events: [type], url: `${receiver.url}/later`, priority: 2 });
  await system.putEvents({ type });
  expect(await system.waitForStatus(later.id, 'held')).toMatchObject({ reason: 'halted', attemptCount: 0 });
  up.add('/halting');

  expect(await system.waitForStatus(halting.id, 'succeeded')).toMatchObject({ attemptCount: 2 });
  expect(await system.waitForStatus(later.id, 'succeeded')).toMatchObject({ attemptCount: 1, generation: 1 });
  expect(receiver.requests.map(({ path }) => path)).toEqual(['/halting', '/halting', '/later']);
});

it('leaves it held when that fails for good, and a person may run it all the same', async () => {
  const type = system.newType();
  const halting = await system.createHandler({
    events: [type],
    url: `${receiver.url}/halting/for-good`,
    priority: 1,
    onFailure: 'halt',
    retry: { schedule: 'none' },
  });
  const later = await system.createHandler({ events: [type], url: `${receiver.url}/by-hand`, priority: 2 });
  await system.putEvents({ type });
  await system.waitForStatus(halting.id, 'failed');
  const { id } = await system.waitForStatus(later.id, 'held');

  await system.api.post(`/v1/executions/${id}/retry`);

  expect(await system.waitForStatus(later.id, 'succeeded')).toMatchObject({ attemptCount: 1 });
});
