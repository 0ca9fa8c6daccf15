import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const version = 'v1';
const ivBytes = 12;
const tagBytes = 16;

// Bound to the handler: an envelope copied into another handler's item does not open.
const contextOf = (handlerId: string) => `handoff/handler/${handlerId}`;

/**
 * Encrypts a secret for storage: AES-256-GCM under the deployment's data key, with the handler's id as
 * additional data. The result is `v1.` and base64url of IV, tag and ciphertext.
 */
export const sealSecret = (dataKey: Buffer, handlerId: string, secret: string): string =>
  `${version}.${sealBytes(dataKey, contextOf(handlerId), Buffer.from(secret)).toString('base64url')}`;

/**
 * Opens what `sealSecret` made. Throws an Error that names the handler when the envelope was made with
 * another key, for another handler, or was changed.
 */
export function openSecret(dataKey: Buffer, handlerId: string, sealed: string): string {
  try {
    if (!sealed.startsWith(`${version}.`)) throw new Error('Not an envelope of this version.');
    const bytes = Buffer.from(sealed.slice(version.length + 1), 'base64url');
    return openBytes(dataKey, contextOf(handlerId), bytes).toString('utf8');
  } catch (cause) {
    throw new Error(
      `A secret of handler ${handlerId} cannot be opened: it was sealed with another data key, or was changed.`,
      { cause },
    );
  }
}

/**
 * Encrypts bytes with AES-256-GCM: IV, tag and ciphertext.
 *
 * @param context bound to it as additional data: what was sealed for one purpose does not open for another
 */
export function sealBytes(dataKey: Buffer, context: string, bytes: Uint8Array): Buffer {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', dataKey, iv).setAAD(Buffer.from(context));
  const ciphertext = Buffer.concat([cipher.update(bytes), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), ciphertext]);
}

/** Opens what `sealBytes` made. Throws an Error when it was made with another key or context, or was changed. */
export function openBytes(dataKey: Buffer, context: string, sealed: Uint8Array): Buffer {
  // Without its length Node takes a tag that was cut down to four bytes.
  const decipher = createDecipheriv('aes-256-gcm', dataKey, sealed.subarray(0, ivBytes), {
    authTagLength: tagBytes,
  })
    .setAAD(Buffer.from(context))
    .setAuthTag(sealed.subarray(ivBytes, ivBytes + tagBytes));
  return Buffer.concat([decipher.update(sealed.subarray(ivBytes + tagBytes)), decipher.final()]);
}
