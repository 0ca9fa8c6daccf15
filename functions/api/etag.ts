import { ConflictError } from '../../shared/errors.ts';
import type { Handler } from '../../shared/handlers/handler.ts';

/** The version of a handler as an ETag. */
export const etagOf = ({ version }: Pick<Handler, 'version'>): string => `"${version}"`;

/**
 * Throws ConflictError (`version`) when a handler is at none of the versions that `If-Match` names.
 *
 * @param ifMatch the header; undefined when the caller takes the handler as it is
 */
export function requireVersion(handler: Handler, ifMatch: string | undefined): void {
  if (ifMatch === undefined || ifMatch.trim() === '*') return;
  const etags = ifMatch.split(',').map((etag) => etag.trim().replace(/^W\//u, ''));
  if (etags.includes(etagOf(handler))) return;
  throw new ConflictError('version', `The handler is at version ${handler.version}, not at ${ifMatch}.`);
}
