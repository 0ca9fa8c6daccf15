import { createHash } from 'node:crypto';
import type { Agent } from 'undici';
import { z } from 'zod';
import type { Auth } from '../handlers/auth.ts';
import { deliverHttp } from './http.ts';

type OAuth2 = Extract<Auth, { type: 'oauth2' }>;

/** A token, or why there is none and whether another try may get one. */
export type TokenAnswer = { token: string } | { problem: string; retryable: boolean };

export type Tokens = ReturnType<typeof createTokens>;

// Shortly before a token expires it is not used any more: a request takes a while to arrive.
const marginMs = 60_000;
/** Of a token that does not say how long it lasts (RFC 6749, 5.1 recommends to). */
const unsaidLifeMs = 300_000;
const maxTokenBytes = 65_536;
const maxTimeoutMs = 10_000;
// A bound for an environment that lives long: who is pushed out asks once more.
const maxKept = 1000;

const Answer = z.object({
  access_token: z.string().regex(/^[\x21-\x7e]{1,16384}$/u),
  token_type: z.string().regex(/^bearer$/iu),
  expires_in: z.coerce.number().positive().optional(),
});

/**
 * Gets tokens of OAuth 2 client credentials (RFC 6749, 4.4) and keeps them until shortly before they expire: one request at a time for each
 * client, whoever else asks meanwhile gets its answer.
 */
export function createTokens({ agent, now }: { agent: Agent; now: () => Date }) {
  const kept = new Map<string, { token: string; until: number }>();
  const asking = new Map<string, Promise<TokenAnswer>>();

  /**
   * @param rejected a token that the target did not take: another one is asked for, unless that has been done
   */
  async function get(
    auth: OAuth2,
    { rejected, timeoutMs }: { rejected?: string; timeoutMs: number },
  ): Promise<TokenAnswer> {
    const key = keyOf(auth);
    const found = kept.get(key);
    const isGood = found !== undefined && found.until > now().getTime() && found.token !== rejected;
    if (isGood) return { token: found.token };
    const underWay = asking.get(key);
    if (underWay !== undefined) return underWay;
    const request = ask(auth, key, Math.min(timeoutMs, maxTimeoutMs)).finally(() => asking.delete(key));
    asking.set(key, request);
    return request;
  }

  async function ask(auth: OAuth2, key: string, timeoutMs: number): Promise<TokenAnswer> {
    const { tokenUrl, clientId, clientSecret, scope } = auth;
    const outcome = await deliverHttp(agent, {
      url: tokenUrl,
      method: 'POST',
      headers: {
        accept: 'application/json',
        'content-type': 'application/x-www-form-urlencoded',
        // RFC 6749, 2.3.1: both form-encoded first.
        authorization: `Basic ${Buffer.from(`${formEncoded(clientId)}:${formEncoded(clientSecret)}`).toString('base64')}`,
      },
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        ...(scope !== undefined && { scope }),
      }).toString(),
      timeoutMs,
      maxResponseBytes: maxTokenBytes,
    });
    // Never the answer itself, which could hold the token.
    if (outcome.kind === 'failed') {
      // A client that is refused can be put right before the last attempt, an address that is refused cannot.
      const retryable = outcome.statusCode !== null || outcome.retryable;
      return { problem: `no token: ${outcome.error}`, retryable };
    }
    const answer = Answer.safeParse(readJson(outcome.response));
    if (!answer.success) {
      return { problem: 'no token: the answer has no access_token of the type Bearer', retryable: true };
    }
    const { access_token: token, expires_in: seconds } = answer.data;
    const lifeMs = seconds === undefined ? unsaidLifeMs : seconds * 1000;
    if (kept.size >= maxKept) kept.clear();
    kept.set(key, { token, until: now().getTime() + Math.max(0, lifeMs - marginMs) });
    return { token };
  }

  return { get };
}

// The secret belongs to it: who has changed it must not go on with what the old one got.
const keyOf = ({ tokenUrl, clientId, clientSecret, scope = '' }: OAuth2): string =>
  createHash('sha256')
    .update(JSON.stringify([tokenUrl, clientId, clientSecret, scope]))
    .digest('base64');

const formEncoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);

function readJson(text: string | null): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return null;
  }
}
