import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Receiver } from '../support/http-server.ts';
import { connect, lacks, type System } from './system.ts';

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

// TypeScript does not know of it yet: https://tc39.es/proposal-json-parse-with-source/
const { rawJSON } = JSON as unknown as { rawJSON: (json: string) => unknown };

/** What a receiver is sent of an event, by a handler of each kind. */
async function sent(detail: object, handlers: Record<string, object>) {
  const type = system.newType();
  const path = (name: string): string => `/${type}/${name}`;
  const created = await Promise.all(
    Object.entries(handlers).map(([name, handler]) =>
      system.createHandler({ events: [type], url: `${receiver.url}${path(name)}`, ...handler }),
    ),
  );
  await system.putEvents({ type, detail });
  await Promise.all(created.map(({ id }) => system.waitForExecutions(id, 1)));
  const deliveryOf = (name: string) => receiver.requests.find((request) => request.path === path(name));
  return { type, created, deliveryOf };
}

const inFormat = (format: string) => ({ target: { format } });
const everyFormat = {
  standard: inFormat('standard'),
  eventbridge: inFormat('eventbridge'),
  cloudevents: inFormat('cloudevents'),
  provisioning: inFormat('provisioning'),
};

describe('a handler', () => {
  it('gets the event in the format that it wants, with unknown fields and large numbers', async () => {
    const data = { id: 7, futureField: { someKey: [rawJSON('12345678901234567890')] } };
    const { type, deliveryOf } = await sent({ objectId: 7, data, changed: ['x'] }, everyFormat);
    const bodyOf = (name: string): unknown => JSON.parse(deliveryOf(name)?.body ?? '');
    const known = { id: 7, futureField: { someKey: [12345678901234567000] } };
    expect(bodyOf('standard')).toMatchObject({ type, data: known, changed: ['x'] });
    expect(bodyOf('eventbridge')).toMatchObject({ 'detail-type': type, detail: { data: known } });
    expect(bodyOf('cloudevents')).toMatchObject({ specversion: '1.0', type, data: { data: known } });
    expect(bodyOf('provisioning')).toMatchObject({
      event: { events_id: type, object_id: 7 },
      data: { id: 7, future_field: { some_key: [12345678901234567000] } },
    });
    for (const name of Object.keys(everyFormat)) {
      expect(deliveryOf(name)?.body).toContain('12345678901234567890');
      expect(deliveryOf(name)?.headers['content-type']).toBe(
        name === 'cloudevents' ? 'application/cloudevents+json; charset=UTF-8' : 'application/json',
      );
    }
  });

  it.skipIf(lacks('numbers as they are written'))('gets every number as it was written', async () => {
    const numbers = ['1.50', '1e400', '-0.0', '3.0e2'];
    const { deliveryOf } = await sent({ data: { numbers: numbers.map(rawJSON) } }, everyFormat);
    for (const name of Object.keys(everyFormat)) {
      expect(deliveryOf(name)?.body).toContain(`[${numbers.join(',')}]`);
    }
  });

  it('gets what its transform makes of the event, and nothing where that fails', async () => {
    const { created, deliveryOf } = await sent(
      { objectId: 7, data: { name: 'Ada' } },
      {
        good: { transform: '{ "who": detail.data.name }' },
        bad: { transform: 'detail.data.nothing' },
        hostile: { transform: '$match($pad("a", 60, "a") & "!", /^(a+)+$/)' },
      },
    );
    expect(deliveryOf('good')?.body).toBe('{"who":"Ada"}');
    const ends: unknown[] = await Promise.all(
      created.map(async ({ id }) => {
        const [execution] = await system.waitForExecutions(id, 1);
        return system.getExecution(execution?.id ?? '');
      }),
    );
    expect(ends).toMatchObject([
      { status: 'succeeded', request: { body: '{"who":"Ada"}' } },
      { status: 'failed', error: 'transform: gave nothing', request: { body: null } },
      { status: 'failed', error: 'transform: did not end within 1000 ms', request: { body: null } },
    ]);
    expect(deliveryOf('bad')).toBeUndefined();
    expect(deliveryOf('hostile')).toBeUndefined();
  });
});
