import { describe, expect, it } from 'vitest';
import { parseCidr } from '../../../shared/delivery/cidr.ts';

const words = (text: string) => text.trim().split(/\s+/u);

describe('parseCidr', () => {
  it.each([
    ['10.1.0.0/16', '10.1.0.0', 16],
    ['10.1.2.3/32', '10.1.2.3', 32],
    ['0.0.0.0/0', '0.0.0.0', 0],
    ['fd12:3456::/32', 'fd12:3456::', 32],
    ['::/0', '::', 0],
    ['::1/128', '::1', 128],
  ])('reads %s', (text, address, bits) => {
    const [network, length] = parseCidr(text);
    expect([network.toString(), length]).toEqual([address, bits]);
  });

  it.each(
    words(`
    10.0.0.0 10.0.0.0/33 10.0.0.0/-1 10.0.0.0/8/8 10.0.0.0/ /8 10.1/16 crm.example/8 010.0.0.0/8
    0x0a.0.0.0/8 10.0.0.0/255.0.0.0 fd00::/129 fe80::1%eth0/64 [fd00::]/8 *`),
  )('refuses "%s" and names it', (text) => {
    expect(() => parseCidr(text)).toThrow(`"${text}" is not an address range`);
  });

  it('refuses surroundings and nothing', () => {
    for (const text of ['', ' ', ' 10.0.0.0/8', '10.0.0.0/8 ']) expect(() => parseCidr(text)).toThrow();
  });

  it.each(['::ffff:10.0.0.0/104', '::ffff:a00:0/104'])('asks for %s in the IPv4 form', (text) => {
    expect(() => parseCidr(text)).toThrow(`"${text}" is an IPv4 range inside IPv6 (write it as IPv4)`);
  });
});
