import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { connect, type System } from './system.ts';

let system: System;
beforeAll(() => {
  system = connect();
});
afterAll(() => system.close());

const send = async (method: string, path: string, body?: object) => {
  const answer = await system.send(path, { method, ...(body && { body: JSON.stringify(body) }) });
  return { status: answer.status, body: answer.status === 204 ? null : ((await answer.json()) as Body) };
};
type Body = Record<string, unknown> & { errors?: { field: string }[] };

it('holds events against a type that was described a second ago, and forgets it when it is deleted', async () => {
  await using receiver = await system.startReceiver((_, response) => void response.end());
  const type = system.newType();
  const path = `/v1/event-types/${type}`;
  const handler = await system.createHandler({ events: [type], url: receiver.url });
  const description = {
    label: 'Acceptance: described',
    schema: { properties: { data: { required: ['id'], properties: { id: { type: 'integer' } } } } },
    sample: { data: { id: 1 } },
  };
  const wrong = { objectId: 1, data: { id: 'one' } };
  const right = { objectId: 1, data: { id: 1 } };

  expect(await send('PUT', path, description)).toMatchObject({ status: 201, body: { enabledHandlers: 1 } });
  await delay(1000);
  await system.putEvents({ type, detail: wrong });
  const [warned] = await system.waitForExecutions(handler.id, 1);
  expect(warned).toMatchObject({ status: 'succeeded', warnings: ['data.id must be integer'] });

  expect((await send('PUT', path, { ...description, validation: 'strict' })).status).toBe(200);
  const refused = await send('POST', '/v1/events', { type, ...wrong });
  expect([refused.status, refused.body?.errors?.map(({ field }) => field)]).toEqual([400, ['data.id']]);
  await delay(1000);
  await system.putEvents({ type, detail: wrong });
  const letter = await vi.waitUntil(
    async () => {
      const { items } = await system.api.get<{ items: { body: string; reason: string }[] }>(
        '/v1/dead-letters?limit=100',
      );
      return items.find(({ body }) => body.includes(type)) ?? null;
    },
    { timeout: 20_000, interval: 50 },
  );
  expect(letter?.reason).toContain('data.id must be integer');
  expect((await send('POST', '/v1/events', { type, ...right })).status).toBe(202);
  expect((await system.waitForExecutions(handler.id, 2))[0]?.warnings).toEqual([]);

  expect((await send('DELETE', path)).status).toBe(204);
  await delay(1000);
  await system.putEvents({ type, detail: wrong });
  expect((await system.waitForExecutions(handler.id, 3))[0]?.warnings).toEqual([]);
  expect(receiver.requests).toHaveLength(3);
});
