import type { Auth } from '../handlers/auth.ts';
import type { Tokens } from './oauth.ts';
import { unanswered, type CallOutcome } from './outcome.ts';

/** The header that says who calls. */
export const headerNameOf = (auth: Auth): string =>
  auth.type === 'header' ? auth.name.toLowerCase() : 'authorization';

/** The credentials of a target with the secret in them, null where it wants none, or why they cannot be read. */
export type OpenAuth = Auth | null | { problem: string };

/**
 * Sends a request with the header that tells the target who calls. A token that the target does not take (401) is replaced once, within the
 * same attempt.
 *
 * @param send is given the header; it is called a second time after a 401 to an OAuth 2 token
 */
export async function sendAuthorized(
  tokens: Tokens,
  auth: OpenAuth,
  timeoutMs: number,
  send: (headers: Record<string, string>, timeoutMs: number) => Promise<CallOutcome>,
): Promise<CallOutcome> {
  if (auth === null) return send({}, timeoutMs);
  // They can be given anew before the last attempt.
  if ('problem' in auth) return unanswered(`auth: ${auth.problem}`, { retryable: true });
  if (auth.type !== 'oauth2') return send(headerOf(auth), timeoutMs);
  // All of it in the time of one attempt: a claim lasts no longer.
  const endsAt = performance.now() + timeoutMs;
  const leftMs = (): number => Math.max(1, Math.ceil(endsAt - performance.now()));
  const first = await tokens.get(auth, { timeoutMs });
  if ('problem' in first) return unanswered(`auth: ${first.problem}`, first);
  const outcome = await send(bearer(first.token), leftMs());
  if (outcome.kind === 'succeeded' || outcome.statusCode !== 401) return outcome;
  const second = await tokens.get(auth, { rejected: first.token, timeoutMs: leftMs() });
  return 'problem' in second || second.token === first.token ? outcome : send(bearer(second.token), leftMs());
}

function headerOf(auth: Exclude<Auth, { type: 'oauth2' }>): Record<string, string> {
  switch (auth.type) {
    case 'basic':
      return {
        authorization: `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`,
      };
    case 'bearer':
      return bearer(auth.token);
    case 'header':
      return { [auth.name.toLowerCase()]: auth.value };
    default:
      return auth satisfies never;
  }
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
