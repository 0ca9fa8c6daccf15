import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { Recovery } from '../../shared/executions/recovery.ts';
import type { Handler } from '../../shared/handlers/handler.ts';
import type { Receiver } from '../support/http-server.ts';
import { connect, type System } from './system.ts';

// The sweeper comes once a minute, and what it lets go is spread over the next one.
const patience = { timeout: 180_000, interval: 500 };
const testTimeoutMs = 240_000;

let system: System;
let receiver: Receiver;

beforeAll(async () => {
  system = connect();
  receiver = await system.startReceiver((_, response) => void response.writeHead(204).end());
});
afterAll(async () => {
  await system.close();
  await receiver.close();
});

const arrivalsAt = (path: string) => receiver.requests.filter((request) => request.path === path);
const recover = <Answer>({ id }: Handler, body: object): Promise<Answer> =>
  system.api.post(`/v1/handlers/${id}/recover`, {
    from: new Date(Date.now() - 3_600_000).toISOString(),
    to: new Date(Date.now() + 3_600_000).toISOString(),
    ...body,
  });
const read = (id: string): Promise<Recovery> => system.api.get(`/v1/recoveries/${id}`);

it(
  'delivers what was held, and what had succeeded where that is asked for',
  { timeout: testTimeoutMs },
  async () => {
    const [type, other] = [system.newType(), system.newType()];
    const missing = await system.createHandler({ events: [type], url: `${receiver.url}/missing` });
    const done = await system.createHandler({ events: [other], url: `${receiver.url}/done` });
    await system.changeHandler(missing.id, { status: 'disabled' });
    await system.putEvents({ type }, { type }, { type }, { type: other });
    const held = await system.waitForExecutions(missing.id, 3);
    expect(held.map(({ status, reason }) => [status, reason])).toEqual(
      Array.from({ length: 3 }, () => ['held', 'disabled']),
    );
    await system.waitForStatus(done.id, 'succeeded');
    const refused = await system.api.request('POST', `/v1/handlers/${missing.id}/recover`, {
      from: '2026-01-01T00:00:00Z',
      to: '2026-01-02T00:00:00Z',
    });
    expect(refused.status).toBe(409);
    await system.changeHandler(missing.id, { status: 'enabled' });
    await system.inForce();

    expect(await recover(missing, { dryRun: true })).toEqual({ count: 3, exact: true });
    expect(await recover(done, { statuses: ['succeeded'], dryRun: true })).toEqual({ count: 1, exact: true });
    const begun = [
      await recover<Recovery>(missing, {}),
      await recover<Recovery>(done, { statuses: ['succeeded'] }),
    ];
    const ids = begun.map(({ id }) => id);
    expect(begun.map(({ status, handlerId }) => [status, handlerId])).toEqual([
      ['running', missing.id],
      ['running', done.id],
    ]);
    const { items } = await system.api.get<{ items: Recovery[] }>('/v1/recoveries?limit=100');
    expect(items.map(({ id }) => id)).toEqual(expect.arrayContaining(ids));

    const cancelled = await recover<Recovery>(done, { statuses: ['failed'] });
    expect(await system.api.post(`/v1/recoveries/${cancelled.id}/cancel`)).toMatchObject({
      status: 'cancelled',
    });

    for (const [index, count] of [3, 1].entries()) {
      const ended = await vi.waitUntil<Recovery | null>(async () => {
        const recovery = await read(ids[index] ?? '');
        return recovery.status === 'running' ? null : recovery;
      }, patience);
      expect(ended).toMatchObject({ status: 'done', reason: null, found: count, released: count });
      expect((await system.api.request('POST', `/v1/recoveries/${ended.id}/cancel`)).status).toBe(409);
    }
    await vi.waitUntil(async () => {
      const { items: executions } = await system.api.get<{ items: { status: string }[] }>(
        `/v1/executions?handlerId=${missing.id}`,
      );
      return executions.every(({ status }) => status === 'succeeded');
    }, patience);
    await vi.waitUntil(() => arrivalsAt('/done').length === 2, patience);

    const arrived = arrivalsAt('/missing').map(({ headers }) => String(headers['webhook-id']));
    expect(arrived.toSorted()).toEqual(held.map(({ eventId }) => `${eventId}_${missing.id}`).toSorted());
    // The same delivery as the first time.
    expect(new Set(arrivalsAt('/done').map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(await read(cancelled.id)).toMatchObject({ status: 'cancelled', reason: null, released: 0 });
  },
);
