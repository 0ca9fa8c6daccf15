import { Webhook } from 'standardwebhooks';
import type { ReceivedRequest } from './http-server.ts';

const secrets = new Map<string, string[]>();

/** Of a handler that this test has registered: from here on its deliveries to receivers of this test have to be signed with it. */
export function knowSecret(handlerId: string, secret: string): void {
  secrets.set(handlerId, [...(secrets.get(handlerId) ?? []), secret]);
}

// `<event id>_<handler id>`; a handler's id is `h_` and 16 characters.
const handlerIdPattern = /_(?<id>h_[\w-]{16})$/u;

/**
 * What is wrong with the signature of a delivery, by the official library of Standard Webhooks; null when nothing is, or when it is none of a
 * handler that is known. The time of the signature is not compared: many tests have a clock of their own.
 */
export function signatureProblem({ headers, body }: ReceivedRequest): string | null {
  const id = String(headers['webhook-id'] ?? '');
  const known = secrets.get(handlerIdPattern.exec(id)?.groups?.['id'] ?? '');
  if (known === undefined) return null;
  const at = new Date(Number(headers['webhook-timestamp']) * 1000);
  const signatures = String(headers['webhook-signature']).split(' ');
  const isSigned = known.some((secret) => signatures.includes(new Webhook(secret).sign(id, at, body)));
  return isSigned ? null : `The delivery ${id} is not signed with a secret of its handler.`;
}
