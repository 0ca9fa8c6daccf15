import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const version = 'v1';
const ivBytes = 12;
const tagBytes = 16;

// Bound to the handler: an envelope copied into another handler's item does not open.
const context = (handlerId: string) => Buffer.from(`handoff/handler/${handlerId}`);

/**
 * Encrypts a secret for storage: AES-256-GCM under the deployment's data key, with the handler's id as
 * additional data. The result is `v1.` and base64url of IV, tag and ciphertext.
 */
export function sealSecret(dataKey: Buffer, handlerId: string, secret: string): string {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', dataKey, iv).setAAD(context(handlerId));
  const ciphertext = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return `${version}.${Buffer.concat([iv, cipher.getAuthTag(), ciphertext]).toString('base64url')}`;
}

/**
 * Opens what `sealSecret` made. Throws an Error that names the handler when the envelope was made with
 * another key, for another handler, or was changed.
 */
export function openSecret(dataKey: Buffer, handlerId: string, sealed: string): string {
  try {
    if (!sealed.startsWith(`${version}.`)) throw new Error('Not an envelope of this version.');
    const bytes = Buffer.from(sealed.slice(version.length + 1), 'base64url');
    // Without its length Node takes a tag that was cut down to four bytes.
    const decipher = createDecipheriv('aes-256-gcm', dataKey, bytes.subarray(0, ivBytes), {
      authTagLength: tagBytes,
    })
      .setAAD(context(handlerId))
      .setAuthTag(bytes.subarray(ivBytes, ivBytes + tagBytes));
    const plaintext = [decipher.update(bytes.subarray(ivBytes + tagBytes)), decipher.final()];
    return Buffer.concat(plaintext).toString('utf8');
  } catch (cause) {
    throw new Error(
      `A secret of handler ${handlerId} cannot be opened: it was sealed with another data key, or was changed.`,
      { cause },
    );
  }
}
