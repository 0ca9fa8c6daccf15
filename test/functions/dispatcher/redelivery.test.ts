import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { anEvent } from '../../support/builders.ts';
import { startReceiver } from '../../support/http-server.ts';
import { answerTogether, noteTimes } from './answers.ts';
import { aMessage, again, startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
});
afterEach(() => dispatcher.clear());
afterAll(() => dispatcher[Symbol.asyncDispose]());

const pathsOf = (requests: readonly { path: string }[]) => requests.map(({ path }) => path);

describe('dispatchBatch: a message that comes again', () => {
  it('does not call what is in the log, whatever came of it', async () => {
    await using receiver = await startReceiver(({ path }, response) => {
      response.writeHead(Number(path.slice(1))).end();
    });
    for (const status of [204, 404, 500]) {
      await dispatcher.register({ target: { url: `${receiver.url}/${status}` } });
    }
    await dispatcher.register({ status: 'disabled', target: { url: `${receiver.url}/204` } });
    const message = aMessage();
    await dispatcher.dispatch([message]);
    const report = await dispatcher.dispatch([again(message)]);
    expect(report).toMatchObject({
      failedMessageIds: [],
      repeated: 4,
      executions: { succeeded: 0, failed: 0, waiting: 0, held: 0 },
    });
    expect(receiver.requests).toHaveLength(3);
  });

  it('calls what is not in the log: a handler that has come since', async () => {
    await using receiver = await startReceiver();
    await dispatcher.register({ target: { url: `${receiver.url}/old` } });
    const message = aMessage();
    await dispatcher.dispatch([message]);
    const added = await dispatcher.register({ target: { url: `${receiver.url}/new` } });
    const report = await dispatcher.dispatch([again(message)]);
    expect(report).toMatchObject({ failedMessageIds: [], repeated: 1, executions: { succeeded: 1 } });
    expect(pathsOf(receiver.requests)).toEqual(['/old', '/new']);
    expect(await dispatcher.logOf(added)).toHaveLength(1);
  });

  it('says the same webhook-id when a call has to be made twice', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const message = aMessage();
    dispatcher.wire.refuse(({ operation }) => operation === 'BatchWriteItem');
    expect(await dispatcher.dispatch([message])).toMatchObject({ failedMessageIds: [message.id] });
    dispatcher.wire.reset();
    expect(await dispatcher.dispatch([again(message)])).toMatchObject({ failedMessageIds: [] });

    const [first, second, ...others] = receiver.requests.map(({ headers }) => headers['webhook-id']);
    expect(others).toEqual([]);
    expect(first).toBeDefined();
    expect(second).toBe(first);
    expect(await dispatcher.logOf(handler)).toHaveLength(1);
  });

  it('takes the hour of the queue for the key of an event whose time is far off, so it finds itself', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const message = aMessage({ body: anEvent({ id: 'e-1', time: '1999-12-31T23:59:59Z' }) });
    await dispatcher.dispatch([message]);
    expect(await dispatcher.dispatch([again(message)])).toMatchObject({ repeated: 1 });
    expect(await dispatcher.logOf(handler)).toMatchObject([
      { key: { sk: '2026-11-23T10:00:00.000Z#e-1' }, event: { time: '1999-12-31T23:59:59.000Z' } },
    ]);
    expect(receiver.requests).toHaveLength(1);
  });

  it('does not replace a success by a failure that comes late', async () => {
    const message = aMessage();
    let inner: Promise<unknown> | undefined;
    await using receiver = await startReceiver(async (_, response) => {
      // The first dispatcher still waits for its answer when the second one has the message, and is done.
      const isFirst = inner === undefined;
      inner ??= dispatcher.dispatch([again(message)]);
      if (isFirst) await inner;
      response.writeHead(isFirst ? 500 : 204).end();
    });
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    expect(await dispatcher.dispatch([message])).toMatchObject({ failedMessageIds: [] });
    expect(receiver.requests).toHaveLength(2);
    expect(await dispatcher.logOf(handler)).toMatchObject([{ state: { status: 'succeeded' } }]);
  });

  it('replaces a failure by a success that comes late', async () => {
    const message = aMessage();
    let inner: Promise<unknown> | undefined;
    await using receiver = await startReceiver(async (_, response) => {
      const isFirst = inner === undefined;
      inner ??= dispatcher.dispatch([again(message)]);
      if (isFirst) await inner;
      response.writeHead(isFirst ? 204 : 500).end();
    });
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    // The one that is later in the log is the repeat.
    await dispatcher.dispatch([again(message)]);
    expect(receiver.requests).toHaveLength(2);
    expect(await dispatcher.logOf(handler)).toMatchObject([{ state: { status: 'succeeded' } }]);
  });
});

describe('dispatchBatch: an event that was sent again', () => {
  it('does not replace a later generation by a success that comes late', async () => {
    const message = aMessage({ sentAgain: true });
    let inner: Promise<unknown> | undefined;
    await using receiver = await startReceiver(async (_, response) => {
      // While the first dispatcher waits for its answer, another one is done, and a person has it tried once more.
      const isFirst = inner === undefined;
      inner ??= dispatcher.dispatch([again(message)]).then(async () => {
        const [record] = await dispatcher.logOf(handler);
        await dispatcher.dynamo.send(
          new UpdateCommand({
            TableName: dispatcher.executionsTable,
            Key: { ...record?.key },
            UpdateExpression: 'SET generation = :two',
            ExpressionAttributeValues: { ':two': 2 },
          }),
        );
      });
      if (isFirst) await inner;
      response.writeHead(isFirst ? 204 : 404).end();
    });
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    expect(await dispatcher.dispatch([message])).toMatchObject({ failedMessageIds: [] });
    expect(receiver.requests).toHaveLength(2);
    expect(await dispatcher.logOf(handler)).toMatchObject([{ generation: 2, state: { status: 'failed' } }]);
  });
});

describe('dispatchBatch: an event that is twice in a batch', () => {
  it('runs once, and both messages are acknowledged', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const body = anEvent();
    const report = await dispatcher.dispatch([aMessage({ body }), aMessage({ body })]);
    expect(report).toMatchObject({ messages: 2, failedMessageIds: [], executions: { succeeded: 1 } });
    expect(receiver.requests).toHaveLength(1);
    expect(await dispatcher.logOf(handler)).toHaveLength(1);
  });

  it('gives both messages back when it could not be logged', async () => {
    await using receiver = await startReceiver();
    await dispatcher.register({ target: { url: receiver.url } });
    const body = anEvent();
    const messages = [aMessage({ body }), aMessage({ body })];
    dispatcher.wire.refuse(({ operation }) => operation === 'BatchWriteItem');
    const { failedMessageIds } = await dispatcher.dispatch(messages);
    expect(failedMessageIds).toEqual(messages.map(({ id }) => id));
  });

  it('is one event when only times that are far off differ, since it has one place in the log', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const times = ['1999-12-31T23:59:59Z', '2001-01-01T00:00:00Z'];
    const report = await dispatcher.dispatch(
      times.map((time) => aMessage({ body: anEvent({ id: 'e-1', time }) })),
    );
    expect(report).toMatchObject({ failedMessageIds: [], problems: [] });
    expect(await dispatcher.logOf(handler)).toHaveLength(1);
  });
});

describe('dispatchBatch: a message received for the third or the fourth time', () => {
  it('runs alone: the calls of its neighbours end before its own begin', async () => {
    const notes: string[] = [];
    await using receiver = await startReceiver(noteTimes(notes));
    await dispatcher.register({ events: ['client.create'], target: { url: `${receiver.url}/neighbour` } });
    await dispatcher.register({ events: ['client.update'], target: { url: `${receiver.url}/suspect` } });
    await dispatcher.register({ events: ['client.delete'], target: { url: `${receiver.url}/other` } });
    const report = await dispatcher.dispatch([
      aMessage({ body: anEvent({ type: 'client.update' }), receives: 3 }),
      aMessage(),
      aMessage({ body: anEvent({ type: 'client.delete' }), receives: 4 }),
    ]);
    expect(report).toMatchObject({ failedMessageIds: [], executions: { succeeded: 3 } });
    expect(notes).toEqual(['/neighbour', '/suspect', '/other'].flatMap((path) => [`> ${path}`, `< ${path}`]));
  });

  it('runs beside the others again from the fifth time on: a backlog must get done after an outage', async () => {
    await using receiver = await startReceiver(answerTogether(2));
    await dispatcher.register({ events: ['client.create'], target: { url: receiver.url } });
    await dispatcher.register({ events: ['client.update'], target: { url: receiver.url } });
    const report = await dispatcher.dispatch([
      aMessage({ receives: 5 }),
      aMessage({ body: anEvent({ type: 'client.update' }), receives: 6 }),
    ]);
    expect(report).toMatchObject({ failedMessageIds: [], executions: { succeeded: 2 } });
  });

  it('has the executions of its neighbours in the log before it begins', async () => {
    const logged: number[] = [];
    await using receiver = await startReceiver(async ({ path }, response) => {
      if (path === '/suspect') logged.push((await dispatcher.logOf(neighbour)).length);
      response.writeHead(204).end();
    });
    const neighbour = await dispatcher.register({
      events: ['client.create'],
      target: { url: `${receiver.url}/neighbour` },
    });
    await dispatcher.register({ events: ['client.update'], target: { url: `${receiver.url}/suspect` } });
    await dispatcher.dispatch([
      aMessage({ body: anEvent({ type: 'client.update' }), receives: 3 }),
      aMessage(),
    ]);
    expect(logged).toEqual([1]);
  });
});
