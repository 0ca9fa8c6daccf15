import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openSecret, sealSecret } from '../../../shared/secrets/secret-envelope.ts';

const dataKey = randomBytes(32);
const refusal =
  'A secret of handler h_a cannot be opened: it was sealed with another data key, or was changed.';

describe('openSecret', () => {
  it('gives back every secret that was sealed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (secret) => {
        expect(openSecret(dataKey, 'h_a', sealSecret(dataKey, 'h_a', secret))).toBe(secret);
      }),
    );
  });

  it('refuses the envelope of another handler', () => {
    const sealed = sealSecret(dataKey, 'h_b', 'whsec_1');
    expect(() => openSecret(dataKey, 'h_a', sealed)).toThrow(refusal);
  });

  it('refuses an envelope that was made with another key', () => {
    const sealed = sealSecret(randomBytes(32), 'h_a', 'whsec_1');
    expect(() => openSecret(dataKey, 'h_a', sealed)).toThrow(refusal);
  });

  it('refuses an envelope in which a single bit was changed, wherever it is', () => {
    const sealed = sealSecret(dataKey, 'h_a', 'whsec_1');
    const bytes = Buffer.from(sealed.slice(3), 'base64url');
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => openSecret(dataKey, 'h_a', `v1.${changed.toString('base64url')}`)).toThrow(refusal);
    }
  });

  it('refuses an envelope that was cut anywhere, with a secret and without', () => {
    for (const secret of ['whsec_1', '']) {
      const bytes = Buffer.from(sealSecret(dataKey, 'h_a', secret).slice(3), 'base64url');
      for (let length = 0; length < bytes.length; length++) {
        const cut = `v1.${bytes.subarray(0, length).toString('base64url')}`;
        expect(() => openSecret(dataKey, 'h_a', cut)).toThrow(refusal);
      }
    }
  });

  it.each(['', 'v1.', 'v1', 'v2.AAAA', 'whsec_plain'])('refuses what is no envelope: "%s"', (sealed) => {
    expect(() => openSecret(dataKey, 'h_a', sealed)).toThrow(refusal);
  });

  it('refuses an envelope of another version', () => {
    const sealed = sealSecret(dataKey, 'h_a', 'whsec_1').replace('v1.', 'v2.');
    expect(() => openSecret(dataKey, 'h_a', sealed)).toThrow(refusal);
  });
});

describe('sealSecret', () => {
  it('never gives the same envelope twice, and none that shows the secret', () => {
    const envelopes = Array.from({ length: 100 }, () => sealSecret(dataKey, 'h_a', 'whsec_1'));
    expect(new Set(envelopes).size).toBe(100);
    for (const sealed of envelopes) {
      expect(sealed).toMatch(/^v1\.[\w-]+$/u);
      expect(Buffer.from(sealed.slice(3), 'base64url').includes('whsec_1')).toBe(false);
    }
  });
});
