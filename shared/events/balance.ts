import { isDecimal, signOf } from './decimal.ts';

export type BalanceEventType = 'client.balance.nonnegative' | 'client.balance.nonpositive';

/**
 * The event that a change of a client's balance is: one is told when the sign changes. Rising to zero or above is `nonnegative`, falling to
 * zero or below `nonpositive`; both end or begin at zero, so a client who was blocked at exactly 0 and pays is told of as well.
 *
 * @param previous the balance before, a decimal string such as `"-3.2500"`; compared exactly, whatever its digits
 * @param current the balance now
 * @returns null when the sign is the same. Throws a RangeError for what is no decimal string
 */
export function balanceEventOf(previous: string, current: string): BalanceEventType | null {
  const [before, after] = [signOf(decimal(previous)), signOf(decimal(current))];
  if (before === after) return null;
  return after > before ? 'client.balance.nonnegative' : 'client.balance.nonpositive';
}

function decimal(text: string): string {
  if (isDecimal(text)) return text;
  throw new RangeError(
    `A balance must be a decimal string such as "12.5000", and not ${JSON.stringify(text)}.`,
  );
}
