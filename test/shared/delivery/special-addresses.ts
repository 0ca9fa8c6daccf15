/** A block of addresses, what it is, and where that is written. */
type Block = readonly [cidr: string, name: string, source: string];

/**
 * What must not be called in IPv4. From https://www.iana.org/assignments/iana-ipv4-special-registry, and not from the
 * code; beyond it multicast, and addresses of clouds. Those that the registry calls globally reachable are marked: they are refused all
 * the same, because they are anycast services of the network itself.
 */
export const refusedIpv4: readonly Block[] = [
  ['0.0.0.0/8', 'this network', 'RFC 791, 3.2'],
  ['0.0.0.0/32', 'this host on this network', 'RFC 1122, 3.2.1.3'],
  ['10.0.0.0/8', 'private use', 'RFC 1918'],
  ['100.64.0.0/10', 'shared address space', 'RFC 6598'],
  [
    '100.100.100.200/32',
    'Alibaba Cloud metadata',
    'alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata',
  ],
  ['127.0.0.0/8', 'loopback', 'RFC 1122, 3.2.1.3'],
  [
    '168.63.129.16/32',
    'Azure WireServer',
    'learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16',
  ],
  ['169.254.0.0/16', 'link local', 'RFC 3927'],
  [
    '169.254.169.254/32',
    'metadata of most clouds',
    'docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html',
  ],
  [
    '169.254.170.2/32',
    'ECS credentials',
    'docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html',
  ],
  [
    '169.254.170.23/32',
    'EKS Pod Identity',
    'docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html',
  ],
  ['169.254.42.42/32', 'Scaleway metadata', 'cloudinit.readthedocs.io, datasource Scaleway'],
  ['169.254.0.23/32', 'Tencent Cloud metadata', 'cloud.tencent.com/document/product/213/4934'],
  ['172.16.0.0/12', 'private use', 'RFC 1918'],
  ['192.0.0.0/24', 'IETF protocol assignments', 'RFC 6890, 2.1'],
  ['192.0.0.0/29', 'IPv4 service continuity prefix', 'RFC 7335'],
  ['192.0.0.8/32', 'IPv4 dummy address', 'RFC 7600'],
  ['192.0.0.9/32', 'PCP anycast, globally reachable', 'RFC 7723'],
  ['192.0.0.10/32', 'TURN anycast, globally reachable', 'RFC 8155'],
  ['192.0.0.170/31', 'NAT64/DNS64 discovery', 'RFC 7050, 2.2'],
  ['192.0.0.192/32', 'Oracle Cloud metadata', 'docs.oracle.com, Compute Classic, instance metadata'],
  ['192.0.2.0/24', 'documentation (TEST-NET-1)', 'RFC 5737'],
  ['192.31.196.0/24', 'AS112-v4, globally reachable', 'RFC 7535'],
  ['192.52.193.0/24', 'AMT, globally reachable', 'RFC 7450'],
  ['192.88.99.0/24', 'deprecated (6to4 relay anycast)', 'RFC 7526'],
  ['192.88.99.2/32', '6a44 relay anycast', 'RFC 6751'],
  ['192.168.0.0/16', 'private use', 'RFC 1918'],
  ['192.175.48.0/24', 'direct delegation AS112, globally reachable', 'RFC 7534'],
  ['198.18.0.0/15', 'benchmarking', 'RFC 2544'],
  ['198.51.100.0/24', 'documentation (TEST-NET-2)', 'RFC 5737'],
  ['203.0.113.0/24', 'documentation (TEST-NET-3)', 'RFC 5737'],
  ['224.0.0.0/4', 'multicast', 'RFC 5771'],
  ['240.0.0.0/4', 'reserved', 'RFC 1112, 4'],
  ['255.255.255.255/32', 'limited broadcast', 'RFC 8190'],
];

/**
 * What must not be called in IPv6. From https://www.iana.org/assignments/iana-ipv6-special-registry and
 * https://www.iana.org/assignments/ipv6-address-space, where all that is not 2000::/3 is special or given to nobody.
 */
export const refusedIpv6: readonly Block[] = [
  ['::/128', 'unspecified', 'RFC 4291'],
  ['::1/128', 'loopback', 'RFC 4291'],
  ['::/96', 'IPv4-compatible', 'RFC 4291, 2.5.5.1'],
  ['::/8', 'reserved by IETF', 'RFC 3513, 4'],
  ['::ffff:0:0:0/96', 'IPv4-translated', 'RFC 6145, 1.3'],
  ['64:ff9b::/96', 'IPv4-IPv6 translation (NAT64), globally reachable', 'RFC 6052'],
  ['64:ff9b:1::/48', 'local-use translation (NAT64)', 'RFC 8215'],
  ['100::/8', 'reserved by IETF', 'RFC 4291'],
  ['100::/64', 'discard only', 'RFC 6666'],
  ['100:0:0:1::/64', 'dummy prefix', 'RFC 9780'],
  ['200::/7', 'reserved by IETF (NSAP)', 'RFC 4048'],
  ['400::/6', 'reserved by IETF', 'RFC 4291'],
  ['800::/5', 'reserved by IETF', 'RFC 4291'],
  ['1000::/4', 'reserved by IETF', 'RFC 4291'],
  ['2001::/23', 'IETF protocol assignments', 'RFC 2928'],
  ['2001::/32', 'Teredo', 'RFC 4380'],
  ['2001:1::1/128', 'PCP anycast, globally reachable', 'RFC 7723'],
  ['2001:1::2/128', 'TURN anycast, globally reachable', 'RFC 8155'],
  ['2001:1::3/128', 'DNS-SD SRP anycast, globally reachable', 'RFC 9665'],
  ['2001:2::/48', 'benchmarking', 'RFC 5180'],
  ['2001:3::/32', 'AMT, globally reachable', 'RFC 7450'],
  ['2001:4:112::/48', 'AS112-v6, globally reachable', 'RFC 7535'],
  ['2001:5::/32', 'EID space for LISP, ended in 2019', 'RFC 7954'],
  ['2001:10::/28', 'deprecated (ORCHID)', 'RFC 4843'],
  ['2001:20::/28', 'ORCHIDv2, globally reachable', 'RFC 7343'],
  ['2001:30::/28', 'drone remote ID tags, globally reachable', 'RFC 9374'],
  ['2001:db8::/32', 'documentation', 'RFC 3849'],
  ['2002::/16', '6to4', 'RFC 3056'],
  ['2620:4f:8000::/48', 'direct delegation AS112, globally reachable', 'RFC 7534'],
  ['3fff::/20', 'documentation', 'RFC 9637'],
  ['4000::/3', 'reserved by IETF', 'RFC 4291'],
  ['5f00::/16', 'segment routing SIDs', 'RFC 9602'],
  ['6000::/3', 'reserved by IETF', 'RFC 4291'],
  ['8000::/3', 'reserved by IETF', 'RFC 4291'],
  ['a000::/3', 'reserved by IETF', 'RFC 4291'],
  ['c000::/3', 'reserved by IETF', 'RFC 4291'],
  ['e000::/4', 'reserved by IETF', 'RFC 4291'],
  ['f000::/5', 'reserved by IETF', 'RFC 4291'],
  ['f800::/6', 'reserved by IETF', 'RFC 4291'],
  ['fc00::/7', 'unique local', 'RFC 4193'],
  ['fd00:42::42/128', 'Scaleway metadata', 'cloudinit.readthedocs.io, datasource Scaleway'],
  ['fd00:a9fe:a9fe::1/128', 'Akamai (Linode) metadata', 'cloudinit.readthedocs.io, datasource Akamai'],
  ['fd00:c1::a9fe:a9fe/128', 'Oracle Cloud metadata', 'cloudinit.readthedocs.io, datasource Oracle'],
  [
    'fd00:ec2::254/128',
    'AWS metadata',
    'docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html',
  ],
  [
    'fd00:ec2::23/128',
    'EKS Pod Identity',
    'docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html',
  ],
  [
    'fd20:ce::254/128',
    'Google Cloud metadata',
    'docs.cloud.google.com/compute/docs/metadata/querying-metadata',
  ],
  ['fe00::/9', 'reserved by IETF', 'RFC 4291'],
  ['fe80::/10', 'link local', 'RFC 4291'],
  ['fe80::a9fe:a9fe/128', 'OpenStack metadata', 'docs.openstack.org/nova/latest/user/metadata.html'],
  ['fec0::/10', 'site local, deprecated', 'RFC 3879'],
  ['ff00::/8', 'multicast', 'RFC 4291'],
];

/** Of these, none may be opened by a range in `allowCidrs`, however wide. */
export const neverOpened: readonly string[] = [
  '0.0.0.0/8',
  '100.100.100.200/32',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '192.0.0.192/32',
  '224.0.0.0/4',
  '255.255.255.255/32',
  '::/128',
  '2002::/16',
  '2001::/32',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  'fd00:42::42/128',
  'fd00:a9fe:a9fe::1/128',
  'fd00:c1::a9fe:a9fe/128',
  'fd00:ec2::254/128',
  'fd00:ec2::23/128',
  'fd20:ce::254/128',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
];

/** An address as a number, and the width of its family. Reads what `textOf` writes, and what stands above. */
export type Bits = { value: bigint; width: 32 | 128 };

export function bitsOf(text: string): Bits {
  if (!text.includes(':')) {
    return { value: text.split('.').reduce((sum, octet) => sum * 256n + BigInt(octet), 0n), width: 32 };
  }
  const [left = '', right = ''] = text.split('::');
  const [before, after] = [left, right].map((half) => (half === '' ? [] : half.split(':'))) as [
    string[],
    string[],
  ];
  const gap = text.includes('::') ? 8 - before.length - after.length : 0;
  const groups = [...before, ...Array.from({ length: gap }, () => '0'), ...after];
  return { value: groups.reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n), width: 128 };
}

/** In the longest form, without `::` for IPv6. */
export function textOf({ value, width }: Bits): string {
  const parts = (count: number, bits: bigint) =>
    Array.from(
      { length: count },
      (_, index) => (value >> (bits * BigInt(count - 1 - index))) & ((1n << bits) - 1n),
    );
  return width === 32
    ? parts(4, 8n).join('.')
    : parts(8, 16n)
        .map((group) => group.toString(16).padStart(4, '0'))
        .join(':');
}

export type Range = { first: bigint; last: bigint; width: 32 | 128 };

export function rangeOf(cidr: string): Range {
  const [address = '', length = ''] = cidr.split('/');
  const { value, width } = bitsOf(address);
  const size = 1n << BigInt(width - Number(length));
  return { first: value - (value % size), last: value - (value % size) + size - 1n, width };
}

const ranges = [...refusedIpv4, ...refusedIpv6].map(([cidr]) => rangeOf(cidr));
const mapped = rangeOf('::ffff:0:0/96');
const isatap = 0x0000_5efen;

/** What the tables say: the independent statement that the guard is held against. */
export function isRefused({ value, width }: Bits): boolean {
  // ::ffff:a.b.c.d is how a socket writes the IPv4 address itself (RFC 4291, 2.5.5.2).
  if (width === 128 && value >= mapped.first && value <= mapped.last) {
    return isRefused({ value: value - mapped.first, width: 32 });
  }
  // ISATAP (RFC 5214, 6.1): 0000:5efe or 0200:5efe, then IPv4, under any prefix.
  if (width === 128 && ((value >> 32n) & 0xfcff_ffffn) === isatap) return true;
  return ranges.some((range) => range.width === width && value >= range.first && value <= range.last);
}

/** Every IPv6 address that has this IPv4 address inside, by the way in which it has. */
export function embeddingsOf(ipv4: bigint): Record<string, string> {
  const at = (prefix: string, shift: bigint, value = ipv4) =>
    textOf({ value: bitsOf(prefix).value | (value << shift), width: 128 });
  // RFC 6052, 2.2: the octet at bits 64 to 71 stays zero.
  const around = (prefix: string, length: bigint) => {
    const whole = ipv4 << (128n - length - 32n);
    const before = whole >> 64n;
    const after = (whole & ((1n << 64n) - 1n)) >> 8n;
    return textOf({ value: bitsOf(prefix).value | (before << 64n) | after, width: 128 });
  };
  return {
    mapped: at('::ffff:0:0', 0n),
    compatible: at('::', 0n),
    translated: at('::ffff:0:0:0', 0n),
    '6to4': at('2002::', 80n),
    '6to4 with a host': at('2002::1', 80n),
    'Teredo client': at('2001:0:4136:e378:8000:63bf::', 0n, ipv4 ^ 0xffff_ffffn),
    'Teredo server': at('2001:0::', 64n),
    'NAT64 well-known': at('64:ff9b::', 0n),
    'NAT64 local /48': around('64:ff9b:1::', 48n),
    'NAT64 local /56': around('64:ff9b:1:100::', 56n),
    'NAT64 local /64': around('64:ff9b:1:101::', 64n),
    'NAT64 local /96': at('64:ff9b:1::', 0n),
    ISATAP: at('2a00:1450:4001:81b::5efe:0:0', 0n),
    'ISATAP, globally unique': at('2a00:1450:4001:81b:200:5efe:0:0', 0n),
  };
}
