import { DeleteCommand, paginateScan, QueryCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createDeadLetters,
  deadLetterBodyPartition,
  deadLettersPartition,
} from '../../../shared/dead-letters/dead-letters.ts';
import { encodeCursor } from '../../../shared/cursor.ts';
import { aKeeping } from '../../support/keeping.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const receivedAt = new Date('2026-11-23T10:00:00.123Z');
const startedAt = '2026-11-23T10:00:05.000Z';
const clock = createClock(startedAt);
const expiresAt = Date.parse(startedAt) / 1000 + 90 * 86_400;
beforeEach(async () => {
  clock.set(startedAt);
  await emptyTable();
});

function openDeadLetters(answer?: Answer) {
  const recording = createRecordingDynamo(answer);
  const deadLetters = createDeadLetters({
    dynamo: recording.dynamo,
    tableName: db.executionsTable,
    keeping: aKeeping(),
    keptDays: 90,
    now: clock.now,
  });
  return { ...recording, ...deadLetters };
}

async function emptyTable(): Promise<void> {
  const pages = paginateScan(
    { client: db.dynamo },
    { TableName: db.executionsTable, ProjectionExpression: 'pk, sk' },
  );
  for await (const { Items = [] } of pages) {
    await Promise.all(
      Items.map(({ pk, sk }) =>
        db.dynamo.send(new DeleteCommand({ TableName: db.executionsTable, Key: { pk, sk } })),
      ),
    );
  }
}

async function itemsOf(pk: string): Promise<Record<string, unknown>[]> {
  const { Items = [] } = await db.dynamo.send(
    new QueryCommand({
      TableName: db.executionsTable,
      KeyConditionExpression: 'pk = :pk',
      ExpressionAttributeValues: { ':pk': pk },
      ConsistentRead: true,
    }),
  );
  return Items;
}
const rowOf = async (id: string) =>
  (await itemsOf(deadLettersPartition)).filter(({ sk }) => String(sk).endsWith(`#${id}`));
const bodyOf = async (id: string) => {
  const parts = await itemsOf(deadLetterBodyPartition(id));
  return Buffer.concat(parts.map(({ part }) => part as Uint8Array)).toString();
};

describe('a dead letter', () => {
  it('is a row with its reason, by the time it was received', async () => {
    await openDeadLetters().record({ id: 'm1', receivedAt, reason: 'The message is not JSON.', body: '{' });
    expect(await rowOf('m1')).toEqual([
      {
        pk: 'DEAD_LETTER',
        sk: '2026-11-23T10:00:00.123Z#m1',
        reason: 'The message is not JSON.',
        body: '{',
        bodyBytes: 1,
        bodyParts: 1,
        expiresAt,
      },
    ]);
  });

  it.each([
    ['empty', '', 1],
    ['100 bytes', 'x'.repeat(100), 1],
    ['one part to the byte', 'x'.repeat(380 * 1024), 1],
    ['a byte more', 'x'.repeat(380 * 1024 + 1), 2],
    ['1 MB', 'x'.repeat(1_048_576), 3],
    ['text that is cut inside a character', `x${'漢'.repeat(300_000)}`, 3],
  ])('keeps its body whole: %s', async (id, body, parts) => {
    await openDeadLetters().record({ id, receivedAt, reason: 'unreadable', body });
    expect((await bodyOf(id)) === body).toBe(true);
    const listed = await openDeadLetters().find(id);
    expect((await openDeadLetters().readBody({ id, bodyBytes: listed?.bodyBytes ?? -1 })) === body).toBe(
      true,
    );
    expect(await rowOf(id)).toMatchObject([{ bodyBytes: Buffer.byteLength(body), bodyParts: parts }]);
    const items = await itemsOf(deadLetterBodyPartition(id));
    expect(items).toHaveLength(parts);
    for (const item of items) expect(item['expiresAt']).toBe(expiresAt);
  });

  it('is one row when its message is received again', async () => {
    const letter = { id: 'twice', receivedAt, reason: 'unreadable', body: 'x'.repeat(500_000) };
    const { record } = openDeadLetters();
    await record(letter);
    await record(letter);
    expect(await rowOf('twice')).toHaveLength(1);
    expect((await bodyOf('twice')) === letter.body).toBe(true);
  });

  it('has its row written last, so that a row always has its whole body', async () => {
    const { record, calls } = openDeadLetters();
    await record({ id: 'order', receivedAt, reason: 'unreadable', body: 'x'.repeat(1_000_000) });
    const keys = calls.map(({ input }) => (input['Item'] as { pk: string }).pk);
    expect(keys).toEqual([
      ...Array.from({ length: 3 }, () => deadLetterBodyPartition('order')),
      'DEAD_LETTER',
    ]);
  });

  it('has no row when its body could not be written', async () => {
    let puts = 0;
    const { record } = openDeadLetters((_, send) =>
      ++puts === 2 ? Promise.reject(new Error('down')) : send(),
    );
    const letter = { id: 'broken', receivedAt, reason: 'unreadable', body: 'x'.repeat(1_000_000) };
    await expect(record(letter)).rejects.toThrow('down');
    expect(await rowOf('broken')).toEqual([]);
  });
});

describe('the head of a body', () => {
  it.each([
    ['4 KB', 'x'.repeat(4096), 'x'.repeat(4096)],
    ['a byte more', 'x'.repeat(4097), 'x'.repeat(4096)],
    ['a character that is cut in two', `${'x'.repeat(4095)}é`, 'x'.repeat(4095)],
    ['a byte order mark', '\ufeffx', '\ufeffx'],
    ['nothing', '', ''],
  ])('is in the row: %s', async (id, body, head) => {
    const { record, find } = openDeadLetters();
    await record({ id, receivedAt, reason: 'unreadable', body });
    expect((await find(id))?.body === head).toBe(true);
  });
});

describe('list', () => {
  const letterAt = (second: number, id = `m${second}`) => ({
    id,
    receivedAt: new Date(Date.parse(startedAt) + second * 1000),
    reason: `reason ${second}`,
    body: `body ${second}`,
  });
  const idsOf = (letters: readonly { id: string }[]) => letters.map(({ id }) => id);

  it('is newest first, page by page', async () => {
    const { record, list } = openDeadLetters();
    for (const second of [2, 0, 4, 1, 3]) await record(letterAt(second));
    const first = await list(2);
    expect(first.letters).toEqual([
      { id: 'm4', receivedAt: '2026-11-23T10:00:09.000Z', reason: 'reason 4', body: 'body 4', bodyBytes: 6 },
      { id: 'm3', receivedAt: '2026-11-23T10:00:08.000Z', reason: 'reason 3', body: 'body 3', bodyBytes: 6 },
    ]);
    const second = await list(2, first.nextCursor ?? '');
    expect(idsOf(second.letters)).toEqual(['m2', 'm1']);
    expect(await list(2, second.nextCursor ?? '')).toEqual({
      letters: [expect.objectContaining({ id: 'm0' })],
      nextCursor: null,
    });
    expect((await list(5)).nextCursor).toBeNull();
  });

  it('is empty without any', async () => {
    expect(await openDeadLetters().list(20)).toEqual({ letters: [], nextCursor: null });
  });

  it('keeps apart what was received in the same millisecond', async () => {
    const { record, list } = openDeadLetters();
    for (const id of ['a', 'b', 'c']) await record(letterAt(0, id));
    const { letters, nextCursor } = await list(1);
    expect(idsOf(letters)).toEqual(['c']);
    expect(idsOf((await list(5, nextCursor ?? '')).letters)).toEqual(['b', 'a']);
  });

  it('leaves out what has expired, although it is still there', async () => {
    const { record, list, find } = openDeadLetters();
    await record(letterAt(1, 'old'));
    clock.advance(1000);
    await record(letterAt(0, 'newer'));
    clock.advance(90 * 86_400_000 - 1000);
    expect(idsOf((await list(20)).letters)).toEqual(['newer']);
    expect(await find('old')).toBeNull();
    expect(await find('newer')).not.toBeNull();
    expect(await rowOf('old')).toHaveLength(1);
  });

  it('reads a bounded amount, and its cursor goes on behind what has expired', async () => {
    const { record, list, calls } = openDeadLetters();
    for (let second = 1; second <= 25; second++) await record(letterAt(second));
    clock.advance(90 * 86_400_000);
    await record(letterAt(0, 'alive'));
    calls.length = 0;
    const first = await list(1);
    expect(first.letters).toEqual([]);
    expect(calls).toHaveLength(10);
    expect(idsOf((await list(1, first.nextCursor ?? '')).letters)).toEqual(['alive']);
  });

  it('does not read the bodies', async () => {
    const { record, list, names, calls } = openDeadLetters();
    await record({ ...letterAt(0), body: 'x'.repeat(1_000_000) });
    calls.length = 0;
    expect((await list(20)).letters).toMatchObject([{ bodyBytes: 1_000_000 }]);
    expect(names()).toEqual(['Query']);
  });

  it.each([
    '',
    'nonsense',
    encodeCursor(null),
    encodeCursor(12),
    encodeCursor('m1'),
    encodeCursor(`2026-11-23T10:00:00.000Z#${'x'.repeat(2000)}`),
    encodeCursor('2026-11-23T10:00:00.000Z#\u0000'),
  ])('refuses the cursor %j', async (cursor) => {
    await expect(openDeadLetters().list(20, cursor)).rejects.toMatchObject({ name: 'InvalidInputError' });
  });
});

describe('remove', () => {
  const letter = { id: 'gone', receivedAt, reason: 'unreadable', body: 'x'.repeat(1_000_000) };

  it('forgets the row and the whole body', async () => {
    const { record, find, readBody, remove } = openDeadLetters();
    await record(letter);
    await record({ ...letter, id: 'stays' });
    await remove({ id: 'gone', receivedAt: receivedAt.toISOString() });
    expect(await find('gone')).toBeNull();
    expect(await readBody({ id: 'gone', bodyBytes: 1_000_000 })).toBeNull();
    expect(await itemsOf(deadLetterBodyPartition('gone'))).toEqual([]);
    expect(await rowOf('stays')).toHaveLength(1);
    expect(await readBody({ id: 'stays', bodyBytes: 1_000_000 })).toHaveLength(1_000_000);
  });

  it('does nothing a second time, nor for what never was', async () => {
    const { record, remove } = openDeadLetters();
    await record(letter);
    for (const id of ['gone', 'gone', 'never']) await remove({ id, receivedAt: receivedAt.toISOString() });
    expect(await rowOf('gone')).toEqual([]);
  });

  it('leaves no row without its body when it dies in the middle', async () => {
    await openDeadLetters().record(letter);
    let deletions = 0;
    const { remove } = openDeadLetters((_, send) =>
      ++deletions > 1 ? Promise.reject(new Error('killed')) : send(),
    );
    await expect(remove({ id: 'gone', receivedAt: receivedAt.toISOString() })).rejects.toThrow('killed');
    const { find, list, record, readBody } = openDeadLetters();
    expect(await find('gone')).toBeNull();
    expect((await list(20)).letters).toEqual([]);
    await record(letter);
    expect(await readBody({ id: 'gone', bodyBytes: 1_000_000 })).toHaveLength(1_000_000);
  });
});
