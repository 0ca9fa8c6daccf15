import { ConflictError } from '../../shared/errors.ts';

type Versioned = { version: number };

/** The version of a handler, or of an event type, as an ETag. */
export const etagOf = ({ version }: Versioned): string => `"${version}"`;

/**
 * Throws ConflictError (`version`) when something is at none of the versions that `If-Match` names.
 *
 * @param ifMatch the header; undefined when the caller takes it as it is
 * @param kind what it is, in the words of the error
 */
export function requireVersion(
  current: Versioned,
  ifMatch: string | undefined,
  kind: 'handler' | 'event type' = 'handler',
): void {
  if (ifMatch === undefined || ifMatch.trim() === '*') return;
  const etags = ifMatch.split(',').map((etag) => etag.trim().replace(/^W\//u, ''));
  if (etags.includes(etagOf(current))) return;
  throw new ConflictError('version', `The ETag of the ${kind} is ${etagOf(current)}, not ${ifMatch}.`);
}
