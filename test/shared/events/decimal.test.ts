import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addDecimals, isDecimal, signOf } from '../../../shared/events/decimal.ts';

describe('addDecimals', () => {
  it.each([
    ['0.1', '0.2', '0.3'],
    ['12.5000', '-12.5', '0.0000'],
    ['-0.0001', '0', '-0.0001'],
    ['1', '2', '3'],
    ['007', '-10', '-3'],
    ['9007199254740993', '0.0001', '9007199254740993.0001'],
  ])('%s + %s = %s', (a, b, sum) => {
    expect(addDecimals(a, b)).toBe(sum);
  });

  it('is exact for all decimals', () => {
    const units = fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n });
    const places = fc.integer({ min: 0, max: 12 });
    fc.assert(
      fc.property(units, places, units, places, (a, aPlaces, b, bPlaces) => {
        const [left, right] = [decimal(a, aPlaces), decimal(b, bPlaces)];
        const sum = addDecimals(left, right);
        // Both at twelve places are integers, and integers of this kind are exact.
        const expected = a * 10n ** BigInt(12 - aPlaces) + b * 10n ** BigInt(12 - bPlaces);
        const sumPlaces = Math.max(aPlaces, bPlaces);
        expect(isDecimal(left) && isDecimal(sum)).toBe(true);
        expect(sum).toBe(decimal(expected / 10n ** BigInt(12 - sumPlaces), sumPlaces));
        expect(signOf(sum)).toBe(expected === 0n ? 0 : expected < 0n ? -1 : 1);
      }),
    );
  });
});

/** `units` of the last of so many places, written by arithmetic alone. */
function decimal(units: bigint, places: number): string {
  const one = 10n ** BigInt(places);
  const size = units < 0n ? -units : units;
  const fraction = places === 0 ? '' : `.${String((size % one) + one).slice(1)}`;
  return `${units < 0n ? '-' : ''}${size / one}${fraction}`;
}
