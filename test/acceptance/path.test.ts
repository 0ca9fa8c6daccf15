import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Execution } from '../../shared/executions/execution.ts';
import type { Receiver } from '../support/http-server.ts';
import { connect, type System } from './system.ts';

let system: System;
let receiver: Receiver;

beforeAll(async () => {
  system = connect();
  receiver = await system.startReceiver(({ path }, response) => {
    if (path === '/busy') response.writeHead(500).end('not now');
    else if (path === '/moved') response.writeHead(302, { location: `${receiver.url}/ok` }).end();
    else if (path === '/never') return;
    else response.writeHead(200).end('thank you');
  });
});

afterAll(async () => {
  await system.close();
  await receiver.close();
});

const receivedAt = (path: string) => receiver.requests.filter((request) => request.path === path);

describe('an event on its way', () => {
  it('reaches the handler signed, and the log shows the execution', async () => {
    const type = system.newType();
    const handler = await system.createHandler({ events: [type], url: `${receiver.url}/path` });

    const [entry] = await system.putEvents({
      type,
      detail: { objectId: 7, data: { name: 'Ada' }, changed: ['name'] },
    });
    const [execution] = await system.waitForExecutions(handler.id, 1);

    const [delivery] = receivedAt('/path');
    const body = new Webhook(handler.secret).verify(
      delivery?.body ?? '',
      delivery?.headers as Record<string, string>,
    );
    expect(body).toEqual({
      type,
      timestamp: execution?.eventTime,
      data: { name: 'Ada' },
      objectId: 7,
      changed: ['name'],
    });
    expect(delivery?.headers['webhook-id']).toBe(`${entry?.EventId}_${handler.id}`);
    expect(execution).toMatchObject({
      handlerId: handler.id,
      eventId: entry?.EventId,
      event: type,
      objectId: 7,
      status: 'succeeded',
      attemptCount: 1,
      statusCode: 200,
      error: null,
      nextAttemptAt: null,
    });
    const detail = await system.getExecution(execution?.id ?? '');
    expect(detail.eventBody).toMatchObject({ id: entry?.EventId, 'detail-type': type, source: 'acceptance' });
    expect(detail.request).toMatchObject({
      method: 'POST',
      url: `${receiver.url}/path`,
      body: delivery?.body,
    });
    expect(detail.attempts).toMatchObject([
      { number: 1, statusCode: 200, response: 'thank you', error: null },
    ]);
  });

  it('published through the API, takes the same way', async () => {
    const type = system.newType();
    const handler = await system.createHandler({ events: [type], url: `${receiver.url}/from-api` });

    await system.inForce();
    const published = await system.api.post<{ id: string; time: string }>('/v1/events', {
      type,
      objectId: 'a-1',
      data: { ok: true },
    });
    const [execution] = await system.waitForExecutions(handler.id, 1);

    expect(execution).toMatchObject({ eventId: published.id, eventTime: published.time, objectId: 'a-1' });
  });

  it('finds its handlers by exact name, by prefix and by star', async () => {
    const stem = system.newType();
    const exact = await system.createHandler({ events: [`${stem}.a.b`], url: `${receiver.url}/ok` });
    const prefix = await system.createHandler({ events: [`${stem}.*`], url: `${receiver.url}/ok` });
    const all = await system.createHandler({ events: ['*'], url: `${receiver.url}/ok` });

    await system.putEvents({ type: `${stem}.a.b` }, { type: `${stem}.c` });

    await system.waitForExecutions(all.id, 2);
    expect((await system.waitForExecutions(prefix.id, 2)).map(({ event }) => event).toSorted()).toEqual([
      `${stem}.a.b`,
      `${stem}.c`,
    ]);
    expect((await system.waitForExecutions(exact.id, 1)).map(({ event }) => event)).toEqual([`${stem}.a.b`]);
    await system.api.delete(`/v1/handlers/${all.id}`);
  });

  it('runs handlers by ascending priority', async () => {
    const type = system.newType();
    const last = await system.createHandler({ events: [type], url: `${receiver.url}/last`, priority: 900 });
    await system.createHandler({ events: [type], url: `${receiver.url}/first`, priority: 1 });

    await system.putEvents({ type });
    await system.waitForExecutions(last.id, 1);

    const first = receivedAt('/first')[0]?.at.getTime() ?? Number.NaN;
    expect(first).toBeLessThanOrEqual(receivedAt('/last')[0]?.at.getTime() ?? Number.NaN);
  });
});

describe('what goes wrong', () => {
  it.each([
    ['/busy', 'waiting', 500, /500/u],
    ['/moved', 'failed', 302, /redirect/u],
  ])('at %s leaves one readable row, %s', async (path, status, statusCode, error) => {
    const type = system.newType();
    const handler = await system.createHandler({ events: [type], url: receiver.url + path });

    await system.putEvents({ type });
    const [execution] = await system.waitForExecutions(handler.id, 1);

    expect(execution).toMatchObject({ status, statusCode, error: expect.stringMatching(error) as string });
  });

  it('with a target that never answers costs its timeout and is tried again later', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/never`,
      target: { timeoutMs: 100 },
    });

    await system.putEvents({ type });
    const [execution] = await system.waitForExecutions(handler.id, 1);

    expect(execution).toMatchObject({ status: 'waiting', reason: 'retry', statusCode: null });
    expect(execution?.error).toContain('timeout');
    expect(execution?.nextAttemptAt).not.toBeNull();
  });

  it('holds what a disabled handler misses, and delivers nothing', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/disabled`,
      status: 'disabled',
    });

    await system.putEvents({ type });
    const [execution] = await system.waitForExecutions(handler.id, 1);

    expect(execution).toMatchObject({
      status: 'held',
      reason: 'disabled',
      attemptCount: 0,
      statusCode: null,
    });
    expect(receivedAt('/disabled')).toEqual([]);
  });
});

describe('a filter', () => {
  it('lets through what it matches, with numbers as they were written, and leaves no trace of the rest', async () => {
    const type = system.newType();
    const filter = {
      source: ['acceptance'],
      detail: { data: { name: [{ prefix: 'A' }], balance: [{ numeric: ['<', 0] }] } },
    };
    const filtered = await system.createHandler({ events: [type], url: `${receiver.url}/filtered`, filter });
    const all = await system.createHandler({ events: [type], url: `${receiver.url}/ok` });
    for (const data of [
      { name: 'Ada', balance: -1 },
      { name: 'Bob', balance: -1 },
      { name: 'Ada', balance: '-1' },
    ])
      await system.putEvents({ type, detail: { data } });
    await system.waitForExecutions(all.id, 3);
    expect(await system.waitForExecutions(filtered.id, 1)).toMatchObject([{ status: 'succeeded' }]);
    expect(receivedAt('/filtered')).toHaveLength(1);
  });
});

describe('an edit', () => {
  it('works for every event published one second after the answer', async () => {
    const type = system.newType();
    const handler = await system.createHandler({ events: [type], url: `${receiver.url}/before` });
    const mirror = await system.createHandler({ events: [type], url: `${receiver.url}/ok` });
    await system.putEvents({ type });
    await system.waitForExecutions(handler.id, 1);

    await system.changeHandler(handler.id, { target: { url: `${receiver.url}/after` } });
    await system.putEvents({ type });
    await system.waitForExecutions(handler.id, 2);
    expect([receivedAt('/before').length, receivedAt('/after').length]).toEqual([1, 1]);

    await system.changeHandler(handler.id, { status: 'disabled' });
    await system.putEvents({ type });
    const executions = await system.waitForExecutions(handler.id, 3);
    expect(executions.filter(({ status }) => status === 'held')).toHaveLength(1);

    await system.changeHandler(handler.id, { status: 'archived' });
    await system.putEvents({ type });
    await system.waitForExecutions(mirror.id, 4);
    expect(await system.waitForExecutions(handler.id, 3)).toHaveLength(3);
  });
});

describe('the log', () => {
  it('lists newest first over all handlers, a page at a time, each execution once', async () => {
    const type = system.newType();
    const handlers = await Promise.all(
      ['a', 'b', 'c'].map((name) =>
        system.createHandler({ events: [type], url: `${receiver.url}/ok`, name }),
      ),
    );
    await system.putEvents(...Array.from({ length: 10 }, () => ({ type })));
    for (const { id } of handlers) await system.waitForExecutions(id, 10);

    const seen: Execution[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: { items: Execution[]; nextCursor: string | null } = await system.api.get(
        `/v1/executions?event=${type}&limit=7${cursor === '' ? '' : `&cursor=${cursor}`}`,
      );
      seen.push(...page.items);
      cursor = page.nextCursor;
    }

    expect(new Set(seen.map(({ id }) => id)).size).toBe(30);
    expect(seen).toHaveLength(30);
    expect(seen.map(({ eventTime }) => eventTime)).toEqual(
      seen
        .map(({ eventTime }) => eventTime)
        .toSorted()
        .toReversed(),
    );
  });

  it('finds the executions of one event over all handlers', async () => {
    const type = system.newType();
    const handlers = await Promise.all(
      [1, 2].map(() => system.createHandler({ events: [type], url: `${receiver.url}/ok` })),
    );
    const [wanted] = await system.putEvents({ type }, { type });
    for (const { id } of handlers) await system.waitForExecutions(id, 2);

    const { items } = await system.api.get<{ items: Execution[] }>(
      `/v1/executions?eventId=${wanted?.EventId}`,
    );

    expect(items.map(({ handlerId }) => handlerId).toSorted()).toEqual(
      handlers.map(({ id }) => id).toSorted(),
    );
  });

  it('keeps the executions of a handler that was deleted', async () => {
    const type = system.newType();
    const handler = await system.createHandler({ events: [type], url: `${receiver.url}/ok` });
    await system.putEvents({ type });
    const [execution] = await system.waitForExecutions(handler.id, 1);

    await system.api.delete(`/v1/handlers/${handler.id}`);

    expect(await system.getExecution(execution?.id ?? '')).toMatchObject({ handlerName: 'acceptance' });
  });
});
