// Pure core: imports nothing.

/**
 * A number of any size and precision: 0.digits * 10 ** exponent, without zeros at either end of the digits. Zero has no digits, and no
 * sign.
 */
export type Decimal = { negative: boolean; digits: string; exponent: number };

/** @param text a number as JSON has it */
export function readDecimal(text: string): Decimal {
  const [mantissa = '', power = '0'] = text.toLowerCase().split('e');
  const negative = mantissa.startsWith('-');
  const [whole = '', fraction = ''] = (negative ? mantissa.slice(1) : mantissa).split('.');
  const all = whole + fraction;
  let start = 0;
  while (all[start] === '0') start++;
  let end = all.length;
  while (end > start && all[end - 1] === '0') end--;
  if (start === end) return { negative: false, digits: '', exponent: 0 };
  return { negative, digits: all.slice(start, end), exponent: whole.length - start + Number(power) };
}

/** Below zero when `a` is less than `b`, above zero when it is greater, 0 when both are the same number. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  if (a.negative !== b.negative) return a.negative ? -1 : 1;
  return a.negative ? compareSizes(b, a) : compareSizes(a, b);
}

function compareSizes(a: Decimal, b: Decimal): number {
  if (a.digits === '' || b.digits === '') return a.digits.length - b.digits.length;
  if (a.exponent !== b.exponent) return a.exponent - b.exponent;
  // Without zeros at their end the shorter of two that begin alike is the smaller one.
  return a.digits < b.digits ? -1 : Number(a.digits > b.digits);
}

/** The same text for the same number, however it was written. */
export const decimalKey = ({ negative, digits, exponent }: Decimal): string =>
  `${negative ? '-' : ''}${digits}e${exponent}`;
