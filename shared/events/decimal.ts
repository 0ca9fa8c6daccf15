// Money as the billing system writes it: "-12.5000". Never as a number: 0.1 + 0.2 is 0.30000000000000004.

/** Digits, with a sign and a fraction at most. */
export const decimalPattern = /^-?\d{1,30}(\.\d{1,30})?$/u;

export const isDecimal = (text: string): boolean => decimalPattern.test(text);

/** The exact sum, with as many places as the longer of the two has. */
export function addDecimals(a: string, b: string): string {
  const places = Math.max(placesOf(a), placesOf(b));
  return format(unitsOf(a, places) + unitsOf(b, places), places);
}

/** Below, at or above zero: -1, 0 or 1. */
export function signOf(decimal: string): -1 | 0 | 1 {
  const units = unitsOf(decimal, placesOf(decimal));
  if (units === 0n) return 0;
  return units < 0n ? -1 : 1;
}

const placesOf = (decimal: string): number => decimal.split('.')[1]?.length ?? 0;

// "-0.5" with four places is -5000n.
function unitsOf(decimal: string, places: number): bigint {
  const [whole = '', fraction = ''] = decimal.split('.');
  return BigInt(whole + fraction.padEnd(places, '0'));
}

function format(units: bigint, places: number): string {
  const digits = String(units < 0n ? -units : units).padStart(places + 1, '0');
  const whole = digits.slice(0, digits.length - places);
  const fraction = places === 0 ? '' : `.${digits.slice(-places)}`;
  return `${units < 0n ? '-' : ''}${whole}${fraction}`;
}
