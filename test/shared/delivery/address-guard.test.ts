import type { LookupAddress } from 'node:dns';
import { setImmediate } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  AddressRefusedError,
  createAddressGuard,
  type AddressGuard,
} from '../../../shared/delivery/address-guard.ts';

const strict = createAddressGuard({ allowCidrs: [], allowLoopback: false });
const allowing = (...allowCidrs: string[]) => createAddressGuard({ allowCidrs, allowLoopback: false });

/** How a delivery judges text from a person: always through the URL parser. */
const urlProblem = (guard: AddressGuard, text: string) =>
  guard.hostProblem(new URL(`http://${text}/`).hostname);

/** What is said about an address, without the address. */
const verdict = (address: string) => strict.addressProblem(address)?.replace(/^\S+ /u, '') ?? null;

const v4 = (address: string): LookupAddress => ({ address, family: 4 });
const v6 = (address: string): LookupAddress => ({ address, family: 6 });

function lookupOf(addresses: LookupAddress[], options: { all?: boolean } = {}): Promise<unknown> {
  const guard = createAddressGuard({ allowCidrs: [], allowLoopback: false }, (_host, _options, callback) =>
    callback(null, addresses),
  );
  return new Promise((resolve, reject) => {
    guard.lookup('crm.example', options, (error, ...result) =>
      error === null ? resolve(result) : reject(error),
    );
  });
}

const words = (text: string) => text.trim().split(/\s+/u);

// First and last address of every entry of
// https://www.iana.org/assignments/iana-ipv4-special-registry (2026), and multicast.
const specialIpv4 = {
  'an unspecified address': ['0.0.0.0', '0.0.0.1', '0.255.255.255'],
  'a private address': [
    '10.0.0.0',
    '10.255.255.255',
    '172.16.0.0',
    '172.31.255.255',
    '192.168.0.0',
    '192.168.255.255',
  ],
  'a carrier-grade NAT address': ['100.64.0.0', '100.127.255.255'],
  'a loopback address': ['127.0.0.0', '127.0.0.1', '127.1.2.3', '127.255.255.255'],
  'a link-local address': ['169.254.0.0', '169.254.169.254', '169.254.170.2', '169.254.255.255'],
  'a reserved address': [
    '192.0.0.0',
    '192.0.0.8',
    '192.0.0.9',
    '192.0.0.10',
    '192.0.0.170',
    '192.0.0.255',
    '192.0.2.0',
    '192.0.2.255',
    '192.88.99.0',
    '192.88.99.255',
    '198.18.0.0',
    '198.19.255.255',
    '198.51.100.0',
    '198.51.100.255',
    '203.0.113.0',
    '203.0.113.255',
    '240.0.0.0',
    '255.255.255.254',
  ],
  'a special-purpose address': [
    '192.31.196.0',
    '192.31.196.255',
    '192.52.193.0',
    '192.52.193.255',
    '192.175.48.0',
    '192.175.48.255',
  ],
  'a multicast address': ['224.0.0.0', '224.0.0.251', '239.255.255.255'],
  'a broadcast address': ['255.255.255.255'],
  'an address of the cloud platform': ['168.63.129.16', '100.100.100.200', '192.0.0.192'],
};

// The addresses just outside those ranges, and some well-known public ones.
const publicIpv4 = words(`
    1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 52.95.110.1 93.184.216.34 100.63.255.255
    100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
    191.255.255.255 192.0.1.0 192.0.3.0 192.31.195.255 192.31.197.0 192.52.192.255 192.52.194.0
    192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 192.175.47.255 192.175.49.0
    198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
    168.63.129.15 168.63.129.17`);

// https://www.iana.org/assignments/iana-ipv6-special-registry (2026), and what lies outside 2000::/3.
const specialIpv6 = {
  'an unspecified address': ['::', '0:0:0:0:0:0:0:0'],
  'a loopback address': ['::1', '0:0:0:0:0:0:0:1', '0000:0000:0000:0000:0000:0000:0000:0001'],
  // compatible, translated, NAT64 (two prefixes), 6to4, Teredo
  'an IPv6 address with an IPv4 address inside': words(`
    ::2 ::7f00:1 ::127.0.0.1 ::8.8.8.8 ::ffff:0:127.0.0.1 ::ffff:0:0808:0808 64:ff9b::
    64:ff9b::127.0.0.1 64:ff9b::8.8.8.8 64:ff9b:1:: 64:ff9b:1::10.0.0.1
    64:ff9b:1:ffff:ffff:ffff:ffff:ffff 2002:: 2002:7f00:1:: 2002:808:808::1 2002:ffff:: 2001::
    2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:ffff::`),
  'a private address': ['fc00::', 'fc00::1', 'fd00::1', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  'a link-local address': ['fe80::', 'fe80::1', 'febf:ffff::1', 'fe80::1%eth0'],
  'a multicast address': ['ff00::', 'ff02::1', 'ff0e::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  'a reserved address': words(`
    2001:1::1 2001:1::2 2001:1::3 2001:1ff:ffff:: 2001:db8:: 2001:db8:ffff::1 2001:2::
    2001:2:0:ffff:: 3fff:: 3fff:fff:ffff::`),
  'a special-purpose address': words(`
    100:: 100::ffff:ffff:ffff:ffff 2001:3:: 2001:4:112:: 2001:10:: 2001:1f:: 2001:20:: 2001:2f::
    2001:30:: 2001:3f:: 2620:4f:8000:: 2620:4f:8000:ffff:: 5f00:: 5f00:ffff::1 fec0:: feff::1`),
  'outside the public IPv6 space': [
    '100:0:0:1::1',
    '1fff:ffff::1',
    '4000::',
    '64:ff9a::1',
    '200::1',
    'fe00::1',
  ],
  'an address of the cloud platform': ['fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254'],
};

const publicIpv6 = words(`
    2000::1 2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2600:1f18::1
    2606:4700:4700::1111 2620:4f:7fff::1 2620:4f:8001::1 2a00:1450::1 2a05:d018::1 3ffe::1
    3fff:1000::1 3ffe:ffff::1`);

const expected = (groups: Record<string, readonly string[]>) =>
  Object.entries(groups).flatMap(([what, addresses]) => addresses.map((address) => [address, what] as const));

describe('addressProblem', () => {
  it.each([...expected(specialIpv4), ...expected(specialIpv6)])('refuses %s: %s', (address, what) => {
    expect(strict.addressProblem(address)).toBe(`${address} is ${what}`);
  });

  it.each([...publicIpv4, ...publicIpv6])('lets %s through', (address) => {
    expect(strict.addressProblem(address)).toBeNull();
  });

  it.each(expected(specialIpv4))('judges %s inside IPv6 as the IPv4 address that it is', (address, what) => {
    expect(strict.addressProblem(`::ffff:${address}`)).toBe(`::ffff:${address} is ${what}`);
    const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
    const hex = `::ffff:${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
    expect(strict.addressProblem(hex)).toBe(`${hex} is ${what}`);
  });

  it('lets public addresses in the mapped form through', () => {
    for (const address of publicIpv4) expect(strict.addressProblem(`::ffff:${address}`)).toBeNull();
  });

  it.each(['', 'crm.example', '010.0.0.1', '127.1', '0x7f.0.0.1', '2130706433', '1.2.3.4/8', '1.2.3.4 '])(
    'refuses "%s", which is not plainly an address',
    (text) => {
      expect(strict.addressProblem(text)).toBe(`${text} is not an IP address`);
    },
  );

  it('refuses every IPv4 address in the embedded forms, public ones too', () => {
    const octet = fc.nat(255);
    fc.assert(
      fc.property(octet, octet, octet, octet, (a, b, c, d) => {
        const dotted = `${a}.${b}.${c}.${d}`;
        const hex = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
        for (const form of [`::${dotted}`, `::ffff:0:${dotted}`, `64:ff9b::${dotted}`, `2002:${hex}::1`]) {
          expect(strict.addressProblem(form)).not.toBeNull();
        }
      }),
    );
  });

  it('gives the same verdict for every way to write an IPv6 address', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const { hostname } = new URL(`http://[${address}]/`);
        expect(verdict(hostname.slice(1, -1))).toBe(verdict(address));
        expect(verdict(address.toUpperCase())).toBe(verdict(address));
      }),
    );
  });

  it('never lets an IPv6 address outside 2000::/3 through, but for mapped ones', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        if (strict.addressProblem(address) !== null) return;
        const canonical = new URL(`http://[${address}]/`).hostname;
        expect(canonical).toMatch(/^\[(?:[23][\da-f]{3}:|::ffff:)/u);
      }),
    );
  });
});

describe('allowCidrs', () => {
  it.each([
    ['10.1.0.0/16', '10.1.255.255', '10.2.0.0'],
    ['10.1.2.3/16', '10.1.0.0', '10.0.255.255'],
    ['192.168.7.7/32', '192.168.7.7', '192.168.7.8'],
    ['100.64.0.0/10', '100.100.1.1', '10.0.0.1'],
    ['198.18.0.0/15', '198.19.0.1', '192.0.2.1'],
    ['fd12:3456::/32', 'fd12:3456::1', 'fd12:3457::1'],
    ['172.16.0.0/12', '172.31.0.1', '192.168.0.1'],
  ])('%s opens %s and not %s', (cidr, inside, outside) => {
    expect(allowing(cidr).addressProblem(inside)).toBeNull();
    expect(allowing(cidr).addressProblem(outside)).not.toBeNull();
  });

  it('opens an IPv4 address in its mapped form too', () => {
    expect(allowing('10.0.0.0/8').addressProblem('::ffff:10.0.0.1')).toBeNull();
    expect(allowing('10.0.0.0/8').addressProblem('64:ff9b::10.0.0.1')).not.toBeNull();
  });

  it.each(
    words(`
    0.0.0.0 0.1.2.3 169.254.169.254 224.0.0.1 255.255.255.255 100.100.100.200 168.63.129.16
    192.0.0.192 192.31.196.1 :: fe80::1 ff02::1 fd00:ec2::254 fd20:ce::254 64:ff9b::10.0.0.1
    2002:a00:1:: ::10.0.0.1 2001::1 4000::1 5f00::1`),
  )('cannot open %s even with everything allowed', (address) => {
    const guard = createAddressGuard({ allowCidrs: ['0.0.0.0/0', '::/0'], allowLoopback: true });
    expect(guard.addressProblem(address)).not.toBeNull();
  });

  it.each(['127.0.0.1', '127.255.255.255', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1'])(
    'opens the loopback address %s only together with allowLoopback',
    (address) => {
      const cidrs = { allowCidrs: ['0.0.0.0/0', '127.0.0.0/8', '::/0', '::1/128'] };
      const problem = `${address} is a loopback address`;
      expect(createAddressGuard({ ...cidrs, allowLoopback: false }).addressProblem(address)).toBe(problem);
      expect(createAddressGuard({ ...cidrs, allowLoopback: true }).addressProblem(address)).toBeNull();
      expect(createAddressGuard({ allowCidrs: [], allowLoopback: true }).addressProblem(address)).toBe(
        problem,
      );
    },
  );

  it('throws on what is not a range', () => {
    expect(() => allowing('10.0.0.0/8', '10.1/16')).toThrow('"10.1/16" is not an address range');
  });
});

describe('hostProblem', () => {
  it.each(
    words(`
    127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001 127.0.0.1.
    0x7F.0.0.0x1 １２７.０.０.１ 127。0。0。1 %31%32%37.0.0.1 127.0.0.%31 [::1] [0:0:0:0:0:0:0:1]
    [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:7F00:0001] localhost LOCALHOST localhost.
    app.localhost a.b.localhost. ｌocalhost LocalHost`),
  )('refuses loopback written as %s', (text) => {
    expect(urlProblem(strict, text)).toMatch(/is a loopback (?:address|name)$/u);
  });

  it.each([
    '10.1',
    '0xa.0.0.1',
    '167772161',
    '012.0.0.1',
    '[::ffff:a00:1]',
    '10.0.0.1.',
    '192.168.1',
    '[fd00::1]',
  ])('refuses the private address written as %s', (text) => {
    expect(urlProblem(strict, text)).toMatch(/is a private address$/u);
  });

  it('names the address without brackets and final dots', () => {
    expect(strict.hostProblem('[fd00::1]')).toBe('fd00::1 is a private address');
    expect(strict.hostProblem('10.0.0.1.')).toBe('10.0.0.1 is a private address');
  });

  it('takes an IPv6 address without brackets, as undici gives it to its connector', () => {
    expect(strict.hostProblem('::1')).toBe('::1 is a loopback address');
    expect(strict.hostProblem('2606:4700:4700::1111')).toBeNull();
  });

  it.each([
    'crm.example',
    'crm.example.',
    'localhost.example',
    'mylocalhost',
    '10.0.0.1.nip.io',
    '[2a00:1450::1]',
    '8.8.8.8',
  ])('says nothing about %s', (text) => {
    expect(urlProblem(strict, text)).toBeNull();
  });

  it('takes localhost once some loopback address is allowed', () => {
    const guard = createAddressGuard({ allowCidrs: ['127.0.0.1/32'], allowLoopback: true });
    expect(guard.hostProblem('localhost')).toBeNull();
    expect(guard.hostProblem('app.localhost.')).toBeNull();
    expect(
      createAddressGuard({ allowCidrs: ['10.0.0.0/8'], allowLoopback: true }).hostProblem('localhost'),
    ).toBe('localhost is a loopback name');
  });
});

describe('lookup', () => {
  it('gives one address, or all when asked for all', async () => {
    const both = [v6('2a00:1450::1'), v4('8.8.8.8')];
    expect(await lookupOf(both)).toEqual(['2a00:1450::1', 6]);
    expect(await lookupOf(both, { all: true })).toEqual([both]);
  });

  it.each([{}, { all: true }])(
    'fails when any address is refused, whichever is first (%o)',
    async (options) => {
      for (const addresses of [
        [v4('8.8.8.8'), v4('10.0.0.1')],
        [v4('10.0.0.1'), v4('8.8.8.8')],
      ]) {
        const error = await lookupOf(addresses, options).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(AddressRefusedError);
        expect(error).toMatchObject({
          name: 'AddressRefusedError',
          host: 'crm.example',
          address: '10.0.0.1',
          message: '10.0.0.1 is a private address (of crm.example)',
        });
      }
    },
  );

  it('fails as "not found" when there is no address', async () => {
    await expect(lookupOf([], { all: true })).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('refuses what the system resolver says about localhost', async () => {
    const error = await new Promise((resolve) => strict.lookup('localhost', { all: true }, resolve));
    expect(error).toBeInstanceOf(AddressRefusedError);
  });

  it('passes the error of the resolver on', async () => {
    const failure = Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
    const guard = createAddressGuard({ allowCidrs: [], allowLoopback: false }, (_host, _options, callback) =>
      callback(failure, []),
    );
    expect(await new Promise((resolve) => guard.lookup('crm.example', {}, resolve))).toBe(failure);
  });

  it('asks the resolver for 16 names at once, so that silent ones leave it threads', async () => {
    const asked: (() => void)[] = [];
    const guard = createAddressGuard({ allowCidrs: [], allowLoopback: false }, (_host, _options, callback) =>
      asked.push(() => callback(null, [v4('8.8.8.8')])),
    );
    const results = Array.from(
      { length: 20 },
      (_, index) => new Promise((resolve) => guard.lookup(`${index}.example`, {}, resolve)),
    );
    await vi.waitFor(() => expect(asked).toHaveLength(16));
    await setImmediate();
    expect(asked).toHaveLength(16);

    // One answer makes room for one more.
    asked[0]?.();
    await vi.waitFor(() => expect(asked).toHaveLength(17));
    await setImmediate();
    expect(asked).toHaveLength(17);

    for (let next = 1; next < results.length; next++) {
      await vi.waitFor(() => expect(asked.length).toBeGreaterThan(next));
      asked[next]?.();
    }
    expect(await Promise.all(results)).toEqual(results.map(() => null));
  });

  it('asks once for all who wait for a name, and again for who comes later', async () => {
    const asked: (() => void)[] = [];
    const guard = createAddressGuard({ allowCidrs: [], allowLoopback: false }, (_host, _options, callback) =>
      asked.push(() => callback(null, [v4('8.8.8.8')])),
    );
    const ask = () => new Promise((resolve) => guard.lookup('slow.example', {}, resolve));
    const together = [ask(), ask(), ask()];
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    asked[0]?.();
    expect(await Promise.all(together)).toEqual([null, null, null]);
    const later = ask();
    await vi.waitFor(() => expect(asked).toHaveLength(2));
    asked[1]?.();
    expect(await later).toBeNull();
  });

  it('makes room after a failure and after a refusal', async () => {
    const guard = createAddressGuard({ allowCidrs: [], allowLoopback: false }, (host, _options, callback) =>
      host.endsWith('gone.example') ? callback(new Error('ENOTFOUND'), []) : callback(null, [v4('10.0.0.1')]),
    );
    const names = Array.from(
      { length: 40 },
      (_, index) => `${index}.${index % 2 === 0 ? 'gone' : 'in'}.example`,
    );
    const errors = names.map((name) => new Promise((resolve) => guard.lookup(name, {}, resolve)));
    for (const error of await Promise.all(errors)) expect(error).toBeInstanceOf(Error);
  });
});
