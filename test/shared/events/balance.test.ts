import { describe, expect, it } from 'vitest';
import { balanceEventOf } from '../../../shared/events/balance.ts';

const [up, down] = ['client.balance.nonnegative', 'client.balance.nonpositive'];

describe('balanceEventOf', () => {
  it.each([
    ['5', '0', down],
    ['0', '5', up],
    ['-3', '0', up],
    ['0', '-3', down],
    ['-3', '5', up],
    ['5', '-5', down],
    ['3', '8', null],
    ['8', '3', null],
    ['-5', '-1', null],
    ['-1', '-5', null],
    ['0', '0', null],
  ])('%s -> %s: %s', (previous, current, event) => {
    expect(balanceEventOf(previous, current)).toBe(event);
  });

  it.each([
    ['0.0000', '-0', null],
    ['-0.0000', '0.0000', null],
    ['0.0000', '0.0001', up],
    ['0.0001', '0.0000', down],
    // As numbers both would be 0.
    [`0.${'0'.repeat(29)}1`, '0', down],
    // As numbers both would be the same.
    ['-9007199254740993.0001', '9007199254740993.0002', up],
    ['12.5000', '12.50', null],
  ])('counts every digit, and none that says nothing: %s -> %s: %s', (previous, current, event) => {
    expect(balanceEventOf(previous, current)).toBe(event);
  });

  it.each(['', '5,00', '1e3', '+5', '.5', '5.', 'NaN', ' 5', '0x10'])('takes no %j', (text) => {
    expect(() => balanceEventOf(text, '0')).toThrow(RangeError);
    expect(() => balanceEventOf('0', text)).toThrow('must be a decimal string such as "12.5000"');
  });
});
