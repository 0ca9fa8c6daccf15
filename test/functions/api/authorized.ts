/** What a token says, with lists and numbers. */
export type Claims = Record<string, unknown>;

/** The claims of a machine client, as Cognito writes them. */
export const machine = (scope: string): Claims => ({
  sub: 'client-1',
  client_id: 'client-1',
  token_use: 'access',
  scope,
});

/** The claims of a person, as Cognito writes them. */
export const person = (...groups: string[]): Claims => ({
  sub: '7d8ca528-4931-4254-9273-ea5ee853f271',
  client_id: 'console',
  username: 'ada',
  token_use: 'access',
  scope: 'openid profile',
  ...(groups.length > 0 && { 'cognito:groups': groups }),
});

/** A token with these claims, signed by nobody: the gateway has looked at that before. */
export const tokenOf = (claims: Claims): string =>
  `${encode({ alg: 'RS256', kid: 'k' })}.${encode(claims)}.c2lnbmF0dXJl`;
const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Where all requests of the tests come from. */
export const sourceIp = '192.0.2.7';

/** The parts of an event by which API Gateway says who makes a request, once it has checked this token, and from where. */
export const authorized = (claims: Claims, authorization = `Bearer ${tokenOf(claims)}`) => ({
  headers: { authorization },
  requestContext: {
    http: { sourceIp },
    authorizer: {
      jwt: {
        claims: Object.fromEntries(Object.entries(claims).map(([name, value]) => [name, asText(value)])),
      },
    },
  },
});

// Every claim comes as text, a list as `[a b]`.
const asText = (value: unknown): string =>
  typeof value === 'string'
    ? value
    : Array.isArray(value)
      ? `[${value.map(asText).join(' ')}]`
      : JSON.stringify(value);
