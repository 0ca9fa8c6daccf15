import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import pLimit from 'p-limit';
import { parseAddress, parseCidr, type Address, type Cidr } from './cidr.ts';

type RangeName = ReturnType<ipaddr.IPv4['range']> | ReturnType<ipaddr.IPv6['range']>;

/** A target's host is, or resolves to, an address that Handoff must not call. */
export class AddressRefusedError extends Error {
  override name = 'AddressRefusedError' as const;
  /** As the URL has it. */
  readonly host: string;
  readonly address: string;

  /** @param problem what `addressProblem` or `hostProblem` said */
  constructor(host: string, address: string, problem: string) {
    super(host === address ? problem : `${problem} (of ${host})`);
    this.host = host;
    this.address = address;
  }
}

/**
 * Decides which addresses a target may have. Whoever may register a handler chooses the URL that Handoff calls
 * from inside the deployer's network, so without this they could reach what is meant to be reached from inside
 * only: databases, admin pages, a cloud's metadata service with its credentials.
 */
export type AddressGuard = {
  /** Why this address (IPv4, or IPv6 without brackets) must not be called, e.g. `127.0.0.1 is a loopback address`; null when it may. */
  addressProblem: (address: string) => string | null;
  /**
   * The same for the host of a URL, before any DNS: literal addresses, `localhost`, and names with an empty label.
   * Null for every other name; what that resolves to is judged by `lookup`.
   *
   * @param hostname `new URL(text).hostname`, never text that a person typed: the URL parser turns `2130706433`,
   * `0x7f.1` and full-width digits into `127.0.0.1`, this function does not
   */
  hostProblem: (hostname: string) => string | null;
  /**
   * For `net.connect` and `tls.connect`. Fails with an `AddressRefusedError` when any one of the name's
   * addresses is refused: a name that mixes public and private addresses is an attack or a mistake, and the
   * connection could fall back from one to the other. (What DNS64 adds to an IPv4 address is left out, not refused.)
   */
  lookup: LookupFunction;
};

export type AddressGuardSettings = {
  /** Ranges that targets may be in although they are private, e.g. `10.1.0.0/16`. */
  allowCidrs: readonly string[];
  /**
   * Whether `allowCidrs` may open loopback too. False in Lambda, whatever the ranges say: there the runtime's own
   * API listens on loopback (the variable AWS_LAMBDA_RUNTIME_API).
   */
  allowLoopback: boolean;
};

type ResolveAll = (
  hostname: string,
  options: { all: true; family?: number | 'IPv4' | 'IPv6'; hints?: number },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

// The system's resolver waits on a thread of libuv's pool, which the embedded tables write with too, and a name whose
// server is silent holds its thread for many seconds. Half of the 32 threads that the engine and the stack ask for.
const maxLookupsAtOnce = 16;

/**
 * @param resolveAll the system's resolver; another one in tests only
 * @throws Error that names the entry when one is not a range
 */
export function createAddressGuard(
  settings: AddressGuardSettings,
  resolveAll: ResolveAll = dnsLookup,
): AddressGuard {
  const allowed = settings.allowCidrs.map(parseCidr);
  const isAllowed = (address: Address) =>
    allowed.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits));

  const addressProblem: AddressGuard['addressProblem'] = (text) => {
    // Stricter than ipaddr.js, which reads 010.0.0.1 as octal: what is not plainly an address is refused.
    if (isIP(text) === 0) return `${text} is not an IP address`;
    const written = parseAddress(text);
    // ::ffff:10.0.0.1 opens an IPv4 connection to 10.0.0.1: the same address, written differently.
    const address =
      written instanceof ipaddr.IPv6 && written.isIPv4MappedAddress() ? written.toIPv4Address() : written;
    const verdict = judge(address);
    if (verdict === null) return null;
    const opened =
      (verdict.opens === 'by range' || (verdict.opens === 'as loopback' && settings.allowLoopback)) &&
      isAllowed(address);
    return opened ? null : `${text} is ${verdict.what}`;
  };

  const hostProblem: AddressGuard['hostProblem'] = (hostname) => {
    const host = hostname
      .replace(/^\[(?<ipv6>.*)\]$/u, '$<ipv6>')
      .replace(/\.$/u, '')
      .toLowerCase();
    // No resolver can know such a name, but the URL parser lets it through, `127.0.0.1..` too.
    if (host.split('.').includes('')) return `${hostname} is not the name of a host`;
    if (isIP(host) !== 0) return addressProblem(host);
    // RFC 6761, 6.3: these names mean loopback, whatever a resolver says.
    if (host !== 'localhost' && !host.endsWith('.localhost')) return null;
    const someLoopback = ['127.0.0.1', '::1'].some((address) => addressProblem(address) === null);
    return someLoopback ? null : `${host} is a loopback name`;
  };

  const inTurn = pLimit(maxLookupsAtOnce);
  const waiting = new Map<string, Parameters<ResolveAll>[2][]>();
  // One look-up for all who wait for a name: a hundred deliveries to a silent one must not take every turn.
  const resolveInTurn: ResolveAll = (hostname, options, callback) => {
    const question = JSON.stringify([hostname, options]);
    const alsoWaiting = waiting.get(question);
    if (alsoWaiting !== undefined) {
      alsoWaiting.push(callback);
      return;
    }
    const callbacks = [callback];
    waiting.set(question, callbacks);
    const resolve = (release: () => void) =>
      resolveAll(hostname, options, (error, addresses) => {
        waiting.delete(question);
        release();
        for (const answer of callbacks) answer(error, addresses);
      });
    void inTurn(() => new Promise<void>(resolve));
  };

  const lookup: LookupFunction = (hostname, options, callback) => {
    const fail = (error: Error) => callback(error, options.all === true ? [] : '', 0);
    const { family, hints } = options;
    resolveInTurn(
      hostname,
      { all: true, ...(family !== undefined && { family }), ...(hints !== undefined && { hints }) },
      (error, answer) => {
        if (error !== null) return fail(error);
        const addresses = withoutDoubles(answer);
        for (const { address } of addresses) {
          const problem = addressProblem(address);
          if (problem !== null) return fail(new AddressRefusedError(hostname, address, problem));
        }
        const [first] = addresses;
        if (first === undefined) {
          return fail(Object.assign(new Error(`no address for ${hostname}`), { code: 'ENOTFOUND' }));
        }
        // net.connect asks for all of them when it may choose the family itself, which is its default.
        return options.all === true ? callback(null, addresses) : callback(null, first.address, first.family);
      },
    );
  };

  return { addressProblem, hostProblem, lookup };
}

const nat64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96');

/**
 * Leaves out what a resolver has made up (DNS64, RFC 6147) where it gives the IPv4 address too: nothing is connected to that is left out,
 * and a target without IPv6 can be called from a network that has both.
 */
function withoutDoubles(answer: readonly LookupAddress[]): LookupAddress[] {
  const isDouble = ({ address: text }: LookupAddress): boolean => {
    if (isIP(text) !== 6) return false;
    const address = parseAddress(text);
    const inside = address.toByteArray().slice(-4).join('.');
    return address.match(nat64) && answer.some((other) => other.address === inside);
  };
  return answer.filter((address) => !isDouble(address));
}

/** What is wrong with an address, and what can open it: a range in ALLOW_CIDRS, a range and `allowLoopback`, or nothing. */
type Verdict = { what: string; opens: 'by range' | 'as loopback' | 'never' };

// Services that a cloud offers its own machines, at addresses that look like a customer's or public ones. They
// stay closed even inside an allowed range, because nobody who allows 100.64.0.0/10 means the credentials.
// 169.254.0.0/16, where most of them live, is closed as link-local.
const platformServices: readonly Cidr[] = [
  'fd00:ec2::/32', // AWS: instance metadata (::254), EKS pod credentials (::23), DNS, time
  'fd20:ce::254/128', // Google Cloud: metadata
  '100.100.100.200/32', // Alibaba Cloud: metadata
  '168.63.129.16/32', // Azure: WireServer, which hands out a machine's goal state
  '192.0.0.192/32', // Oracle Cloud: metadata
  'fd00:c1::a9fe:a9fe/128', // Oracle Cloud: metadata
  'fd00:42::42/128', // Scaleway: metadata
  'fd00:a9fe:a9fe::1/128', // Akamai (Linode): metadata
].map((text) => ipaddr.parseCIDR(text));

const globalUnicastIpv6 = ipaddr.IPv6.parseCIDR('2000::/3');
// RFC 4291, 2.5.5.1, deprecated; ipaddr.js has no name for it.
const ipv4CompatibleIpv6 = ipaddr.IPv6.parseCIDR('::/96');

/**
 * ISATAP (RFC 5214, 6.1): 0000:5efe or 0200:5efe and an IPv4 address stand in the last 64 bits under any prefix, and a router of
 * that kind sends to the IPv4 address. One in two thousand million public addresses looks so by chance.
 */
const isIsatap = ({ parts }: ipaddr.IPv6): boolean => ((parts[4] ?? 0) & 0xfcff) === 0 && parts[5] === 0x5efe;

function judge(address: Address): Verdict | null {
  const isPlatformService = platformServices.some(
    ([network, bits]) => network.kind() === address.kind() && address.match(network, bits),
  );
  if (isPlatformService) return { what: 'an address of the cloud platform', opens: 'never' };
  // Before the range: it can have any prefix, one that is allowed too.
  if (address instanceof ipaddr.IPv6 && isIsatap(address)) return judgeRange('ipv4Mapped');
  const range = address.range();
  if (range !== 'unicast') return judgeRange(range);
  if (address instanceof ipaddr.IPv4) return null;
  if (address.match(ipv4CompatibleIpv6)) return judgeRange('ipv4Mapped');
  // IANA has given out nothing but 2000::/3 to hosts (RFC 4291, 2.4; iana.org/assignments/ipv6-address-space).
  return address.match(globalUnicastIpv6) ? null : { what: 'outside the public IPv6 space', opens: 'never' };
}

/**
 * ipaddr.js 2.5 knows every entry of IANA's two special-purpose registries. Those that IANA calls globally
 * reachable (AS112 and AMT: 192.31.196.0/24, 192.52.193.0/24, 192.175.48.0/24 and their IPv6 twins) are refused
 * too: they are anycast services of the network itself, and no target of anybody's can be there.
 */
function judgeRange(range: Exclude<RangeName, 'unicast'>): Verdict {
  switch (range) {
    case 'loopback':
      return { what: 'a loopback address', opens: 'as loopback' };
    case 'private':
    case 'uniqueLocal':
      return { what: 'a private address', opens: 'by range' };
    case 'carrierGradeNat':
      return { what: 'a carrier-grade NAT address', opens: 'by range' };
    // Test and documentation networks, 240.0.0.0/4: some companies number their inside with them.
    case 'reserved':
    case 'benchmarking':
      return { what: 'a reserved address', opens: 'by range' };
    // Linux connects 0.0.0.0 and :: to its own loopback, so a range must not open them.
    case 'unspecified':
      return { what: 'an unspecified address', opens: 'never' };
    // Clouds keep their metadata and credentials here, and 0.0.0.0/0 in ALLOW_CIDRS must not open those.
    case 'linkLocal':
      return { what: 'a link-local address', opens: 'never' };
    case 'multicast':
      return { what: 'a multicast address', opens: 'never' };
    case 'broadcast':
      return { what: 'a broadcast address', opens: 'never' };
    // A gateway on the way may send these on to the IPv4 address inside, which can be any. (The mapped form
    // has become IPv4 before it comes here; the compatible one and ISATAP are sent here under its name.)
    // 64:ff9b::/96 (NAT64) counts as globally reachable; it is refused with a public address inside too, so that no
    // gateway has to be trusted to mean the same address. A target that has one can be named by it.
    case 'ipv4Mapped':
    case 'rfc6145':
    case 'rfc6052':
    case '6to4':
    case 'teredo':
      return { what: 'an IPv6 address with an IPv4 address inside', opens: 'never' };
    case 'amt':
    case 'as112':
    case 'as112v6':
    case 'orchid2':
    case 'droneRemoteIdProtocolEntityTags':
      return { what: 'a special-purpose address', opens: 'never' };
    default:
      range satisfies never;
      // ipaddr.js knows some more ranges than its types name (discard, site-local, segment routing).
      return { what: 'a special-purpose address', opens: 'never' };
  }
}
