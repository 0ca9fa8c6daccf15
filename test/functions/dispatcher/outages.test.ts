import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { anEvent } from '../../support/builders.ts';
import { startReceiver, type Receiver } from '../../support/http-server.ts';
import { aMessage, again, startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
let receiver: Receiver;
beforeAll(async () => {
  dispatcher = await startDispatcher();
  receiver = await startReceiver(({ path }, response) => {
    response.writeHead(path === '/broken' ? 500 : 204).end();
  });
});
afterEach(async () => {
  receiver.requests.length = 0;
  await dispatcher.clear();
});
afterAll(async () => {
  await receiver.close();
  await dispatcher[Symbol.asyncDispose]();
});

const messagesOf = (types: string[]) => types.map((type) => aMessage({ body: anEvent({ type }) }));
const notToday = [expect.stringContaining('AccessDeniedException: not today')];

describe('dispatchBatch: DynamoDB does not answer', () => {
  it('gives back every message whose success could not be written, and its next delivery repairs that', async () => {
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const other = await dispatcher.register({
      events: ['client.update'],
      target: { url: `${receiver.url}/broken` },
    });
    const messages = messagesOf(['client.create', 'client.update', 'client.create', 'client.delete']);
    const services = dispatcher.coldStart();
    dispatcher.wire.refuse(({ operation }) => operation === 'BatchWriteItem');
    const report = await dispatcher.dispatch(messages, { services });

    const failed = [messages[0], messages[2]].flatMap((message) => message ?? []);
    expect(report).toMatchObject({ executions: { succeeded: 0, waiting: 1 }, problems: notToday });
    expect(report.failedMessageIds.toSorted()).toEqual(failed.map(({ id }) => id).toSorted());
    expect(await dispatcher.logOf(handler)).toEqual([]);
    expect(await dispatcher.logOf(other)).toHaveLength(1);

    dispatcher.wire.reset();
    expect(await dispatcher.dispatch(failed.map(again), { services })).toMatchObject({
      failedMessageIds: [],
      executions: { succeeded: 2 },
      problems: [],
    });
    expect(await dispatcher.logOf(handler)).toHaveLength(2);
  });

  it('gives back only the event whose one handler could not be written', async () => {
    const good = await dispatcher.register({ target: { url: receiver.url } });
    const bad = await dispatcher.register({
      events: ['client.update', 'client.create'],
      target: { url: `${receiver.url}/broken` },
    });
    const messages = messagesOf(['client.create', 'client.update', 'client.delete']);
    dispatcher.wire.refuse(
      ({ operation, text }) =>
        operation === 'PutItem' && text.includes(bad.id) && text.includes('client.update'),
    );
    const report = await dispatcher.dispatch(messages);
    expect(report).toMatchObject({
      failedMessageIds: [messages[1]?.id],
      executions: { succeeded: 1, waiting: 1 },
      problems: notToday,
    });
    expect(await dispatcher.logOf(good)).toHaveLength(1);
    expect(await dispatcher.logOf(bad)).toHaveLength(1);
  });

  it('gives a whole event back when one of its two handlers could not be written; the other is not called again', async () => {
    await dispatcher.register({ target: { url: `${receiver.url}/good` } });
    const bad = await dispatcher.register({ target: { url: `${receiver.url}/broken` } });
    const message = aMessage();
    dispatcher.wire.refuse(({ operation }) => operation === 'PutItem');
    expect(await dispatcher.dispatch([message])).toMatchObject({
      failedMessageIds: [message.id],
      executions: { succeeded: 1, waiting: 0 },
    });
    dispatcher.wire.reset();
    expect(await dispatcher.dispatch([again(message)])).toMatchObject({
      failedMessageIds: [],
      repeated: 1,
      executions: { succeeded: 0, waiting: 1 },
    });
    expect(receiver.requests.map(({ path }) => path).toSorted()).toEqual(['/broken', '/broken', '/good']);
    expect(await dispatcher.logOf(bad)).toHaveLength(1);
  });

  it.each(['BatchGetItem', 'Query'])('calls nobody and gives all back without %s', async (failing) => {
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const messages = messagesOf(['client.create', 'client.create']);
    const services = dispatcher.coldStart();
    dispatcher.wire.refuse(({ operation }) => operation === failing);
    expect(await dispatcher.dispatch(messages, { services })).toMatchObject({
      failedMessageIds: messages.map(({ id }) => id),
      executions: { succeeded: 0 },
      problems: notToday,
    });
    expect(receiver.requests).toEqual([]);

    dispatcher.wire.reset();
    expect(await dispatcher.dispatch(messages.map(again), { services })).toMatchObject({
      failedMessageIds: [],
      executions: { succeeded: 2 },
    });
    expect(await dispatcher.logOf(handler)).toHaveLength(2);
  });

  it('gives back what would be logged in an hour that has no row, and makes the row the next time', async () => {
    await dispatcher.register({ target: { url: receiver.url } });
    const message = aMessage();
    const services = dispatcher.coldStart();
    dispatcher.wire.refuse(({ operation }) => operation === 'UpdateItem');
    expect(await dispatcher.dispatch([message], { services })).toMatchObject({
      failedMessageIds: [message.id],
      problems: notToday,
    });
    dispatcher.wire.reset();
    expect(await dispatcher.dispatch([again(message)], { services })).toMatchObject({ failedMessageIds: [] });
    expect(await dispatcher.rowsOf('HOUR#2026-11-23T10')).toHaveLength(1);
    expect(await dispatcher.rowsOf('HOURS')).toMatchObject([{ sk: '2026-11-23T10' }]);
  });

  it('writes again what DynamoDB had no capacity for', async () => {
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const messages = messagesOf(['client.create', 'client.create']);
    let tries = 0;
    dispatcher.wire.intercept(({ operation, input }) => {
      if (operation !== 'BatchWriteItem' || ++tries > 2) return null;
      return { status: 200, body: { UnprocessedItems: input['RequestItems'] } };
    });
    expect(await dispatcher.dispatch(messages)).toMatchObject({ failedMessageIds: [], problems: [] });
    expect(tries).toBe(3);
    expect(await dispatcher.logOf(handler)).toHaveLength(2);
  });
});

describe('dispatchBatch: a fault of our own', () => {
  it('gives back the event that met it, and only that one; whatever else ended is in the log', async () => {
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    await dispatcher.register({ target: { url: receiver.url } });
    const messages = messagesOf(['client.create', 'client.create']);
    const services = dispatcher.coldStart();
    let draws = 0;
    const random = () => {
      draws += 1;
      if (draws === 1) throw new Error('no entropy');
      return 0.5;
    };
    const report = await dispatcher.dispatch(messages, { services: { ...services, random } });
    expect(report).toMatchObject({
      executions: { succeeded: 3 },
      problems: [expect.stringMatching(/Handler h_\S+ could not run for event \S+: no entropy$/u)],
    });
    expect(report.failedMessageIds).toHaveLength(1);

    const failed = messages.filter(({ id }) => report.failedMessageIds.includes(id));
    expect(await dispatcher.dispatch(failed.map(again), { services })).toMatchObject({
      failedMessageIds: [],
      repeated: 1,
      executions: { succeeded: 1 },
    });
    expect(await dispatcher.logOf(handler)).toHaveLength(2);
  });

  it('lets a handler whose secret does not open wait, and delivers to the others', async () => {
    const broken = await dispatcher.register({ target: { url: `${receiver.url}/broken` } });
    const { sealedSecrets } = await dispatcher.store.get(broken.id);
    const { secret: _, ...stored } = broken;
    await dispatcher.store.replace(
      { handler: { ...stored, version: 2 }, sealedSecrets: sealedSecrets.map((text) => `${text}AAAA`) },
      1,
    );
    await dispatcher.register({ target: { url: `${receiver.url}/whole` } });
    const report = await dispatcher.dispatch([aMessage()]);
    expect(report).toMatchObject({ failedMessageIds: [], executions: { succeeded: 1, waiting: 1 } });
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/whole']);
    const [execution] = await dispatcher.logOf(broken);
    expect(execution?.attempts[0]?.error).toContain(`A secret of handler ${broken.id} cannot be opened`);
  });
});
