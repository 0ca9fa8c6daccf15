import { describe, expect, it } from 'vitest';
import { createSlots, isMissed } from '../../../shared/handlers/slots.ts';

const at = (ms: number) => new Date(Date.parse('2026-11-23T10:00:00.000Z') + ms);

/** Slots a second apart, and what was asked for. */
function aRow() {
  const asked: [id: string, perSecond: number, count: number][] = [];
  let taken = 0;
  return {
    asked,
    reserve: async (id: string, { perSecond }: { perSecond: number }, count: number) => {
      asked.push([id, perSecond, count]);
      taken += count;
      return Array.from({ length: count }, (_, index) => at((taken - count + index) * 1000));
    },
  };
}

describe('slots that are asked for at the same time', () => {
  it('share a reservation for each handler, first come first served', async () => {
    const row = aRow();
    const { take } = createSlots(row);
    const handlers = [
      { id: 'h_a', rateLimit: { perSecond: 5 } },
      { id: 'h_b', rateLimit: { perSecond: 7 } },
      { id: 'h_a', rateLimit: { perSecond: 6 } },
    ];
    expect(await Promise.all(handlers.map(take))).toEqual([at(1000), at(0), at(2000)]);
    // At the limit as it was seen last, and a moment after the last one has asked.
    expect(row.asked).toEqual([
      ['h_b', 7, 1],
      ['h_a', 6, 2],
    ]);
  });

  it('are refused together, and the next ones are not', async () => {
    const row = aRow();
    let refused = false;
    const { take } = createSlots({
      reserve: async (...input) => {
        if (refused) return row.reserve(...input);
        refused = true;
        throw new Error('not today');
      },
    });
    const handler = { id: 'h_a', rateLimit: { perSecond: 5 } };
    const results = await Promise.allSettled([take(handler), take(handler)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await take(handler)).toEqual(at(0));
  });
});

describe('a slot', () => {
  it.each([
    [-1000, false],
    [0, false],
    [250, false],
    [251, true],
  ])('is missed %d ms after its time: %s', (ms, missed) => {
    expect(isMissed(at(0), at(ms))).toBe(missed);
  });
});
