import { randomBytes } from 'node:crypto';
import { EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { describe, expect, it } from 'vitest';
import { InvalidInputError } from '../../../shared/errors.ts';
import { builtInEventTypes } from '../../../shared/catalogue/catalogue.ts';
import { publishEvents, PublishError, type CatalogueEvent } from '../../../shared/events/publish.ts';
import { startReceiver } from '../../support/http-server.ts';

type Entry = { EventBusName: string; Source: string; DetailType: string; Detail: string; Time?: number };
type Result = { EventId?: string; ErrorCode?: string; ErrorMessage?: string };

/** An EventBridge that answers each entry as a test says; its id is otherwise that of the entity. */
async function startBus(answer: (entry: Entry, call: number) => Result | undefined = () => undefined) {
  const calls: Entry[][] = [];
  const receiver = await startReceiver(({ body }, response) => {
    const { Entries } = JSON.parse(body) as { Entries: Entry[] };
    calls.push(Entries);
    const results = Entries.map((entry) => answer(entry, calls.length) ?? { EventId: `id-${idOf(entry)}` });
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end(
      JSON.stringify({
        FailedEntryCount: results.filter((one) => 'ErrorCode' in one).length,
        Entries: results,
      }),
    );
  });
  const client = new EventBridgeClient({
    endpoint: receiver.url,
    region: 'eu-central-1',
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    maxAttempts: 2,
  });
  const waits: number[] = [];
  return {
    client,
    calls,
    sizes: () => calls.map(({ length }) => length),
    waits,
    options: { delay: async (ms: number) => void waits.push(ms) },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await receiver.close();
    },
  };
}
const idOf = ({ Detail }: Entry): string => String((JSON.parse(Detail) as { objectId: unknown }).objectId);

const aBalance = (objectId: number | string, data: object = {}) =>
  ({
    type: 'client.balance.nonpositive',
    objectId,
    data: {
      id: 12,
      balance: '0.0000',
      previousBalance: '5.0000',
      currency: 'EUR',
      credit: '0.0000',
      ...data,
    },
  }) as const;
const many = (count: number, data: object = {}) =>
  Array.from({ length: count }, (_, index) => aBalance(index, data));
const problemsOf = async (publishing: Promise<unknown>) => {
  const error: unknown = await publishing.catch((problem: unknown) => problem);
  if (!(error instanceof InvalidInputError)) throw new Error('It was taken.', { cause: error });
  return error.fields.map(({ field, message }) => `${field} ${message}`);
};
const failureOf = async (publishing: Promise<unknown>): Promise<PublishError> => {
  const error: unknown = await publishing.catch((problem: unknown) => problem);
  if (!(error instanceof PublishError)) throw new Error('It was published.', { cause: error });
  return error;
};
const throttled = { ErrorCode: 'ThrottlingException', ErrorMessage: 'Rate exceeded' };

describe('publishEvents', () => {
  it('puts the sample of every type on the bus, and gives the ids in order', async () => {
    await using bus = await startBus();
    const samples = builtInEventTypes.map(
      ({ name, sample }) => ({ type: name, ...sample }) as CatalogueEvent,
    );
    const ids = await publishEvents(bus.client, samples);
    expect(ids).toEqual(samples.map(({ objectId }) => `id-${objectId}`));
    expect(bus.calls.flat()).toEqual(
      builtInEventTypes.map(({ name, sample }) => ({
        EventBusName: 'handoff',
        Source: 'billing',
        DetailType: name,
        Detail: JSON.stringify(sample),
      })),
    );
    expect(await publishEvents(bus.client, [])).toEqual([]);
  });

  it("sends what stands beside the data, the source and the time, and types that are nobody else's", async () => {
    await using bus = await startBus();
    const time = new Date('2026-11-23T10:00:00Z');
    await publishEvents<{ type: 'crm.merged'; objectId: string; data: { into: string } }>(
      bus.client,
      [
        {
          type: 'client.update',
          objectId: 12,
          data: { id: 12, vat: '19' },
          changed: ['vat'],
          previous: {},
          time,
        },
        { type: 'crm.merged', objectId: 'c-7', data: { into: 'c-8' }, source: 'crm' },
      ],
      { busName: 'arn:aws:events:eu-central-1:123456789012:event-bus/crm', source: 'accounts' },
    );
    expect(bus.calls[0]).toEqual([
      {
        EventBusName: 'arn:aws:events:eu-central-1:123456789012:event-bus/crm',
        Source: 'accounts',
        DetailType: 'client.update',
        Time: time.getTime() / 1000,
        Detail: '{"objectId":12,"data":{"id":12,"vat":"19"},"changed":["vat"],"previous":{}}',
      },
      expect.objectContaining({ Source: 'crm', Detail: '{"objectId":"c-7","data":{"into":"c-8"}}' }),
    ]);
  });

  it('is typed by the catalogue', () => {
    const never = async (client: EventBridgeClient) => {
      // @ts-expect-error -- there is no such type
      await publishEvents(client, [{ type: 'client.craete', objectId: 1, data: {} }]);
      // @ts-expect-error -- the data is not that of the type
      await publishEvents(client, [{ type: 'client.delete', objectId: 1, data: { id: 1, name: 'Ada' } }]);
      // @ts-expect-error -- money is a text
      await publishEvents(client, [{ ...aBalance(1), data: { ...aBalance(1).data, balance: 0 } }]);
      await publishEvents(client, [{ ...aBalance(1), data: { ...aBalance(1).data, more: 0 }, more: 1 }]);
    };
    expect(never).toBeTypeOf('function');
  });

  it('sends ten a call, and no more than 1 MB', async () => {
    await using bus = await startBus();
    expect(await publishEvents(bus.client, many(23))).toEqual(
      many(23).map(({ objectId }) => `id-${objectId}`),
    );
    expect(bus.sizes()).toEqual([10, 10, 3]);

    bus.calls.length = 0;
    // Compressed they are small, so that they can be kept.
    await publishEvents(bus.client, many(7, { note: 'ä'.repeat(150_000) }));
    expect(bus.sizes()).toEqual([3, 3, 1]);
    for (const entries of bus.calls) {
      const bytes = entries.reduce(
        (sum, { Source, DetailType, Detail }) => sum + Buffer.byteLength(Source + DetailType + Detail),
        0,
      );
      expect(bytes).toBeLessThanOrEqual(1_048_576);
    }
  });

  it('sends nothing when one of them is wrong, and names all that is, by index and path', async () => {
    await using bus = await startBus();
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const events = [
      aBalance(1),
      aBalance(2, { balance: '5,00', currency: undefined }),
      { type: 'client.craete', objectId: 1, data: {} },
      { type: 'handoff.circuit.opened', objectId: 1, data: {} },
      { type: 'crm.merged', data: [] },
      { type: 'crm.merged', objectId: 1, data: {}, source: 'handoff' },
      aBalance(3, { circle }),
      aBalance(4, { note: 'x'.repeat(1_048_576) }),
      aBalance(5, { note: randomBytes(300_000).toString('base64') }),
    ] as unknown as CatalogueEvent[];
    const problems = await problemsOf(publishEvents(bus.client, events));
    expect(problems).toEqual([
      'events[1].data.balance must be a decimal string such as "12.5000"',
      'events[1].data.currency is missing',
      'events[2].type there is no event type "client.craete"; did you mean "client.create"?',
      'events[3].type events that begin with "handoff." are emitted by Handoff alone',
      'events[4].objectId must be an id: a number or a text',
      'events[4].data must be an object',
      'events[5].source is that of Handoff alone',
      expect.stringMatching(/^events\[6\]\.data is no JSON: .*circular/u),
      'events[7].data the event has more than 1048576 bytes',
      'events[8].data the compressed event has more than 262144 bytes',
    ]);
    expect(bus.calls).toEqual([]);
  });

  it.each([
    [
      { source: '' },
      'events[0].source: must be a text of 1 to 256 characters that does not begin with "aws."',
    ],
    [{ source: 'aws.billing' }, /^events\[0\]\.source: must be/u],
    [{ source: 's'.repeat(257) }, /^events\[0\]\.source: must be/u],
    [{ time: new Date('never') }, 'events[0].time: must be a valid Date'],
    [{ objectId: Number.NaN }, 'events[0].objectId: must be an id: a number or a text'],
    [{ data: { rates: [1, Infinity] } }, 'events[0].data: is no JSON: 1 is Infinity'],
  ])('sends nothing of what the bus would refuse or change: %j', async (fields, problem) => {
    await using bus = await startBus();
    const event = { type: 'crm.merged', objectId: 1, data: {}, ...fields };
    await expect(publishEvents<typeof event>(bus.client, [event])).rejects.toThrow(problem);
    expect(bus.calls).toEqual([]);
  });

  it('holds the source of a call to the same as that of an event', async () => {
    await using bus = await startBus();
    await expect(publishEvents(bus.client, [aBalance(1)], { source: 'handoff' })).rejects.toThrow(
      'events[0].source: is that of Handoff alone',
    );
    expect(bus.calls).toEqual([]);
  });

  it('sends again what the bus could not take for now, that alone, with longer waits', async () => {
    await using bus = await startBus((entry, call) =>
      call < 4 && Number(idOf(entry)) % 3 === 1 ? throttled : undefined,
    );
    const ids = await publishEvents(bus.client, many(12), bus.options);
    expect(ids).toEqual(many(12).map(({ objectId }) => `id-${objectId}`));
    expect(bus.calls.map((entries) => entries.map(idOf).join())).toEqual([
      '0,1,2,3,4,5,6,7,8,9',
      '1,4,7',
      '1,4,7',
      '1,4,7',
      '10,11',
    ]);
    expect(bus.waits).toHaveLength(3);
    for (const [index, wait] of bus.waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(50 * 2 ** index);
      expect(wait).toBeLessThanOrEqual(100 * 2 ** index);
    }
  });

  it('says which are on the bus when it does not take some, and why', async () => {
    await using bus = await startBus((entry) => {
      if (idOf(entry) === '2') return throttled;
      return idOf(entry) === '11'
        ? { ErrorCode: 'NotAuthorizedForSource', ErrorMessage: 'not yours' }
        : undefined;
    });
    const failure = await failureOf(publishEvents(bus.client, many(12), bus.options));
    expect(failure.message).toBe(
      'The bus handoff did not take 2 of 12 events: ThrottlingException: Rate exceeded',
    );
    expect(failure.sent.map(({ index, id }) => `${index} ${id}`)).toEqual(
      [0, 1, 3, 4, 5, 6, 7, 8, 9, 10].map((index) => `${index} id-${index}`),
    );
    expect(failure.unsent.map(({ index, error, isUnknown }) => [index, error.message, isUnknown])).toEqual([
      [2, 'ThrottlingException: Rate exceeded', false],
      [11, 'NotAuthorizedForSource: not yours', false],
    ]);
    // Five tries for what may be taken later, one for what never will.
    expect(bus.calls.flat().filter((entry) => idOf(entry) === '2')).toHaveLength(5);
    expect(bus.calls.flat().filter((entry) => idOf(entry) === '11')).toHaveLength(1);
  });

  it('stops at a call that fails, whose events may be on the bus or not', async () => {
    const receiver = await startReceiver(({ body }, response) => {
      const { Entries } = JSON.parse(body) as { Entries: Entry[] };
      if (Entries.some((entry) => idOf(entry) === '15')) response.destroy();
      else
        response
          .writeHead(200)
          .end(JSON.stringify({ Entries: Entries.map((entry) => ({ EventId: idOf(entry) })) }));
    });
    const client = new EventBridgeClient({
      endpoint: receiver.url,
      region: 'eu-central-1',
      credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
      maxAttempts: 2,
    });
    const failure = await failureOf(publishEvents(client, many(25)));
    client.destroy();
    expect(failure.sent.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(failure.unsent.map(({ isUnknown }) => isUnknown)).toEqual([
      ...Array.from({ length: 10 }, () => true),
      ...Array.from({ length: 5 }, () => false),
    ]);
    expect(failure.unsent.at(-1)?.error.message).toBe('It was not sent: a call before it failed.');
    // The client itself has repeated the call once.
    expect(receiver.requests).toHaveLength(3);
    await receiver.close();
  });
});
