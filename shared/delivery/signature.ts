// Pure core: imports nothing but zod and node:crypto.
import { createHmac, createSecretKey, randomBytes, type KeyObject } from 'node:crypto';

const prefix = 'whsec_';

/** A new signing secret: `whsec_` and 32 random bytes in base64 (Standard Webhooks asks for 24 to 64 bytes). */
export function newSigningSecret(): string {
  return prefix + randomBytes(32).toString('base64');
}

/** The key in a signing secret. To be made once and kept: to make it anew takes three times as long as to sign. */
export const signingKeyOf = (secret: string): KeyObject =>
  createSecretKey(secret.slice(prefix.length), 'base64');

/**
 * The `webhook-signature` header of Standard Webhooks 1.0: one `v1,<base64>` per key, separated by spaces,
 * over `<id>.<timestamp>.<body>`. More than one key signs while a rotation overlaps.
 *
 * @param timestamp seconds since 1970, as sent in `webhook-timestamp`
 */
export function signDelivery(
  keys: readonly KeyObject[],
  delivery: { id: string; timestamp: number; body: string },
): string {
  const content = `${delivery.id}.${delivery.timestamp}.${delivery.body}`;
  return keys.map((key) => `v1,${createHmac('sha256', key).update(content).digest('base64')}`).join(' ');
}
