import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import packageJson from '../../../package.json' with { type: 'json' };
import { summarize } from '../../../shared/executions/execution.ts';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { aHandler, anEvent } from '../../support/builders.ts';
import { closedPort, startRawServer, startReceiver } from '../../support/http-server.ts';
import { answerInCrowds, answerTogether, crowdsOf100, noteTimes } from './answers.ts';
import { aMessage, inMs, startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
});
afterEach(async () => {
  vi.useRealTimers();
  await dispatcher.clear();
});
afterAll(() => dispatcher[Symbol.asyncDispose]());

const nothing = { succeeded: 0, failed: 0, waiting: 0, held: 0 };

describe('dispatchBatch: an event and its handlers', () => {
  it('delivers to the handlers that ask for the event by name, by prefix and by star, and to no other', async () => {
    await using receiver = await startReceiver();
    const patterns = ['client.create', 'client.*', '*', 'client.update', 'account.*'];
    for (const [index, pattern] of patterns.entries()) {
      await dispatcher.register({ events: [pattern], target: { url: `${receiver.url}/${index}` } });
    }
    const report = await dispatcher.dispatch([aMessage()]);
    expect(report).toEqual({
      messages: 1,
      failedMessageIds: [],
      deadLetters: 0,
      putOff: 0,
      repeated: 0,
      executions: { ...nothing, succeeded: 3 },
      problems: [],
    });
    expect(receiver.requests.map(({ path }) => path).toSorted()).toEqual(['/0', '/1', '/2']);
  });

  it('delivers to the handlers whose filter matches, and logs nothing of the others', async () => {
    await using receiver = await startReceiver();
    const filters: Record<string, Handler['filter']> = {
      matching: {
        source: ['billing'],
        detail: { data: { name: [{ prefix: 'A' }], balance: [{ numeric: ['<', 0] }] } },
      },
      'as-written': { detail: { data: { id: [12] } } },
      other: { detail: { data: { name: ['Bob'] } } },
      absent: { detail: { data: { iban: [{ exists: true }] } } },
    };
    for (const [path, filter] of Object.entries(filters))
      await dispatcher.register({ filter, target: { url: `${receiver.url}/${path}` } });
    const withNumber = (id: string) =>
      anEvent().replace('"id":12,"name"', `"id":${id},"balance":-0.10,"name"`);
    expect(await dispatcher.dispatch([aMessage({ body: withNumber('12') })])).toMatchObject({
      executions: { ...nothing, succeeded: 2 },
      problems: [],
    });
    expect(receiver.requests.map(({ path }) => path).toSorted()).toEqual(['/as-written', '/matching']);
    await dispatcher.dispatch([aMessage({ body: withNumber('12.0') })]);
    expect(receiver.requests.map(({ path }) => path).slice(2)).toEqual(['/matching']);
  });

  it('fails the execution of a handler whose filter is not good any more, and delivers to the others', async () => {
    await using receiver = await startReceiver();
    const broken = { detail: { name: [{ 'of-an-older-version': 1 }] } };
    const handler = { ...aHandler({ target: { url: `${receiver.url}/broken` } }), filter: broken };
    await dispatcher.registerAs(handler);
    await dispatcher.register({ target: { url: `${receiver.url}/whole` } });
    expect(await dispatcher.dispatch([aMessage()])).toMatchObject({
      failedMessageIds: [],
      executions: { ...nothing, succeeded: 1, failed: 1 },
    });
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/whole']);
    const [record] = await dispatcher.logOf(handler);
    expect(record?.attempts.at(-1)?.error).toMatch(
      /^filter: filter\.detail\.name\[0\]\.of-an-older-version is no operator/u,
    );
  });

  it('fails the execution where it would take too long to tell whether the filter matches, at little cost', async () => {
    await using receiver = await startReceiver();
    const filter = {
      detail: {
        data: { x: { a: [1] } },
        $or: Array.from({ length: 400 }, (_, index) => ({ data: { x: { b: [index] } } })),
      },
    };
    const handler = await dispatcher.register({ filter, target: { url: receiver.url } });
    const data = { x: Array.from({ length: 20_000 }, () => ({ a: 1 })) };
    const body = anEvent({ detail: { objectId: 1, data } });
    expect(await dispatcher.dispatch([aMessage({ body })])).toMatchObject({
      executions: { ...nothing, failed: 1 },
    });
    const [record] = await dispatcher.logOf(handler);
    expect(record?.attempts.at(-1)?.error).toMatch(/^filter: .+ more than 5000000 steps/u);
    expect(receiver.requests).toEqual([]);
  });

  it('calls a handler once when several of its patterns match', async () => {
    await using receiver = await startReceiver();
    await dispatcher.register({ events: ['*', 'client.*', 'client.create'], target: { url: receiver.url } });
    await dispatcher.dispatch([aMessage()]);
    expect(receiver.requests).toHaveLength(1);
  });

  it('signs what it sends, by Standard Webhooks', async () => {
    await using receiver = await startReceiver();
    const { id, secret } = await dispatcher.register({
      target: { url: `${receiver.url}/hook?tenant=7`, headers: { 'x-tenant': 'seven' } },
    });
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const body = anEvent({ id: 'e-1', detail: { objectId: 12, data: { name: 'Ädä' }, traceparent } });
    await dispatcher.dispatch([aMessage({ body })]);

    const [request] = receiver.requests;
    expect(request).toMatchObject({
      method: 'POST',
      path: '/hook?tenant=7',
      headers: {
        'content-type': 'application/json',
        'user-agent': `Handoff/${packageJson.version}`,
        'webhook-id': `e-1_${id}`,
        'x-tenant': 'seven',
        traceparent,
      },
    });
    const verified = new Webhook(secret).verify(
      request?.body ?? '',
      request?.headers as Record<string, string>,
    );
    expect(verified).toEqual({
      type: 'client.create',
      timestamp: '2026-11-23T10:00:00.000Z',
      data: { name: 'Ädä' },
      objectId: 12,
      traceparent,
    });
  });

  it('logs everything about an execution', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(201).end('made'));
    const handler = await dispatcher.register({
      name: 'Ledger',
      target: { url: receiver.url, headers: { 'x-a': '1' } },
    });
    const body = anEvent({ id: 'e-1' });
    const before = new Date().toISOString();
    await dispatcher.dispatch([aMessage({ body })]);

    const [record, ...others] = await dispatcher.logOf(handler);
    expect(others).toEqual([]);
    if (record === undefined) throw new Error('Nothing was logged.');
    const { startedAt, durationMs } = summarize(record);
    expect(startedAt >= before).toBe(true);
    expect(durationMs).toBeGreaterThanOrEqual(0);
    expect(record).toEqual({
      key: { pk: `${handler.id}#0`, sk: '2026-11-23T10:00:00.000Z#e-1' },
      handlerName: 'Ledger',
      event: { type: 'client.create', time: '2026-11-23T10:00:00.000Z', objectId: 12, raw: body },
      warnings: expect.arrayContaining(['data.companyId is missing']) as string[],
      state: { status: 'succeeded' },
      generation: 1,
      attemptsBefore: 0,
      putOffs: 0,
      startedAt,
      attemptCount: 1,
      attempts: [
        {
          number: 1,
          at: startedAt,
          durationMs,
          statusCode: 201,
          error: null,
          response: 'made',
          output: null,
        },
      ],
      request: {
        type: 'http',
        method: 'POST',
        url: receiver.url,
        headers: { 'x-a': '1' },
        format: 'standard',
      },
    });
  });

  it('acknowledges an event that nobody asked for, and logs nothing', async () => {
    const report = await dispatcher.dispatch([aMessage()]);
    expect(report).toMatchObject({ failedMessageIds: [], executions: nothing, problems: [] });
    expect(dispatcher.wire.calls().filter(({ operation }) => operation !== 'GetItem')).toMatchObject([
      { operation: 'Query' },
    ]);
  });

  it("does not show Handoff's own events to a star", async () => {
    await using receiver = await startReceiver();
    await dispatcher.register({ events: ['*'], target: { url: `${receiver.url}/all` } });
    await dispatcher.register({ events: ['handoff.*'], target: { url: `${receiver.url}/own` } });
    await dispatcher.dispatch([
      aMessage({ body: anEvent({ type: 'handoff.circuit.open', source: 'handoff' }) }),
    ]);
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/own']);
  });

  it('carries an event of nearly 1 MB that compresses well', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const body = anEvent({ detail: { objectId: 1, data: { text: 'long '.repeat(200_000) } } });
    await dispatcher.dispatch([aMessage({ body })]);
    expect(receiver.requests[0]?.body.length).toBeGreaterThan(1_000_000);
    expect((await dispatcher.logOf(handler))[0]?.event.raw).toBe(body);
  });
});

describe('dispatchBatch: order', () => {
  it('runs priorities one after the other, and equal ones side by side', async () => {
    const notes: string[] = [];
    await using receiver = await startReceiver(noteTimes(notes));
    const paths = { '/second-a': 20, '/first': 10, '/third': 30, '/second-b': 20 };
    for (const [path, priority] of Object.entries(paths)) {
      await dispatcher.register({ priority, target: { url: receiver.url + path } });
    }
    await dispatcher.dispatch([aMessage()]);
    expect(notes.slice(0, 2)).toEqual(['> /first', '< /first']);
    expect(notes.slice(2, 4).toSorted()).toEqual(['> /second-a', '> /second-b']);
    expect(notes.slice(4, 6).toSorted()).toEqual(['< /second-a', '< /second-b']);
    expect(notes.slice(6)).toEqual(['> /third', '< /third']);
  });

  it('goes on with the next priority after a failure', async () => {
    await using receiver = await startReceiver(({ path }, response) => {
      response.writeHead(path === '/first' ? 500 : 204).end();
    });
    await dispatcher.register({ priority: 1, target: { url: `${receiver.url}/first` } });
    await dispatcher.register({ priority: 2, target: { url: `${receiver.url}/second` } });
    const { executions } = await dispatcher.dispatch([aMessage()]);
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/first', '/second']);
    expect(executions).toEqual({ ...nothing, waiting: 1, succeeded: 1 });
  });

  it('runs the events of a batch side by side, as soon as the target has answered the first one', async () => {
    await using receiver = await startReceiver(answerTogether(...crowdsOf100));
    await dispatcher.register({ target: { url: receiver.url } });
    const { executions } = await dispatcher.dispatch(
      Array.from({ length: 100 }, () => aMessage({ body: anEvent() })),
    );
    expect(executions).toEqual({ ...nothing, succeeded: 100 });
  });

  it('never has more deliveries under way than MAX_CONCURRENT_DELIVERIES', async () => {
    const { seen, respond } = answerInCrowds(4);
    await using receiver = await startReceiver(respond);
    for (let handlers = 0; handlers < 8; handlers++)
      await dispatcher.register({ target: { url: receiver.url } });
    const services = dispatcher.coldStart({ MAX_CONCURRENT_DELIVERIES: '4' });
    const { executions } = await dispatcher.dispatch(
      Array.from({ length: 2 }, () => aMessage({ body: anEvent() })),
      { services },
    );
    expect(executions).toEqual({ ...nothing, succeeded: 16 });
    expect(seen.most).toBe(4);
  });
});

describe('dispatchBatch: what became of a call', () => {
  it('lets a 500 wait for its retry, between 5 and 5.5 s after the attempt', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(500).end('broken'));
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    await dispatcher.dispatch(Array.from({ length: 4 }, () => aMessage({ body: anEvent() })));

    const records = await dispatcher.logOf(handler);
    expect(records).toHaveLength(4);
    for (const record of records) {
      const execution = summarize(record);
      expect(execution).toMatchObject({
        status: 'waiting',
        reason: 'retry',
        attemptCount: 1,
        statusCode: 500,
        error: 'http: status 500',
      });
      const endedAt = Date.parse(execution.startedAt) + (execution.durationMs ?? Number.NaN);
      const waitMs = Date.parse(execution.nextAttemptAt ?? '') - endedAt;
      expect(waitMs).toBeGreaterThanOrEqual(5000);
      expect(waitMs).toBeLessThanOrEqual(5501); // rounded up to whole milliseconds
    }
  });

  it('scales the wait by RETRY_SCALE', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(503).end());
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    await dispatcher.dispatch([aMessage()], { services: dispatcher.coldStart({ RETRY_SCALE: '0.01' }) });
    const [record] = await dispatcher.logOf(handler);
    const execution = record && summarize(record);
    const waitMs =
      Date.parse(execution?.nextAttemptAt ?? '') -
      Date.parse(execution?.startedAt ?? '') -
      (execution?.durationMs ?? Number.NaN);
    expect(waitMs).toBeGreaterThanOrEqual(50);
    expect(waitMs).toBeLessThanOrEqual(56);
  });

  it.each([
    [404, 'http: status 404'],
    [302, 'http: status 302, redirects are not followed'],
  ])('logs a %i as failed', async (status, error) => {
    await using elsewhere = await startReceiver();
    await using receiver = await startReceiver((_, response) => {
      response.writeHead(status, { location: elsewhere.url }).end('sorry');
    });
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const report = await dispatcher.dispatch([aMessage()]);
    expect(report).toMatchObject({ failedMessageIds: [], executions: { ...nothing, failed: 1 } });
    expect((await dispatcher.logOf(handler)).map(summarize)).toMatchObject([
      { status: 'failed', reason: null, nextAttemptAt: null, statusCode: status, error },
    ]);
    expect((await dispatcher.logOf(handler))[0]?.attempts[0]?.response).toBe('sorry');
    expect(elsewhere.requests).toEqual([]);
  });

  it('logs a timeout, a reset, a hang-up, a babbler and a closed port, each in words', async () => {
    await using silent = await startReceiver(() => undefined);
    await using resetting = await startRawServer((socket) => void socket.resetAndDestroy());
    await using hangingUp = await startRawServer((socket) => void socket.end());
    await using babbling = await startRawServer((socket) => void socket.end('what?\r\n\r\n'));
    const urls = {
      'timeout: no answer within 100 ms': silent.url,
      'connection: reset by the target': resetting.url,
      'connection: closed by the target before it answered': hangingUp.url,
      'http: the answer is not valid HTTP/1.1': babbling.url,
      'connection: refused by the target': `http://127.0.0.1:${await closedPort()}`,
    };
    for (const [name, url] of Object.entries(urls)) {
      const timeoutMs = url === silent.url ? 100 : 10_000;
      const handler = await dispatcher.register({ name, target: { url, timeoutMs } });
      const report = await dispatcher.dispatch([aMessage()]);
      expect(report).toMatchObject({ failedMessageIds: [], problems: [] });
      expect((await dispatcher.logOf(handler)).map(summarize)).toMatchObject([
        { status: 'waiting', reason: 'retry', statusCode: null, error: name, attemptCount: 1 },
      ]);
      await dispatcher.store.remove(handler.id, 1);
    }
  });

  it('fails what the settings of this deployment refuse, without a call', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    await dispatcher.dispatch([aMessage()], { services: dispatcher.coldStart({ ALLOW_HTTP: 'false' }) });
    await dispatcher.dispatch([aMessage()], { services: dispatcher.coldStart({ ALLOW_CIDRS: '' }) });
    expect((await dispatcher.logOf(handler)).map(summarize)).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({
          status: 'failed',
          error: expect.stringMatching(/^refused target: plain http:.*allowHttp/u) as string,
        }),
        expect.objectContaining({
          status: 'failed',
          error: 'refused target: 127.0.0.1 is a loopback address',
        }),
      ]) as unknown[],
    );
    expect(receiver.connectionCount()).toBe(0);
  });

  it('takes a bad answer of one handler as its own affair', async () => {
    await using receiver = await startReceiver();
    await using resetting = await startRawServer((socket) => void socket.resetAndDestroy());
    await dispatcher.register({ target: { url: resetting.url } });
    const good = await dispatcher.register({ target: { url: receiver.url } });
    const report = await dispatcher.dispatch([aMessage(), aMessage({ body: anEvent() })]);
    expect(report.failedMessageIds).toEqual([]);
    expect(await dispatcher.logOf(good)).toHaveLength(2);
  });
});

describe('dispatchBatch: a handler that does not run', () => {
  it('records what a disabled handler missed, and does not call it', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ status: 'disabled', target: { url: receiver.url } });
    const report = await dispatcher.dispatch([aMessage()]);
    expect(report).toMatchObject({ failedMessageIds: [], executions: { ...nothing, held: 1 } });
    expect((await dispatcher.logOf(handler)).map(summarize)).toMatchObject([
      {
        status: 'held',
        reason: 'disabled',
        attemptCount: 0,
        statusCode: null,
        durationMs: null,
        error: null,
      },
    ]);
    expect(receiver.requests).toEqual([]);
  });

  it('holds what a disabled handler missed even when the deadline has come', async () => {
    const handler = await dispatcher.register({ status: 'disabled' });
    await dispatcher.dispatch([aMessage()], { deadline: inMs(0) });
    expect(await dispatcher.logOf(handler)).toHaveLength(1);
  });

  it('records nothing for an archived handler', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ status: 'archived', target: { url: receiver.url } });
    const report = await dispatcher.dispatch([aMessage()]);
    expect(report).toMatchObject({ failedMessageIds: [], executions: nothing });
    expect(await dispatcher.logOf(handler)).toEqual([]);
    expect(receiver.requests).toEqual([]);
  });
});

describe('dispatchBatch: the deadline', () => {
  it('does not begin a call that could outlive it, and sends the event again', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ target: { url: receiver.url, timeoutMs: 20_000 } });
    const message = aMessage();
    const report = await dispatcher.dispatch([message], { deadline: inMs(20_000) });
    expect(report).toMatchObject({ failedMessageIds: [], putOff: 1, executions: nothing, problems: [] });
    expect(receiver.requests).toEqual([]);
    expect(await dispatcher.logOf(handler)).toEqual([]);
    expect(dispatcher.queues.events.receive(10)).toMatchObject([
      { body: message.body, attributes: { sentAt: message.sentAt.toISOString() } },
    ]);
  });

  it('gives the message back when the event could not be sent again', async () => {
    await using receiver = await startReceiver();
    await dispatcher.register({ target: { url: receiver.url, timeoutMs: 20_000 } });
    const message = aMessage();
    const services = dispatcher.coldStart({ EVENTS_QUEUE: `${dispatcher.variables.EVENTS_QUEUE}-gone` });
    const report = await dispatcher.dispatch([message], { services, deadline: inMs(20_000) });
    expect(report).toMatchObject({ failedMessageIds: [message.id], executions: nothing });
    expect(report.problems).toEqual([expect.stringContaining('The events queue did not take')]);
  });

  it('logs the first priority, sends the rest of the event again, and does not repeat what is logged', async () => {
    await using receiver = await startReceiver();
    await dispatcher.register({ priority: 1, target: { url: `${receiver.url}/1`, timeoutMs: 1000 } });
    await dispatcher.register({ priority: 2, target: { url: `${receiver.url}/2`, timeoutMs: 30_000 } });
    await dispatcher.register({ priority: 3, target: { url: `${receiver.url}/3`, timeoutMs: 1000 } });
    const message = aMessage();

    const first = await dispatcher.dispatch([message], { deadline: inMs(30_000) });
    expect(first).toMatchObject({
      failedMessageIds: [],
      putOff: 1,
      executions: { ...nothing, succeeded: 1 },
    });

    const [sentAgain] = dispatcher.queues.events.receive(10);
    const second = await dispatcher.dispatch([
      aMessage({ body: sentAgain?.body ?? '', sentAt: new Date(sentAgain?.attributes['sentAt'] ?? '') }),
    ]);
    expect(second).toMatchObject({
      failedMessageIds: [],
      repeated: 1,
      executions: { ...nothing, succeeded: 2 },
    });
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/1', '/2', '/3']);
  });
});

describe('dispatchBatch: an edit', () => {
  it('works for events that arrive one second later: another URL, disabled, archived, deleted', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2026-11-23T10:00:00Z') });
    await using receiver = await startReceiver();
    const { secret: _, ...handler } = await dispatcher.register({ target: { url: `${receiver.url}/old` } });
    const services = dispatcher.coldStart();
    const dispatchOne = async () => {
      const { executions } = await dispatcher.dispatch([aMessage({ body: anEvent() })], { services });
      return [Object.entries(executions).find(([, count]) => count > 0)?.[0], receiver.requests.at(-1)?.path];
    };
    expect(await dispatchOne()).toEqual(['succeeded', '/old']);

    let version = 1;
    async function edit(change: Partial<typeof handler>): Promise<void> {
      const { sealedSecrets } = await dispatcher.store.get(handler.id);
      const changed = { ...handler, ...change, version: version + 1 };
      await dispatcher.store.replace({ handler: changed, sealedSecrets }, version);
      version += 1;
    }
    const aSecondLater = () => vi.setSystemTime(Date.now() + 1000);

    await edit({ target: { ...handler.target, url: `${receiver.url}/new` } });
    aSecondLater();
    expect(await dispatchOne()).toEqual(['succeeded', '/new']);

    await edit({ status: 'disabled' });
    aSecondLater();
    expect(await dispatchOne()).toEqual(['held', '/new']);

    await edit({ status: 'archived' });
    aSecondLater();
    expect(await dispatchOne()).toEqual([undefined, '/new']);

    await edit({ status: 'enabled' });
    aSecondLater();
    expect(await dispatchOne()).toEqual(['succeeded', '/old']);

    await dispatcher.store.remove(handler.id, version);
    aSecondLater();
    expect(await dispatchOne()).toEqual([undefined, '/old']);
    expect(receiver.requests).toHaveLength(3);
  });
});
