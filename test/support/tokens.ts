import { createPublicKey, generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto';
import { SignJWT, UnsecuredJWT, type JWTPayload } from 'jose';

/** What an issuer signs its tokens with. */
export type Signer = { key: KeyObject; kid: string };

export const newSigner = (): Signer => ({
  key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  kid: randomUUID(),
});

export const sign = (claims: JWTPayload, { key, kid }: Signer): Promise<string> =>
  new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid }).sign(key);

/** What is in every token: when it was made, until when it is good, its number. */
export function life({ seconds = 3600, from = 0 } = {}): JWTPayload {
  const now = Math.floor(Date.now() / 1000);
  return { iat: now + from, exp: now + from + seconds, jti: randomUUID() };
}

/**
 * Tokens with which nobody may get in, each made of one that is good.
 *
 * @param audience the claim that says whom the token is for
 */
export async function badTokens(
  good: JWTPayload,
  signer: Signer,
  audience: 'aud' | 'client_id',
): Promise<[what: string, token: string][]> {
  const [header = '', payload = '', signature = ''] = (await sign(good, signer)).split('.');
  const changed = Buffer.from(JSON.stringify({ ...good, jti: randomUUID() })).toString('base64url');
  const flipped = (signature.startsWith('A') ? 'B' : 'A') + signature.slice(1);
  const { iss, ...unissued } = good;
  const { [audience]: _, ...forNobody } = good;
  const publicKey = createPublicKey(signer.key).export({ type: 'spki', format: 'pem' });
  return [
    ['one that has expired', await sign({ ...good, ...life({ from: -7200 }) }, signer)],
    [
      'one that begins in an hour',
      await sign({ ...good, nbf: Math.floor(Date.now() / 1000) + 3600 }, signer),
    ],
    ['one by another key of the same name', await sign(good, { ...newSigner(), kid: signer.kid })],
    ['one by a key that the issuer does not have', await sign(good, newSigner())],
    ['one of another issuer', await sign({ ...good, iss: `${iss}x` }, signer)],
    ['one of no issuer', await sign(unissued, signer)],
    ['one that is for somebody else', await sign({ ...good, [audience]: 'somebody else' }, signer)],
    ['one that is for nobody', await sign(forNobody, signer)],
    ['one that nobody has signed (alg: none)', new UnsecuredJWT(good).encode()],
    [
      'one that nobody has signed, with a key’s name',
      `${encode({ alg: 'none', kid: signer.kid })}.${payload}.`,
    ],
    [
      'one that is signed with the public key, as if that were a secret',
      await new SignJWT(good)
        .setProtectedHeader({ alg: 'HS256', kid: signer.kid })
        .sign(Buffer.from(publicKey)),
    ],
    ['one whose claims were changed', `${header}.${changed}.${signature}`],
    ['one whose signature was changed', `${header}.${payload}.${flipped}`],
    ['one without its signature', `${header}.${payload}.`],
    ['half of one', `${header}.${payload}`],
  ];
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
