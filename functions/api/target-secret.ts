import { InvalidInputError } from '../../shared/errors.ts';
import { maskedSecret, secretOf, withSecret, type Auth } from '../../shared/handlers/auth.ts';
import type { HandlerInput, Target } from '../../shared/handlers/handler.ts';
import { sealSecret } from '../../shared/secrets/secret-envelope.ts';
import type { StoredHandler } from '../../shared/handlers/store.ts';

const fieldOf = { basic: 'password', bearer: 'token', header: 'value', oauth2: 'clientSecret' } as const;

const authOf = (target: Target): Auth | null => (target.type === 'http' ? target.auth : null);

/** What a caller sent, with a mask in the place of the secret. */
export function withoutSecret(input: HandlerInput): HandlerInput {
  const { target } = input;
  return target.type !== 'http' || target.auth === null
    ? input
    : { ...input, target: { ...target, auth: withSecret(target.auth) } };
}

/** Throws InvalidInputError where the secret of a target is a mask, and there is nothing behind it. */
export function requireSecret(target: Target, path = ''): void {
  const auth = authOf(target);
  if (auth === null || secretOf(auth) !== maskedSecret) return;
  const field = `${path}target.auth.${fieldOf[auth.type]}`;
  throw new InvalidInputError([
    { field, message: `is needed: there is no secret of this kind that "${maskedSecret}" would keep` },
  ]);
}

/**
 * Takes the secret out of what a caller sent, and seals it. A mask keeps the one that is stored, of the same kind. Throws InvalidInputError
 * when there is none.
 *
 * @param stored as it is before the change
 */
export async function sealTarget(
  input: HandlerInput,
  { id, dataKey, stored }: { id: string; dataKey: () => Promise<Buffer>; stored?: StoredHandler },
): Promise<{ input: HandlerInput; sealedAuth?: string }> {
  const auth = authOf(input.target);
  if (auth === null) return { input };
  const isKept = secretOf(auth) === maskedSecret;
  const hasSame = stored !== undefined && authOf(stored.handler.target)?.type === auth.type;
  if (isKept && hasSame && stored.sealedAuth !== undefined) return { input, sealedAuth: stored.sealedAuth };
  requireSecret(input.target);
  return {
    input: withoutSecret(input),
    sealedAuth: sealSecret(await dataKey(), id, secretOf(auth)),
  };
}
