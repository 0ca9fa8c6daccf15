import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAddressGuard } from '../../../shared/delivery/address-guard.ts';
import {
  bitsOf,
  embeddingsOf,
  isRefused,
  neverOpened,
  rangeOf,
  refusedIpv4,
  refusedIpv6,
  textOf,
  type Bits,
} from './special-addresses.ts';

const strict = createAddressGuard({ allowCidrs: [], allowLoopback: false });
const openToAll = createAddressGuard({ allowCidrs: ['0.0.0.0/0', '::/0'], allowLoopback: true });

/** Whether the guard refuses it: as the address that a name resolves to, and as the host of a URL. */
function verdictOn(address: Bits): boolean {
  const text = textOf(address);
  const host = new URL(address.width === 128 ? `https://[${text}]/` : `https://${text}/`).hostname;
  const refused = strict.addressProblem(text) !== null;
  expect({ text, host: strict.hostProblem(host) !== null }).toEqual({ text, host: refused });
  return refused;
}

const blocks = [...refusedIpv4, ...refusedIpv6];

/** Its first and last addresses, one inside, and the neighbours on both sides. */
function edgesOf(cidr: string): Bits[] {
  const { first, last, width } = rangeOf(cidr);
  const max = (1n << BigInt(width)) - 1n;
  return [first - 1n, first, first + (last - first) / 3n, last, last + 1n]
    .filter((value) => value >= 0n && value <= max)
    .map((value) => ({ value, width }));
}

describe("IANA's registries, and the addresses of clouds", () => {
  it.each(blocks)('%s (%s, %s): refused inside, its neighbours by their own block', (cidr) => {
    const { first, last } = rangeOf(cidr);
    for (const address of edgesOf(cidr)) {
      const inside = address.value >= first && address.value <= last;
      expect(isRefused(address), textOf(address)).toBe(inside || isRefused(address));
      expect(verdictOn(address), textOf(address)).toBe(isRefused(address));
    }
  });

  it('refuses the same as the tables, and lets the same through, wherever one looks', () => {
    const near = fc
      .record({
        cidr: fc.constantFrom(...blocks.map(([cidr]) => cidr)),
        offset: fc.bigInt(-70_000n, 70_000n),
        end: fc.boolean(),
      })
      .map(({ cidr, offset, end }): Bits => {
        const { first, last, width } = rangeOf(cidr);
        return { value: BigInt.asUintN(width, (end ? last : first) + offset), width };
      });
    const anyIpv4 = fc.bigInt(0n, 2n ** 32n - 1n).map((value): Bits => ({ value, width: 32 }));
    const anyIpv6 = fc.bigInt(0n, 2n ** 128n - 1n).map((value): Bits => ({ value, width: 128 }));
    const globalIpv6 = fc.bigInt(2n ** 125n, 2n ** 126n - 1n).map((value): Bits => ({ value, width: 128 }));
    fc.assert(
      fc.property(fc.oneof(near, anyIpv4, anyIpv6, globalIpv6), (address) => {
        expect(verdictOn(address), textOf(address)).toBe(isRefused(address));
      }),
      { numRuns: 3000 },
    );
  });

  it.each(refusedIpv4)('%s (%s) inside IPv6, in every form', (cidr) => {
    const { first, last } = rangeOf(cidr);
    for (const ipv4 of [first, first + (last - first) / 3n, last]) {
      for (const [form, text] of Object.entries(embeddingsOf(ipv4))) {
        expect(verdictOn(bitsOf(text)), `${form}: ${text}`).toBe(true);
        // What stands inside opens nothing either, but for the one form that is the IPv4 address itself.
        if (form !== 'mapped') expect(openToAll.addressProblem(text), `${form}: ${text}`).not.toBeNull();
      }
    }
  });

  it('refuses public IPv4 addresses in every form but the mapped one', () => {
    for (const address of ['8.8.8.8', '1.1.1.1', '52.95.110.1']) {
      for (const [form, text] of Object.entries(embeddingsOf(bitsOf(address).value))) {
        expect(verdictOn(bitsOf(text)), `${form}: ${text}`).toBe(form !== 'mapped');
      }
    }
  });

  it.each(neverOpened)('%s stays closed, whatever is allowed', (cidr) => {
    const { first, last, width } = rangeOf(cidr);
    for (const value of [first, last]) {
      const text = textOf({ value, width });
      expect(openToAll.addressProblem(text), text).not.toBeNull();
      const exactly = createAddressGuard({ allowCidrs: [cidr], allowLoopback: true });
      expect(exactly.addressProblem(text), text).not.toBeNull();
    }
  });
});
