import { createPublicKey } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { exportJWK, type JWTPayload } from 'jose';
import { selfSigned } from './self-signed.ts';
import { life, newSigner, sign, type Signer } from './tokens.ts';

export type OidcIssuer = AsyncDisposable & {
  /** As `iss` has it, with a slash at the end. */
  issuer: string;
  signer: Signer;
  /** What a client has to trust, PEM. */
  certificate: string;
  /** A token of this issuer. */
  give: (claims: JWTPayload) => Promise<string>;
};

/** An OpenID Connect issuer on this machine: its description and its keys, over TLS. People and clients it has none, only their tokens. */
export async function startOidcIssuer(): Promise<OidcIssuer> {
  const { key, cert } = selfSigned();
  const signer = newSigner();
  const jwk = {
    ...(await exportJWK(createPublicKey(signer.key))),
    kid: signer.kid,
    alg: 'RS256',
    use: 'sig',
  };
  let issuer = '';
  const server = createServer({ key, cert }, ({ url }, response) => {
    const documents: Record<string, unknown> = {
      '/.well-known/openid-configuration': { issuer, jwks_uri: `${issuer}keys` },
      '/keys': { keys: [jwk] },
    };
    const document = documents[url ?? ''];
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(document ?? {}));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  issuer = `https://localhost:${(server.address() as AddressInfo).port}/`;
  return {
    issuer,
    signer,
    certificate: cert,
    give: (claims) => sign({ iss: issuer, ...life(), ...claims }, signer),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}
