import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

export type Address = ipaddr.IPv4 | ipaddr.IPv6;
/** The network and the length of its prefix. */
export type Cidr = [Address, number];

/** @param text what `isIP` takes */
export function parseAddress(text: string): Address {
  // ipaddr.js 2.5 reads ::8.8.8.8 as the mapped ::ffff:8.8.8.8, where the system reads ::808:808. The URL parser
  // writes every IPv6 address in hex, and leaves no room for that. The zone (fe80::1%eth0) says nothing here.
  return isIP(text) === 6
    ? ipaddr.IPv6.parse(new URL(`http://[${text.split('%', 1)[0]}]/`).hostname.slice(1, -1))
    : ipaddr.IPv4.parse(text);
}

/**
 * The one reading of a range such as `10.1.0.0/16`: what a setting accepts, the guard can use.
 *
 * @throws Error that names the text and says what it is not
 */
export function parseCidr(text: string): Cidr {
  const [address = '', bits = ''] = text.split(/\/(?=\d+$)/u);
  // ipaddr.js alone would take 010.0.0.0/8 (octal, 8.0.0.0), 10.1/16 and zones.
  if (isIP(address) === 0 || address.includes('%') || !ipaddr.isValidCIDR(text)) {
    throw new Error(`"${text}" is not an address range`);
  }
  const network = parseAddress(address);
  if (network instanceof ipaddr.IPv6 && network.isIPv4MappedAddress()) {
    throw new Error(`"${text}" is an IPv4 range inside IPv6 (write it as IPv4)`);
  }
  return [network, Number(bits)];
}
