import { hash, randomUUID } from 'node:crypto';
import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConflictError } from '../../../shared/errors.ts';
import { createIdempotency } from '../../../shared/events/idempotency.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

let tables: Awaited<ReturnType<typeof startTestDynamo>>;
beforeAll(async () => {
  tables = await startTestDynamo();
});
afterAll(() => tables[Symbol.asyncDispose]());

const minute = 60_000;
const day = 24 * 60 * minute;

/** Requests with one key, each with the clock and the table of all. */
function open({
  answer,
  clock = createClock('2026-11-23T10:00:00.250Z'),
}: {
  answer?: Answer;
  clock?: ReturnType<typeof createClock>;
} = {}) {
  const dynamo = answer === undefined ? tables.dynamo : createRecordingDynamo(answer).dynamo;
  const { once } = createIdempotency({ dynamo, tableName: tables.executionsTable, now: clock.now });
  let published = 0;
  const publish = async () => {
    published += 1;
    return Promise.resolve({ id: randomUUID(), time: clock.now().toISOString() });
  };
  return { clock, once, publish, published: () => published };
}

const newKey = () => randomUUID();
const inProgress =
  'The first request with this Idempotency-Key is still being worked on; try again in a moment.';
const otherBody =
  'This Idempotency-Key was used with another body within the last 24 hours; a new event needs a new key.';
const conflict = (message: string) =>
  expect.objectContaining({ name: 'ConflictError', reason: 'state', message }) as unknown;

/** A request that is at work until it is told how it ends. */
function pending() {
  const gate = Promise.withResolvers<{ id: string; time: string }>();
  const begun = Promise.withResolvers<void>();
  return {
    publish: () => {
      begun.resolve();
      return gate.promise;
    },
    begun: begun.promise,
    ...gate,
  };
}

describe('once', () => {
  it('publishes the first time, and gives the same answer to every repeat', async () => {
    const { once, publish, published } = open();
    const request = { key: newKey(), body: '{"type":"a.b"}' };
    const first = await once(request, publish);
    expect(first.replayed).toBe(false);
    for (let repeat = 0; repeat < 3; repeat++) {
      expect(await once(request, publish)).toEqual({ answer: first.answer, replayed: true });
    }
    expect(published()).toBe(1);
  });

  it('keeps of a body nothing by which it could be guessed', async () => {
    const { once, publish } = open();
    const body = '{"type":"a.b","data":{"pin":"1234"}}';
    await once({ key: newKey(), body }, publish);
    const { Items } = await tables.dynamo.send(new ScanCommand({ TableName: tables.executionsTable }));
    expect(JSON.stringify(Items)).not.toContain(hash('sha256', body));
  });

  it('keeps keys apart, whatever is in them', async () => {
    const { once, publish, published } = open();
    const base = newKey();
    const keys = [
      base,
      base.toUpperCase(),
      `${base} `,
      `${base}#1`,
      'x'.repeat(255),
      `${'x'.repeat(254)}y`,
      '~',
      ' ',
    ];
    for (const key of keys) expect((await once({ key, body: 'b' }, publish)).replayed).toBe(false);
    expect(published()).toBe(keys.length);
  });

  it('stores neither the key nor the body', async () => {
    const { once, publish } = open();
    const [key, body] = [newKey(), `a body that says ${randomUUID()}`];
    await once({ key, body }, publish);
    const { Items = [] } = await tables.dynamo.send(new ScanCommand({ TableName: tables.executionsTable }));
    expect(Items.length).toBeGreaterThan(0);
    expect(JSON.stringify(Items)).not.toContain(key);
    expect(JSON.stringify(Items)).not.toContain(body);
  });

  it('refuses another body under the same key, also while the first is at work', async () => {
    const { once, publish, published } = open();
    const key = newKey();
    const first = pending();
    const done = once({ key, body: 'one' }, first.publish);
    await first.begun;
    await expect(once({ key, body: 'two' }, publish)).rejects.toEqual(conflict(otherBody));
    first.resolve({ id: 'e-1', time: '2026-11-23T10:00:00.000Z' });
    await done;
    await expect(once({ key, body: 'two' }, publish)).rejects.toEqual(conflict(otherBody));
    expect(published()).toBe(0);
    expect((await once({ key, body: 'one' }, publish)).answer.id).toBe('e-1');
  });

  it('refuses a repeat while the first is at work', async () => {
    const { once, publish, published, clock } = open();
    const request = { key: newKey(), body: 'b' };
    const first = pending();
    const done = once(request, first.publish);
    await first.begun;
    clock.advance(minute - 1);
    await expect(once(request, publish)).rejects.toEqual(conflict(inProgress));
    first.resolve({ id: 'e-1', time: '2026-11-23T10:00:00.000Z' });
    expect((await done).answer.id).toBe('e-1');
    expect((await once(request, publish)).replayed).toBe(true);
    expect(published()).toBe(0);
  });

  it('publishes once, however many come at once', async () => {
    const { once, publish, published } = open();
    const request = { key: newKey(), body: 'b' };
    const results = await Promise.allSettled(Array.from({ length: 40 }, () => once(request, publish)));
    expect(published()).toBe(1);
    const answers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(new Set(answers.map(({ answer }) => answer.id)).size).toBe(1);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toEqual(conflict(inProgress));
    }
  });

  it('is honoured for 24 hours, and new after that although its row is still there', async () => {
    const { once, publish, published, clock } = open();
    const key = newKey();
    const first = await once({ key, body: 'one' }, publish);
    clock.advance(day);
    expect(await once({ key, body: 'one' }, publish)).toEqual({ answer: first.answer, replayed: true });
    clock.advance(1000);
    const second = await once({ key, body: 'two' }, publish);
    expect(second.replayed).toBe(false);
    expect(second.answer.id).not.toBe(first.answer.id);
    await expect(once({ key, body: 'one' }, publish)).rejects.toEqual(conflict(otherBody));
    expect(published()).toBe(2);
  });

  it('gives its rows an expiry of a day', async () => {
    const { once, publish, clock } = open();
    clock.set('2031-01-01T00:00:00.250Z');
    await once({ key: newKey(), body: 'b' }, publish);
    const { Items = [] } = await tables.dynamo.send(new ScanCommand({ TableName: tables.executionsTable }));
    expect(Items.map(({ expiresAt }) => expiresAt as number)).toContain(
      Date.parse('2031-01-02T00:00:01Z') / 1000,
    );
  });

  describe('when the first one died', () => {
    it('a repeat takes over after a minute, one of many', async () => {
      const { once, publish, published, clock } = open();
      const request = { key: newKey(), body: 'b' };
      const dead = pending();
      void once(request, dead.publish);
      await dead.begun;
      clock.advance(minute);
      const results = await Promise.allSettled(Array.from({ length: 20 }, () => once(request, publish)));
      expect(results.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
      expect(published()).toBe(1);
    });

    it('another body does not', async () => {
      const { once, publish, clock } = open();
      const key = newKey();
      const dead = pending();
      void once({ key, body: 'one' }, dead.publish);
      await dead.begun;
      clock.advance(10 * minute);
      await expect(once({ key, body: 'two' }, publish)).rejects.toEqual(conflict(otherBody));
    });

    it('keeps the answer of the one that took over, should the first have been slow only', async () => {
      const { once, publish, clock } = open();
      const request = { key: newKey(), body: 'b' };
      const slow = pending();
      const first = once(request, slow.publish);
      await slow.begun;
      clock.advance(minute);
      const second = await once(request, publish);
      slow.resolve({ id: 'slow', time: '2026-11-23T10:00:00.000Z' });
      expect(await first).toMatchObject({ answer: { id: 'slow' }, replayed: false });
      expect(await once(request, publish)).toEqual({ answer: second.answer, replayed: true });
    });

    it('does not free the key of the one that took over, should the first fail late', async () => {
      const { once, publish, published, clock } = open();
      const request = { key: newKey(), body: 'b' };
      const slow = pending();
      const first = once(request, slow.publish);
      await slow.begun;
      clock.advance(minute);
      const second = await once(request, publish);
      slow.reject(new Error('the bus is full'));
      await expect(first).rejects.toThrow('the bus is full');
      expect(await once(request, publish)).toEqual({ answer: second.answer, replayed: true });
      expect(published()).toBe(1);
    });
  });

  describe('when publishing fails', () => {
    const failing = () => Promise.reject(new Error('The bus did not take it.'));

    it('hands on the error, and the key is free for any body', async () => {
      const { once, publish, published } = open();
      const key = newKey();
      await expect(once({ key, body: 'one' }, failing)).rejects.toThrow('The bus did not take it.');
      await expect(once({ key, body: 'one' }, failing)).rejects.toThrow('The bus did not take it.');
      expect((await once({ key, body: 'two' }, publish)).replayed).toBe(false);
      expect(published()).toBe(1);
    });

    it('says so when the key could not be freed; it is a minute later', async () => {
      const { once, publish, clock } = open({
        answer: ({ name }, send) => (name === 'DeleteItem' ? Promise.reject(new Error('no table')) : send()),
      });
      const request = { key: newKey(), body: 'b' };
      await expect(once(request, failing)).rejects.toMatchObject({
        message:
          'The bus did not take it. Its Idempotency-Key could not be released, and is free in a minute.',
        cause: { message: 'no table' },
      });
      await expect(once(request, publish)).rejects.toBeInstanceOf(ConflictError);
      clock.advance(minute);
      expect((await once(request, publish)).replayed).toBe(false);
    });
  });

  it('knows its own claim again when the SDK tried twice because an answer was lost', async () => {
    const { once, publish, published } = open({
      answer: async (_, send) => {
        await send().catch(() => 'the first try');
        return send();
      },
    });
    const request = { key: newKey(), body: 'b' };
    expect((await once(request, publish)).replayed).toBe(false);
    expect((await once(request, publish)).replayed).toBe(true);
    expect(published()).toBe(1);
  });

  it('costs two writes; a repeat one refused write and a read', async () => {
    using recording = createRecordingDynamo();
    const { once } = createIdempotency({
      dynamo: recording.dynamo,
      tableName: tables.executionsTable,
      now: () => new Date(),
    });
    const request = { key: newKey(), body: 'b' };
    const { publish } = open();
    await once(request, publish);
    expect(recording.names()).toEqual(['PutItem', 'UpdateItem']);
    await once(request, publish);
    expect(recording.names().slice(2)).toEqual(['PutItem', 'GetItem']);
  });

  it('throws what DynamoDB throws, and publishes nothing', async () => {
    const { once, publish, published } = open({ answer: () => Promise.reject(new Error('no table')) });
    await expect(once({ key: newKey(), body: 'b' }, publish)).rejects.toThrow('no table');
    expect(published()).toBe(0);
  });
});
