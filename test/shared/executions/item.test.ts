import { randomBytes } from 'node:crypto';
import { DeleteCommand, GetCommand, PutCommand } from '@aws-sdk/lib-dynamodb';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { Attempt, ExecutionRecord } from '../../../shared/executions/execution.ts';
import { maxStoredEventBytes, storageProblem } from '../../../shared/events/packed-text.ts';
import { fromItem, itemBytes, toItem } from '../../../shared/executions/item.ts';
import { executionKey } from '../../../shared/executions/key.ts';
import type { ExecutionState } from '../../../shared/executions/life-cycle.ts';
import { aHandler, anEvent, anExecution } from '../../support/builders.ts';
import { startTestDynamo } from '../../support/dynamo.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const retention = { endedDays: 30, heldDays: 90 };
const now = new Date('2026-11-23T10:00:05.000Z');
const inSeconds = (days: number) => now.getTime() / 1000 + days * 86_400;
const itemOf = (record: ExecutionRecord) => toItem(record, retention, now);

/** Text that does not compress, one byte a character. */
const noise = (bytes: number) =>
  randomBytes(Math.ceil(bytes / 2))
    .toString('hex')
    .slice(0, bytes);
// Base64 has 6 bits in a character, so 256 KB compressed are about 340 KB of it.
const denseNoise = (bytes: number) => randomBytes(bytes).toString('base64').slice(0, bytes);

/**
 * What DynamoDB charges for writing an item that was not there, in write units; without its entry in the index, which is
 * charged too.
 */
async function chargeFor(item: Record<string, unknown>): Promise<number> {
  const { ConsumedCapacity } = await db.dynamo.send(
    new PutCommand({ TableName: db.executionsTable, Item: item, ReturnConsumedCapacity: 'INDEXES' }),
  );
  const { pk, sk } = item;
  await db.dynamo.send(new DeleteCommand({ TableName: db.executionsTable, Key: { pk, sk } }));
  return ConsumedCapacity?.Table?.CapacityUnits ?? Number.NaN;
}

const anyTime = fc
  .date({ min: new Date('1970-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
  .map((date) => date.toISOString());
const anyState: fc.Arbitrary<ExecutionState> = fc.oneof(
  fc.constant<ExecutionState>({ status: 'succeeded' }),
  fc.constant<ExecutionState>({ status: 'failed' }),
  fc.constant<ExecutionState>({ status: 'held', reason: 'disabled' }),
  fc.constant<ExecutionState>({ status: 'failed', reason: 'deleted' }),
  fc
    .tuple(fc.constantFrom('retry' as const, 'busy' as const), anyTime, anyTime)
    .map<ExecutionState>(([reason, nextAttemptAt, sweepAt]) => ({
      status: 'waiting',
      reason,
      nextAttemptAt,
      sweepAt,
    })),
);
const anyText = fc.string({ unit: 'grapheme', maxLength: 50 });
const anyAttempt: fc.Arbitrary<Attempt> = fc.record({
  number: fc.integer({ min: 1, max: 100 }),
  at: anyTime,
  durationMs: fc.nat(30_000),
  statusCode: fc.option(fc.integer({ min: 100, max: 599 })),
  error: fc.option(anyText),
  response: fc.option(anyText),
  output: fc.option(anyText),
});
const anyRecord: fc.Arbitrary<ExecutionRecord> = fc
  .record({
    eventId: fc.stringMatching(/^[\x21-\x7e]{1,128}$/u),
    time: anyTime,
    sentAt: fc.date({ min: new Date('2020-01-01'), max: new Date('2040-01-01'), noInvalidDate: true }),
    type: fc.string({ minLength: 1, maxLength: 40 }),
    objectId: fc.oneof(fc.constant(null), fc.maxSafeInteger(), anyText),
    raw: fc.oneof(
      fc.json(),
      fc.nat(5000).map(noise),
      fc.nat(5000).map((length) => 'a'.repeat(length)),
    ),
    handlerName: anyText,
    state: anyState,
    generation: fc.integer({ min: 1, max: 9 }),
    attemptsBefore: fc.nat(20),
    putOffs: fc.nat(20),
    startedAt: anyTime,
    attempts: fc.array(anyAttempt, { maxLength: 10 }),
    request: fc.option(
      fc.oneof(
        fc.record({
          type: fc.constant('http' as const),
          method: fc.constantFrom('POST' as const, 'PUT' as const, 'PATCH' as const),
          url: fc.webUrl(),
          headers: fc.dictionary(fc.stringMatching(/^x-[a-z]{1,9}$/u), fc.string()),
          format: fc.constant('standard' as const),
        }),
        fc.record({ type: fc.constant('script' as const), script: anyText }),
      ),
    ),
  })
  .map((made): ExecutionRecord => ({
    key: executionKey('h_1234567890abcdef', { id: made.eventId, time: made.time }, made.sentAt, 4),
    handlerName: made.handlerName,
    event: { type: made.type, time: made.time, objectId: made.objectId, raw: made.raw },
    state: made.state,
    generation: made.generation,
    attemptsBefore: made.attemptsBefore,
    putOffs: made.putOffs,
    startedAt: made.startedAt,
    attemptCount: made.attempts.length,
    attempts: made.attempts,
    request: made.request,
  }));

describe('fromItem', () => {
  it('gives back every record that toItem took', () => {
    fc.assert(
      fc.property(anyRecord, (record) => {
        expect(fromItem(itemOf(record))).toEqual(record);
      }),
      { numRuns: 300 },
    );
  });

  it('gives back what went through the table', async () => {
    await fc.assert(
      fc.asyncProperty(anyRecord, async (record) => {
        await db.dynamo.send(new PutCommand({ TableName: db.executionsTable, Item: itemOf(record) }));
        const { Item = {} } = await db.dynamo.send(
          new GetCommand({ TableName: db.executionsTable, Key: record.key }),
        );
        expect(fromItem(Item)).toEqual(record);
      }),
      { numRuns: 50 },
    );
  });
});

describe('toItem', () => {
  it('keeps a small event as text that people can read', () => {
    const record = anExecution();
    expect(itemOf(record)['eventBody']).toBe(record.event.raw);
  });

  it('compresses an event where that saves a write unit', () => {
    const event = { ...anExecution().event, raw: anEvent({ detail: { data: 'a'.repeat(2000) } }) };
    const item = itemOf({ ...anExecution(), event });
    expect(item['eventBody']).toBeInstanceOf(Uint8Array);
    expect(fromItem(item).event.raw).toBe(event.raw);
  });

  it('compresses where text would begin another write unit, and not before', async () => {
    const record = anExecution();
    const isCompressed = (item: Record<string, unknown>) => typeof item['eventBody'] !== 'string';
    const itemWith = (raw: string) => itemOf({ ...record, event: { ...record.event, raw } });
    let length = 0;
    while (!isCompressed(itemWith('a'.repeat(length)))) length++;
    const asText = (bytes: number) => chargeFor({ ...itemWith(''), eventBody: 'a'.repeat(bytes) });
    expect(await asText(length - 1)).toBe(1);
    // Numbers are counted a byte or two too long.
    expect(await asText(length + 4)).toBe(2);
    expect(await chargeFor(itemWith('a'.repeat(length)))).toBe(1);
  });

  it('keeps an event as text that compresses a little, but not by a write unit', () => {
    const record = anExecution({ handlerName: '' });
    const raw = `${denseNoise(1000)}${'a'.repeat(200)}`;
    const { eventBody: _, ...item } = itemOf(record);
    const spare = 4096 - itemBytes({ ...item, eventBody: raw });
    const full = { ...record, handlerName: 'x'.repeat(spare), event: { ...record.event, raw } };
    expect(itemOf(full)['eventBody']).toBe(raw);
    expect(itemOf({ ...full, handlerName: 'x'.repeat(spare + 1) })['eventBody']).toBeInstanceOf(Uint8Array);
  });

  it('writes no key of the attention index for a success', () => {
    expect(itemOf(anExecution())).not.toHaveProperty('attention');
    expect(itemOf(anExecution())).not.toHaveProperty('attentionKey');
  });

  it.each([
    ['failed', { status: 'failed' }],
    ['held', { status: 'held', reason: 'disabled' }],
  ] as const)('finds what is %s by its handler, then by time', (status, state) => {
    const item = itemOf(anExecution({ eventId: 'e1', state }));
    expect(item['attention']).toMatch(new RegExp(`^${status}#[0-7]$`, 'u'));
    expect(item['attentionKey']).toBe('h_1234567890abcdef#2026-11-23T10:00:00.000Z#e1');
  });

  it('spreads what needs attention over eight partitions, the same one in every state of an execution', () => {
    const partitionOf = (eventId: string, state: ExecutionState) =>
      String(itemOf(anExecution({ eventId, state }))['attention']).split('#')[1];
    const waiting = {
      status: 'waiting',
      reason: 'retry',
      nextAttemptAt: '2026-11-23T10:05:00.000Z',
      sweepAt: '2026-11-23T10:07:00.000Z',
    } as const;
    const eventIds = Array.from({ length: 100 }, (_, index) => `e${index}`);
    expect(new Set(eventIds.map((id) => partitionOf(id, { status: 'failed' }))).size).toBe(8);
    for (const id of eventIds) {
      expect(partitionOf(id, waiting)).toBe(partitionOf(id, { status: 'failed' }));
    }
  });

  it('sorts what waits by when the sweeper must look', () => {
    const nextAttemptAt = '2026-11-23T15:00:00.000Z';
    const sweepAt = '2026-11-23T14:45:00.000Z';
    const item = itemOf(
      anExecution({ state: { status: 'waiting', reason: 'retry', nextAttemptAt, sweepAt } }),
    );
    expect(item['attention']).toMatch(/^waiting#[0-7]$/u);
    expect(item['attentionKey']).toBe(sweepAt);
    expect(item['nextAttemptAt']).toBe(nextAttemptAt);
  });

  it('lets ended executions expire after their days, held ones after more, waiting ones never', () => {
    const expiryOf = (state: ExecutionState) => itemOf(anExecution({ state }))['expiresAt'];
    expect(expiryOf({ status: 'succeeded' })).toBe(inSeconds(30));
    expect(expiryOf({ status: 'failed' })).toBe(inSeconds(30));
    expect(expiryOf({ status: 'held', reason: 'disabled' })).toBe(inSeconds(90));
    expect(
      expiryOf({
        status: 'waiting',
        reason: 'retry',
        nextAttemptAt: '2026-11-23T10:05:00.000Z',
        sweepAt: '2026-11-23T10:07:00.000Z',
      }),
    ).toBeUndefined();
  });

  it('keeps the largest event with the largest handler and ten of the largest attempts in one item', async () => {
    const raw = incompressibleEventOf(maxStoredEventBytes);
    expect(storageProblem(raw)).toBeNull();
    const { name, target } = largestHandler();
    const attempt: Attempt = {
      number: 1,
      at: now.toISOString(),
      durationMs: 30_000,
      statusCode: 503,
      error: 'é'.repeat(500),
      response: 'x'.repeat(4096),
      output: 'x'.repeat(4096),
    };
    const time = '1999-11-23T10:00:00.000Z';
    const item = itemOf({
      ...anExecution(),
      handlerName: name,
      key: executionKey(`h_${'x'.repeat(16)}`, { id: 'e'.repeat(128), time }, now, 64),
      event: { type: '漢'.repeat(128), time, objectId: '漢'.repeat(256), raw },
      state: {
        status: 'waiting',
        reason: 'retry',
        nextAttemptAt: now.toISOString(),
        sweepAt: now.toISOString(),
      },
      attempts: Array.from({ length: 10 }, () => attempt),
      request: {
        type: 'http',
        method: 'PATCH',
        url: target.url,
        headers: target.headers,
        format: 'standard',
      },
    });
    expect(itemBytes(item)).toBeLessThan(400 * 1024);
    await expect(chargeFor(item)).resolves.toBeGreaterThan(256);
  });
});

describe('itemBytes', () => {
  it('counts what DynamoDB charges for: not a byte less, and at most a few more', async () => {
    const item = itemOf(anExecution({ state: { status: 'failed' } }));
    const bytes = 3 * 1024 - itemBytes({ ...item, filler: '' });
    expect(await chargeFor({ ...item, filler: 'x'.repeat(bytes) })).toBe(3);
    expect(await chargeFor({ ...item, filler: 'x'.repeat(bytes + 8) })).toBe(4);
  });

  it('counts text in bytes, not in characters', () => {
    expect(itemBytes({ text: '漢' })).toBe(itemBytes({ text: 'abc' }));
  });
});

/** The event that takes the most room of those that are accepted: compressed, it has just `bytes`. */
function incompressibleEventOf(bytes: number): string {
  const noiseText = denseNoise(bytes * 2);
  let [low, high] = [bytes, noiseText.length];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (storageProblem(noiseText.slice(0, middle)) === null) low = middle;
    else high = middle;
  }
  return noiseText.slice(0, low);
}

/** Every field as long as the schema lets it be. */
function largestHandler() {
  const url = `https://crm.example/${'漢'.repeat(2048)}`.slice(0, 2048);
  const headers = Object.fromEntries(
    Array.from({ length: 50 }, (_, index) => [`x-${String(index).padStart(2, '0')}`, 'v'.repeat(323)]),
  );
  return aHandler({ name: '漢'.repeat(200), target: { url, headers } });
}
