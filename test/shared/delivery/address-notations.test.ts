import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAddressGuard } from '../../../shared/delivery/address-guard.ts';
import { targetUrlProblem } from '../../../shared/delivery/target-url.ts';
import { HandlerInput } from '../../../shared/handlers/handler.ts';
import { bitsOf, rangeOf, refusedIpv4, refusedIpv6, textOf } from './special-addresses.ts';

const guard = createAddressGuard({ allowCidrs: [], allowLoopback: false });

/** What becomes of a URL that an admin types: the schema refuses it, or the guard does, or it may be called. */
function verdictOn(url: string): 'no URL for a target' | 'refused address' | 'allowed' {
  const target = { type: 'http', url };
  if (!HandlerInput.safeParse({ name: 'CRM', events: ['*'], target }).success) return 'no URL for a target';
  return targetUrlProblem(url, { allowHttp: false, guard }) === null ? 'allowed' : 'refused address';
}

const octetsOf = (ipv4: bigint): [bigint, bigint, bigint, bigint] => [
  ipv4 >> 24n,
  (ipv4 >> 16n) & 255n,
  (ipv4 >> 8n) & 255n,
  ipv4 & 255n,
];

type Radix = (part: bigint) => string;
const radixes: Radix[] = [
  (part) => part.toString(),
  (part) => `0x${part.toString(16)}`,
  (part) => `0X${part.toString(16).toUpperCase().padStart(8, '0')}`,
  (part) => `0${part.toString(8)}`,
  (part) => `0000${part.toString(8)}`,
];

/** The ways of `inet_aton`, which the URL parser has taken over: one to four parts, each in its own radix. */
const partsOf = (ipv4: bigint, count: number): bigint[] => {
  const [a, b, c, d] = octetsOf(ipv4);
  return [[ipv4], [a, ipv4 & 0xff_ffffn], [a, b, ipv4 & 0xffffn], [a, b, c, d]][count - 1] ?? [];
};

const mapDigits = (text: string, zero: number) =>
  text.replaceAll(/\d/gu, (digit) => String.fromCodePoint(zero + Number(digit)));

/** What Unicode's compatibility mapping (UTS #46) makes the same text of. */
const disguises: ((text: string) => string)[] = [
  (text) => text,
  (text) => `${text}.`,
  (text) => text.replaceAll('.', '\u3002'),
  (text) => text.replaceAll('.', '\uff0e'),
  (text) => text.replaceAll('.', '\uff61'),
  (text) => mapDigits(text, 0xff_10),
  (text) => mapDigits(text, 0x1_d7_ce),
  (text) => mapDigits(text, 0x1_d7_f6),
  (text) =>
    text
      .replaceAll('0', '\u24ea')
      .replaceAll(/[1-9]/gu, (digit) => String.fromCodePoint(0x24_5f + Number(digit))),
  (text) => text.replaceAll(/[\da-fx]/giu, (char) => `%${char.charCodeAt(0).toString(16)}`),
  (text) => text.replaceAll('.', '%2E'),
  (text) => text.replaceAll('.', '%E3%80%82'),
  (text) => `${text.slice(0, 1)}\u00ad${text.slice(1)}`,
  (text) => `${text.slice(0, 1)}\u200b${text.slice(1)}`,
  (text) => `${text.slice(0, 1)}\u2060${text.slice(1)}`,
  (text) => text.toUpperCase(),
];

const wrappers: ((host: string) => string)[] = [
  (host) => `https://${host}/`,
  (host) => `https://${host}`,
  (host) => `HTTPS://${host}:443/latest/meta-data/`,
  (host) => `https://${host}:8443?q=https://crm.example/`,
  (host) => `https:\\\\${host}\\hook`,
  (host) => `https:///${host}/`,
  (host) => `https:${host}/`,
  (host) => `https://${host}\\@crm.example/`,
  (host) => `https://crm.example@${host}/`,
  (host) => `https://crm.example:443@${host}/`,
  (host) => ` https://${host}/ `,
  (host) => `https://\t${host}\n/`,
  (host) => `ht\ntps://${host}/`,
  (host) => `http://${host}/`,
];

const refusedValue = fc
  .constantFrom(...refusedIpv4.map(([cidr]) => rangeOf(cidr)))
  .chain(({ first, last }) => fc.bigInt(first, last));

describe('notations of refused addresses', () => {
  it('of IPv4: every radix, every number of parts, every disguise, every way to put it into a URL', () => {
    const octets = fc.tuple(...Array.from({ length: 4 }, () => fc.constantFrom(...radixes)));
    const notation = fc.record({
      ipv4: refusedValue,
      count: fc.integer({ min: 1, max: 4 }),
      octets,
      disguise: fc.constantFrom(...disguises),
      wrap: fc.constantFrom(...wrappers),
    });
    fc.assert(
      fc.property(notation, ({ ipv4, count, octets: [...write], disguise, wrap }) => {
        const plain = partsOf(ipv4, count)
          .map((part, index) => (write[index] ?? String)(part))
          .join('.');
        // Not vacuous: the plain text is this address to the URL parser, and to who would connect.
        expect(new URL(`https://${plain}/`).hostname).toBe(textOf({ value: ipv4, width: 32 }));
        const url = wrap(disguise(plain));
        expect(verdictOn(url), url).not.toBe('allowed');
      }),
      { numRuns: 3000 },
    );
  });

  it.each(disguises.map((disguise) => [disguise('127.0.0.1')]))('the disguise %s is seen through', (host) => {
    expect(new URL(`https://${host}/`).hostname).toBe('127.0.0.1');
    expect(verdictOn(`https://${host}/`)).toBe('refused address');
  });

  it('of IPv6: compressed anywhere or not at all, upper case, leading zeros, the end in IPv4', () => {
    const refused = fc
      .constantFrom(...refusedIpv6.map(([cidr]) => rangeOf(cidr)))
      .chain(({ first, last }) => fc.bigInt(first, last));
    const form = fc.record({
      value: refused,
      padded: fc.boolean(),
      upper: fc.boolean(),
      dotted: fc.boolean(),
      from: fc.nat(7),
      wrap: fc.constantFrom(...wrappers),
    });
    fc.assert(
      fc.property(form, ({ value, padded, upper, dotted, from, wrap }) => {
        const full = textOf({ value, width: 128 }).split(':');
        const groups = padded ? full : full.map((group) => group.replace(/^0{1,3}/u, ''));
        if (dotted) groups.splice(6, 2, octetsOf(value & 0xffff_ffffn).join('.'));
        let until = from;
        while (until < Math.min(groups.length, 6) && /^0+$/u.test(groups[until] ?? '')) until++;
        const text =
          until > from
            ? `${groups.slice(0, from).join(':')}::${groups.slice(until).join(':')}`
            : groups.join(':');
        const host = `[${upper ? text.toUpperCase() : text}]`;
        const parsed = new URL(`https://${host}/`).hostname.slice(1, -1);
        // The URL parser is what is used, so its reading has to be ours.
        expect(bitsOf(parsed).value).toBe(value);
        expect(verdictOn(wrap(host)), wrap(host)).not.toBe('allowed');
      }),
      { numRuns: 3000 },
    );
  });

  it('whatever else the URL parser makes a refused address of is refused', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '127',
        '10',
        '0x7f',
        '0177',
        '169.254',
        '192.168',
        '2130706433',
        '0',
        '1',
        '255',
        '::1',
        '[',
        ']',
      ),
      fc.constantFrom(
        '.',
        '..',
        '。',
        '．',
        '｡',
        ':',
        '%',
        '%2e',
        '%31',
        '@',
        '\\',
        '/',
        '#',
        '?',
        '\u00ad',
        '\t',
        '\u200d',
      ),
      fc.constantFrom('localhost', 'LOCALHOST', 'ⓛocalhost', 'loc%61lhost', 'a.localhost', 'crm.example'),
      fc.string({ unit: 'grapheme', maxLength: 3 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 7 }), (pieces) => {
        const text = `https://${pieces.join('')}`;
        const host = URL.parse(text)?.hostname;
        if (host === undefined) return;
        const isBad =
          host.startsWith('[') ||
          /^(?:0|10|127|169\.254|192\.168)\.[\d.]+$/u.test(host) ||
          /(?:^|\.)localhost\.*$/u.test(host);
        if (isBad) expect(verdictOn(text), text).not.toBe('allowed');
      }),
      { numRuns: 5000 },
    );
  });

  it.each([
    'https://[::1%25eth0]/',
    'https://[fe80::1%25eth0]/',
    'https://[::1%eth0]/',
    'https://[::ffff:0x7f.1]/',
    'https://[::ffff:127.1]/',
    'https://[::１]/',
    'https://[v1.fe80::1]/',
    'https://::1/',
    'https://127.0.0.1%00/',
    'https://127.0.0.1%09/',
    'https://१२७.0.0.1/',
    'https://⒈27.0.0.1/',
    'https://127.0.0.1.1/',
    'https://.127.0.0.1/',
    'https://\ufeff127.0.0.1/',
    'https://256.1.1.1/',
    'https://4294967296/',
    'https://0x100000000/',
    'https://127.0.0.09/',
    'https://crm.example:0/',
  ])('%s is no URL for a target', (url) => {
    expect(verdictOn(url)).toBe('no URL for a target');
  });

  it.each([
    'https://localhost/',
    'https://LOCALHOST/',
    'https://localhost./',
    'https://localhost../',
    'https://.localhost/',
    'https://a.localhost/',
    'https://a..localhost/',
    'https://localhost%2e/',
    'https://loc%61lhost/',
    'https://ｌｏｃａｌｈｏｓｔ/',
    'https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/',
    'https://ℓocalhoſt/',
    'https://loc\u00adalhost/',
    'https://localhost。/',
    'https://127.0.0.1../',
    'https://127.1../',
    'https://crm..example/',
    'https://crm.example../',
    'https://0/',
    'https://0x/',
    'https://①/',
  ])('%s is refused when it is saved', (url) => {
    expect(verdictOn(url)).toBe('refused address');
  });

  // A resolver decides on these, and what it says is judged: `localhost.localdomain` and its like stand in /etc/hosts alone.
  it.each([
    'https://localhost.localdomain/',
    'https://ip6-localhost/',
    'https://metadata.google.internal/',
    'https://127.0.0.1.nip.io/',
    'https://127.0.0.1_/',
    'https://localhost.example/',
    'https://mylocalhost/',
    'https://127-0-0-1.example/',
    'https://xn--localhost/',
    'https://8.8.8.8/',
    'https://134744072/',
    'https://[2606:4700:4700::1111]/',
    'https://[::ffff:8.8.8.8]/',
    'https://crm.example./',
  ])('%s may be saved', (url) => {
    expect(verdictOn(url)).toBe('allowed');
  });
});
