import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { placeIn } from '../../../shared/executions/key.ts';
import { createEventTypeStore, type StoredEventType } from '../../../shared/catalogue/event-types.ts';
import { builtInEventTypes } from '../../../shared/catalogue/catalogue.ts';
import { anEvent } from '../../support/builders.ts';
import { startReceiver } from '../../support/http-server.ts';
import { aMessage, again, startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
});
afterEach(async () => {
  vi.useRealTimers();
  await dispatcher.clear();
});
afterAll(() => dispatcher[Symbol.asyncDispose]());

const sampleOf = (name: string) =>
  builtInEventTypes.find((type) => type.name === name)?.sample ?? { data: {} };
const good = sampleOf('client.balance.nonpositive');
const bad = { ...good, data: { ...good.data, balance: 'a lot', currency: undefined } };
const sentences = ['data.balance must be a decimal string such as "12.5000"', 'data.currency is missing'];
const balance = (detail: unknown) => anEvent({ type: 'client.balance.nonpositive', detail });

const merged = {
  label: 'CRM: merged',
  group: 'CRM',
  description: '',
  schema: { properties: { data: { required: ['into'], properties: { into: { type: 'string' } } } } },
  sample: { objectId: 1, data: { into: 'c-8' } },
};

/** Stores an event type, as the API would. */
async function describeType(parts: Partial<StoredEventType> & { name: string }, before = 0): Promise<void> {
  const { dynamo, handlersTable: tableName, store } = dispatcher;
  const now = () => new Date();
  const types = createEventTypeStore({
    dynamo,
    tableName,
    raiseRevision: store.raiseEventTypesRevision,
    now,
  });
  await types.put(
    { version: before + 1, updatedAt: now().toISOString(), validation: 'strict', custom: null, ...parts },
    before,
  );
}

describe('dispatchBatch: an event that is not what the schema of its type says', () => {
  it('is delivered as it came, and its executions say what is wrong', async () => {
    await using receiver = await startReceiver();
    const handlers = [
      await dispatcher.register({ events: ['*'], target: { url: receiver.url } }),
      await dispatcher.register({ events: ['client.*'], target: { url: receiver.url }, status: 'disabled' }),
    ];
    await dispatcher.dispatch([aMessage({ body: balance(bad) }), aMessage({ body: balance(good) })]);
    expect(receiver.requests).toHaveLength(2);
    expect(receiver.requests.map(({ body }) => (JSON.parse(body) as { data: unknown }).data)).toEqual(
      expect.arrayContaining([JSON.parse(JSON.stringify(bad.data)), good.data]),
    );
    for (const handler of handlers) {
      const log = await dispatcher.logOf(handler);
      expect(log.map(({ warnings }) => warnings)).toEqual(expect.arrayContaining([sentences, undefined]));
    }
  });

  it('is a dead letter with the reason where its type is strict, and what is right is delivered', async () => {
    await describeType({ name: 'client.balance.nonpositive' });
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ events: ['*'], target: { url: receiver.url } });
    const message = aMessage({ body: balance(bad) });
    const others = [balance(good), anEvent()].map((body) => aMessage({ body }));
    const report = await dispatcher.dispatch([message, ...others]);
    expect(report).toMatchObject({ failedMessageIds: [], deadLetters: 1, executions: { succeeded: 2 } });
    expect(await dispatcher.deadLetters()).toEqual([
      {
        id: message.id,
        reason: `The event is not what the schema of client.balance.nonpositive says, which is strict: ${sentences.join('; ')}.`,
        body: message.body,
      },
    ]);
    expect(await dispatcher.logOf(handler)).toHaveLength(2);
    expect(receiver.requests).toHaveLength(2);
  });

  it('is a dead letter again when it is redriven as it was', async () => {
    await describeType({ name: 'client.balance.nonpositive' });
    const message = aMessage({ body: balance(bad) });
    await dispatcher.dispatch([message]);
    const redriven = aMessage({ body: message.body, sentAgain: true });
    expect(await dispatcher.dispatch([redriven])).toMatchObject({ deadLetters: 1, failedMessageIds: [] });
    expect((await dispatcher.deadLetters()).map(({ id }) => id)).toEqual(
      expect.arrayContaining([message.id, redriven.id]),
    );
  });

  it('goes on behind a halting handler, although its type has become strict since', async () => {
    await using receiver = await startReceiver((request, response) => {
      response.writeHead(request.path === '/first' ? 500 : 200).end();
    });
    const [first, second] = [
      await dispatcher.register({
        priority: 1,
        onFailure: 'halt',
        events: ['*'],
        target: { url: `${receiver.url}/first` },
      }),
      await dispatcher.register({ priority: 2, events: ['*'], target: { url: `${receiver.url}/second` } }),
    ];
    const message = aMessage({ body: balance(bad) });
    await dispatcher.dispatch([message]);
    expect((await dispatcher.logOf(second))[0]?.state.status).toBe('held');
    await describeType({ name: 'client.balance.nonpositive' });
    await dispatcher.store.replace(
      { handler: { ...first, onFailure: 'continue', version: 2 }, sealedSecrets: [] },
      1,
    );
    const [held] = await dispatcher.logOf(second);
    if (held === undefined) throw new Error('Nothing was held.');
    const goesOn = aMessage({
      body: message.body,
      sentAgain: true,
      goesOnAt: placeIn(held.key),
    });
    expect(await dispatcher.dispatch([goesOn])).toMatchObject({
      deadLetters: 0,
      executions: { succeeded: 1 },
    });
  });

  it('keeps its values to itself, and what is named inside of what is redacted', async () => {
    await describeType({
      name: 'crm.merged',
      validation: 'warn',
      custom: {
        ...merged,
        schema: {
          properties: {
            data: {
              properties: {
                iban: { type: 'number' },
                card: { additionalProperties: false, properties: { number: { const: '1' } } },
                into: { type: 'string' },
              },
            },
          },
        },
      },
    });
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ events: ['*'], target: { url: receiver.url } });
    const detail = {
      data: { iban: 'DE02120300000000202051', card: { number: '4929', 'pin-1234': 1 }, into: 7 },
    };
    const services = dispatcher.coldStart({ REDACT_PATHS: 'detail.data.iban,detail.data.card' });
    await dispatcher.dispatch([aMessage({ body: anEvent({ type: 'crm.merged', detail }) })], { services });
    expect((await dispatcher.logOf(handler))[0]?.warnings).toEqual([
      'data.iban must be number',
      'data.card is not expected',
      'data.card must be "1"',
      'data.into must be string',
    ]);
  });

  it('costs nothing to be of a type that nobody has described, or one of Handoff itself', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({
      events: ['crm.*', 'handoff.*'],
      target: { url: receiver.url },
    });
    await dispatcher.dispatch(
      ['crm.other', 'handoff.circuit.opened'].map((type) =>
        aMessage({ body: anEvent({ type, detail: {} }) }),
      ),
    );
    expect((await dispatcher.logOf(handler)).map(({ warnings }) => warnings)).toEqual([undefined, undefined]);
  });

  it('is checked by what is stored a second later, and read when it has changed', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    await using receiver = await startReceiver();
    await dispatcher.register({ events: ['*'], target: { url: receiver.url } });
    const services = dispatcher.coldStart();
    const body = () => anEvent({ type: 'crm.merged', detail: { data: {} } });
    const deadLettersOf = async () =>
      (await dispatcher.dispatch([aMessage({ body: body() })], { services })).deadLetters;
    const queries = () => dispatcher.wire.calls().filter(({ operation }) => operation === 'Query').length;
    const queriesOf = async (work: () => Promise<unknown>) => {
      const before = queries();
      await work();
      return queries() - before;
    };
    const advance = (ms: number) => vi.setSystemTime(Date.now() + ms);

    expect(await deadLettersOf()).toBe(0);
    await describeType({ name: 'crm.merged', custom: merged });
    advance(1000);
    expect(await deadLettersOf()).toBe(1);
    await describeType({ name: 'crm.merged', custom: { ...merged, schema: {} } }, 1);
    advance(1000);
    expect(await deadLettersOf()).toBe(0);
    // Another handler is no reason to read them, nor is the minute.
    await dispatcher.register({ events: ['shop.*'], target: { url: receiver.url } });
    advance(1000);
    expect(await queriesOf(deadLettersOf)).toBe(1);
    advance(61_000);
    expect(await queriesOf(deadLettersOf)).toBe(1);
  });

  it('comes back when it cannot be found out what its type is', async () => {
    const message = aMessage();
    dispatcher.wire.refuse(({ text }) => text.includes('HANDLER'));
    expect(await dispatcher.dispatch([message])).toMatchObject({
      failedMessageIds: [message.id],
      deadLetters: 0,
    });
    dispatcher.wire.reset();
    expect(await dispatcher.dispatch([again(message)])).toMatchObject({ failedMessageIds: [] });
  });
});
