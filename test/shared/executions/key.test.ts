import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeExecutionId,
  encodeExecutionId,
  executionKey,
  hourOf,
  partitionsOf,
  readKey,
  sentAtOf,
} from '../../../shared/executions/key.ts';

const handlerId = 'h_1234567890abcdef';
const time = '2026-11-23T10:20:30.456Z';
const sentAt = new Date('2026-11-23T10:20:31.000Z');
const minutes = 60_000;

/** Every id that an envelope may have. */
const anyEventId = fc.stringMatching(/^[\x21-\x7e]{1,128}$/u);

describe('sentAtOf', () => {
  it('leads to the same key again, whatever the time of the event', () => {
    const anyDelayMs = fc.integer({ min: -300 * minutes, max: 300 * minutes });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 * minutes }), anyDelayMs, (pastHourMs, offMs) => {
        const at = new Date(Date.parse('2026-11-23T10:00:00.000Z') + pastHourMs);
        const event = { id: 'e1', time: new Date(at.getTime() + offMs).toISOString() };
        const key = executionKey(handlerId, event, at, 4);
        expect(executionKey(handlerId, event, sentAtOf(key, event), 4)).toEqual(key);
      }),
    );
  });
});

describe('executionKey', () => {
  it('is the same for the same event and handler, whenever the message is received', () => {
    const event = { id: 'e1', time };
    expect(executionKey(handlerId, event, sentAt, 4)).toEqual(executionKey(handlerId, event, sentAt, 4));
  });

  it('names handler, shard, event time and event id', () => {
    expect(executionKey(handlerId, { id: 'e1', time }, sentAt, 1)).toEqual({
      pk: 'h_1234567890abcdef#0',
      sk: '2026-11-23T10:20:30.456Z#e1',
    });
  });

  it('keeps a time that is up to an hour from when the message was sent', () => {
    for (const offMs of [-60 * minutes, 60 * minutes]) {
      const near = new Date(sentAt.getTime() + offMs).toISOString();
      expect(readKey(executionKey(handlerId, { id: 'e1', time: near }, sentAt, 1)).time).toBe(near);
    }
  });

  it.each([
    ['an hour and a millisecond too early', '2026-11-23T09:20:30.999Z'],
    ['an hour and a millisecond too late', '2026-11-23T11:20:31.001Z'],
    ['years ago', '1970-01-01T00:00:00.000Z'],
    ['in the far future', '9999-12-31T23:59:59.999Z'],
    ['beyond four-digit years', '+010000-01-01T00:00:00.000Z'],
  ])('takes the hour of the message where the event time is %s', (_, odd) => {
    const key = executionKey(handlerId, { id: 'e1', time: odd }, sentAt, 1);
    expect(key.sk).toBe('2026-11-23T10:00:00.000Z#e1');
  });

  it('gives one event all its shards alike, and every shard some events', () => {
    const shards = 4;
    const used = new Set(
      Array.from(
        { length: 100 },
        (_, index) => executionKey('h', { id: `e${index}`, time }, sentAt, shards).pk,
      ),
    );
    expect([...used].sort()).toEqual(partitionsOf('h', shards));
    fc.assert(
      fc.property(anyEventId, fc.integer({ min: 1, max: 64 }), (id, count) => {
        const shardOf = (handler: string) =>
          executionKey(handler, { id, time }, sentAt, count).pk.split('#')[1];
        expect(shardOf('h_a')).toBe(shardOf('h_b'));
        expect(partitionsOf('h_a', count)).toContain(`h_a#${shardOf('h_a')}`);
      }),
    );
  });
});

describe('readKey', () => {
  it('gives back what the key was made of, for any event id', () => {
    fc.assert(
      fc.property(anyEventId, (id) => {
        const key = executionKey(handlerId, { id, time }, sentAt, 64);
        expect(readKey(key)).toEqual({ handlerId, time, eventId: id });
        expect(hourOf(key.sk)).toBe('2026-11-23T10');
      }),
    );
  });
});

describe('decodeExecutionId', () => {
  it('gives back the key behind every id, and ids are safe in a URL', () => {
    fc.assert(
      fc.property(anyEventId, fc.integer({ min: 1, max: 64 }), (eventId, shards) => {
        const key = executionKey(handlerId, { id: eventId, time }, sentAt, shards);
        const id = encodeExecutionId(key);
        expect(id).toMatch(/^x_[\w-]+$/u);
        expect(decodeExecutionId(id)).toEqual(key);
      }),
    );
  });

  it.each([
    ['nothing', ''],
    ['the prefix alone', 'x_'],
    ['another prefix', encodeExecutionId({ pk: 'h#0', sk: `${time}#e` }).replace('x_', 'y_')],
    ['no base64', 'x_%%%'],
    ['a key without an event id', encodeExecutionId({ pk: 'h#0', sk: `${time}#` })],
    ['a key without a time', encodeExecutionId({ pk: 'h#0', sk: 'e1' })],
    ['a key without a shard', encodeExecutionId({ pk: 'h', sk: `${time}#e` })],
    ['the key of another item', encodeExecutionId({ pk: 'HOUR#2026-11-23T10', sk: 'h_1' })],
    [
      'a partition longer than DynamoDB takes',
      encodeExecutionId({ pk: `${'h'.repeat(3000)}#0`, sk: `${time}#e` }),
    ],
    [
      'an event id longer than one can be',
      encodeExecutionId({ pk: 'h#0', sk: `${time}#${'e'.repeat(2000)}` }),
    ],
    ['bytes that are no text', `x_${Buffer.from([0xff, 0xfe, 0x23, 0x30, 0x23]).toString('base64url')}`],
  ])('gives null for %s', (_, id) => {
    expect(decodeExecutionId(id)).toBeNull();
  });

  it('gives null or a key that encodes to an id again, for any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => `x_${text}`),
        ),
        (text) => {
          const key = decodeExecutionId(text);
          if (key !== null) expect(decodeExecutionId(encodeExecutionId(key))).toEqual(key);
        },
      ),
    );
  });
});
