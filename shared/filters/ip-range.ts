// Pure core: imports nothing.

/** The addresses of a block, IPv4 (32 bits) or IPv6 (128), both ends included. */
export type IpRange = { bits: number; low: bigint; high: bigint };

/**
 * Reads `10.0.0.0/24` or `2001:db8::/32`. Bits of the host may be set. A block of one address is none, as AWS has it.
 *
 * @returns what is wrong, as a text
 */
export function readCidr(text: string): IpRange | string {
  const [address = '', mask = '', ...rest] = text.split('/');
  if (rest.length > 0 || !/^\d{1,3}$/u.test(mask)) return 'must be a block such as "10.0.0.0/24"';
  const ip = readIp(address);
  if (ip === null) return `must begin with an IP address; "${address.slice(0, 50)}" is none`;
  const { bits, value } = ip;
  const fixed = Number(mask);
  if (fixed >= bits) return `must have a mask of 0 to ${bits - 1}; one address alone is an exact value`;
  const hosts = (1n << BigInt(bits - fixed)) - 1n;
  const low = (value | hosts) - hosts;
  return { bits, low, high: low + hosts };
}

export function isInRange({ bits, low, high }: IpRange, text: string): boolean {
  const ip = readIp(text);
  return ip !== null && ip.bits === bits && ip.value >= low && ip.value <= high;
}

const longestIp = 45;
const longestIpv4 = 15;

function readIp(text: string): { bits: number; value: bigint } | null {
  if (text.length > longestIp) return null;
  const value = readIpv4(text);
  if (value !== null) return { bits: 32, value };
  const long = readIpv6(text);
  if (long === null) return null;
  // ::ffff:0:0/96 are IPv4 addresses (RFC 4291, 2.5.5.2); to AWS too.
  return long >> 32n === 0xffffn ? { bits: 32, value: long & 0xffffffffn } : { bits: 128, value: long };
}

function readIpv4(text: string): bigint | null {
  // Leading zeros are decimal, as AWS has them.
  if (text.length > longestIpv4 || !/^(?:\d+\.){3}\d+$/u.test(text)) return null;
  const parts = text.split('.').map(Number);
  if (parts.some((part) => part > 255)) return null;
  return parts.reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function readIpv6(text: string): bigint | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const [before = [], after = []] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const missing = 8 - before.length - after.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const groups = [...before, ...Array.from({ length: missing }, () => '0'), ...after];
  if (!groups.every((group) => /^[\da-f]{1,4}$/iu.test(group))) return null;
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}
