import { QueryCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, describe, expect, it } from 'vitest';
import {
  createDeadLetters,
  deadLetterBodyPartition,
  deadLettersPartition,
} from '../../../shared/events/dead-letters.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const receivedAt = new Date('2026-11-23T10:00:00.123Z');
const { now } = createClock('2026-11-23T10:00:05.000Z');
const expiresAt = now().getTime() / 1000 + 90 * 86_400;

function openDeadLetters(answer?: Answer) {
  const recording = createRecordingDynamo(answer);
  const { record } = createDeadLetters({
    dynamo: recording.dynamo,
    tableName: db.executionsTable,
    keptDays: 90,
    now,
  });
  return { ...recording, record };
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
        bodyBytes: 1,
        bodyParts: 1,
        expiresAt,
      },
    ]);
  });

  it.each([
    ['empty', '', 0],
    ['100 bytes', 'x'.repeat(100), 1],
    ['one part to the byte', 'x'.repeat(380 * 1024), 1],
    ['a byte more', 'x'.repeat(380 * 1024 + 1), 2],
    ['1 MB', 'x'.repeat(1_048_576), 3],
    ['text that is cut inside a character', `x${'漢'.repeat(300_000)}`, 3],
  ])('keeps its body whole: %s', async (id, body, parts) => {
    await openDeadLetters().record({ id, receivedAt, reason: 'unreadable', body });
    expect((await bodyOf(id)) === body).toBe(true);
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
