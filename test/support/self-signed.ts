import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/**
 * A self-signed X.509 certificate (RFC 5280) for an IPv4 address and for `localhost`, made here so that no key has to live in the
 * repository. Both are PEM.
 */
export function selfSigned({ address = [127, 0, 0, 1], notAfter = '491231235959Z' } = {}) {
  const der = (tag: number, ...parts: Buffer[]): Buffer => {
    const content = Buffer.concat(parts);
    const size = content.length;
    const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
    return Buffer.concat([Buffer.from([tag, ...length]), content]);
  };
  const hex = (text: string) => Buffer.from(text, 'hex');
  const text = (tag: number, value: string) => der(tag, Buffer.from(value));
  const sequence = (...parts: Buffer[]) => der(0x30, ...parts);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaWithSha256 = sequence(hex('06082a8648ce3d040302'));
  const name = sequence(der(0x31, sequence(hex('0603550403'), text(0x0c, 'handoff test'))));
  const names = sequence(der(0x87, Buffer.from(address)), text(0x82, 'localhost'));
  const subjectAltName = sequence(hex('0603551d11'), der(0x04, names));
  const certificate = sequence(
    hex('a003020102'), // version 3
    der(0x02, Buffer.from([1, ...randomBytes(8)])),
    ecdsaWithSha256,
    name,
    sequence(text(0x17, '190101000000Z'), text(0x17, notAfter)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(subjectAltName)),
  );
  const signature = der(0x03, hex('00'), sign('sha256', certificate, privateKey));
  const base64 = sequence(certificate, ecdsaWithSha256, signature).toString('base64');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
  };
}
