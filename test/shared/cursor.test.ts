import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { decodeCursor, encodeCursor } from '../../shared/cursor.ts';
import { InvalidInputError } from '../../shared/errors.ts';

const Position = z.tuple([z.number(), z.string()]);

describe('decodeCursor', () => {
  it.each([[[0, '']], [[100, 'CRM sync']], [[-1.5, '顧客 \uffff 👋']]])(
    'gives back the position %j',
    (position) => {
      const cursor = encodeCursor(position);
      expect(cursor).toMatch(/^[\w-]+$/u);
      expect(decodeCursor(cursor, Position)).toEqual(position);
    },
  );

  it.each([
    ['nothing', ''],
    ['what is no base64', '%%%'],
    ['what is no JSON', Buffer.from('[1,').toString('base64url')],
    ['null', encodeCursor(null)],
    ['a position of another list', encodeCursor(['h_1#0', '2026-11-23'])],
    ['one that goes on', encodeCursor([1, 'a', 'b'])],
  ])('refuses %s, and names the field', (_, cursor) => {
    const decode = () => decodeCursor(cursor, Position);
    expect(decode).toThrow(InvalidInputError);
    expect(decode).toThrow('cursor: is not a cursor of this list');
  });
});
