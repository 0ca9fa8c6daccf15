import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Execution } from '../../shared/executions/execution.ts';
import type { Receiver } from '../support/http-server.ts';
import { connect, type System } from './system.ts';

let system: System;
let receiver: Receiver;
const up = new Set<string>();

beforeAll(async () => {
  system = connect();
  receiver = await system.startReceiver(({ path }, response) => {
    response.writeHead(up.has(path) ? 200 : 503).end();
  });
});

afterAll(async () => {
  await system.close();
  await receiver.close();
});

const arrivalsAt = (path: string) => receiver.requests.filter((request) => request.path === path);

describe('a failed attempt', () => {
  it('is repeated when its wait is over, never before, and the same delivery arrives', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/recovers`,
      retry: { schedule: [1, 1, 1] },
    });
    await system.putEvents({ type });
    const waiting = await system.waitForStatus(handler.id, 'waiting');
    expect(waiting).toMatchObject({ reason: 'retry', statusCode: 503, attemptCount: 1 });
    up.add('/recovers');

    const { id } = await system.waitForStatus(handler.id, 'succeeded');

    const { attempts, nextAttemptAt } = await system.getExecution(id);
    expect(nextAttemptAt).toBeNull();
    expect(attempts.map(({ statusCode }) => statusCode)).toEqual([503, 200]);
    const [first, second] = attempts;
    const waitedMs = Date.parse(second?.at ?? '') - Date.parse(first?.at ?? '') - (first?.durationMs ?? 0);
    expect(waitedMs).toBeGreaterThanOrEqual(1000);
    const deliveries = arrivalsAt('/recovers');
    expect(new Set(deliveries.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(new Set(deliveries.map(({ body }) => body)).size).toBe(1);
  });

  it('ends the execution when the schedule is used up', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/down`,
      retry: { schedule: [1] },
    });
    await system.putEvents({ type });
    expect(await system.waitForStatus(handler.id, 'failed')).toMatchObject({
      attemptCount: 2,
      statusCode: 503,
      error: 'http: status 503',
      nextAttemptAt: null,
    });
    expect(arrivalsAt('/down')).toHaveLength(2);
  });
});

describe('one more attempt by hand', () => {
  it('of a failed execution is a new generation', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/mended`,
      retry: { schedule: 'none' },
    });
    await system.putEvents({ type });
    const failed = await system.waitForStatus(handler.id, 'failed');
    up.add('/mended');

    const reopened = await system.api.post<Execution>(`/v1/executions/${failed.id}/retry`);
    expect(reopened).toMatchObject({ id: failed.id, status: 'waiting', generation: 2, attemptCount: 1 });

    expect(await system.waitForStatus(handler.id, 'succeeded')).toMatchObject({
      generation: 2,
      attemptCount: 2,
    });
  });

  it('of one that waits does not wait for its time', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/hurried`,
      retry: { schedule: [86_400] },
    });
    await system.putEvents({ type });
    const waiting = await system.waitForStatus(handler.id, 'waiting');
    up.add('/hurried');
    await system.api.post(`/v1/executions/${waiting.id}/retry`);
    expect(await system.waitForStatus(handler.id, 'succeeded')).toMatchObject({
      generation: 1,
      attemptCount: 2,
    });
  });

  it('is refused while the handler is disabled', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/off`,
      retry: { schedule: 'none' },
    });
    await system.putEvents({ type });
    const failed = await system.waitForStatus(handler.id, 'failed');
    await system.changeHandler(handler.id, { status: 'disabled' });
    const answer = await system.api.request('POST', `/v1/executions/${failed.id}/retry`);
    expect(answer).toMatchObject({ status: 409, body: { detail: expect.stringContaining('disabled') } });
    expect(arrivalsAt('/off')).toHaveLength(1);
  });
});
