import type { OpenAPIHono } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import { ForbiddenError, InvalidTokenError } from '../../shared/errors.ts';
import { roles, scopeOf, type Role } from '../../shared/role.ts';

/**
 * Says in the OpenAPI entry of a route which role it takes. The check goes by that entry, so that the two cannot differ: `read` looks, `operate`
 * retries, recovers, tests, toggles, publishes and sends dead letters again, `admin` changes handlers.
 */
export const needs = (role: Role): Record<string, string[]>[] => [{ bearer: [scopeOf(role)] }];

/** Who makes a request, and what they may do; `role` is null for somebody who is known and may do nothing. */
export type Caller = { name: string; role: Role | null };

declare module 'hono' {
  interface ContextVariableMap {
    /** Of every request that was let through. */
    caller: Caller;
  }
}

/** What an authorizer leaves of a token that it has checked: text, or JSON that was made text. */
type Claims = Partial<Record<string, unknown>>;

/** The part of a request's event that says who makes it. */
type Authorized = {
  headers?: Partial<Record<string, string>>;
  requestContext: { authorizer?: { jwt?: { claims: Claims } } | null };
};

/**
 * Reads who makes a request from the claims of a token that the gatekeeper has checked. The groups of the token's subject give a role, each
 * called like its scope (`handoff/operate`). Scopes give one only where the client itself is the subject: in the token of a person they say
 * what the client was registered for, and nothing about the person. docs/adr/0016 has what issuers send, and why.
 *
 * Nobody, where there was no gatekeeper. Throws InvalidTokenError for an ID token, which is for the client and not for an API.
 */
export function callerOf(event: Authorized, groupsClaim: string): Caller {
  const claims = event.requestContext.authorizer?.jwt?.claims ?? {};
  // `token_use` is Cognito's; `at_hash` OpenID Connect Core 1.0 (3.1.3.6) has for ID tokens alone.
  if (claims['token_use'] === 'id' || claims['at_hash'] !== undefined) {
    throw new InvalidTokenError('This is an ID token; the API takes the access token that came with it.');
  }
  const client = clientOf(claims);
  const granted = new Set([
    ...groupsOf(event, claims[groupsClaim], groupsClaim),
    ...(client === null ? [] : [...scopesOf(claims['scope']), ...scopesOf(claims['scp'])]),
  ]);
  return {
    name: client ?? firstText(claims['username'], claims['sub']) ?? 'nobody',
    role: roles.findLast((role) => granted.has(scopeOf(role))) ?? null,
  };
}

/**
 * The client of a token in which no person is involved: it is its own subject (RFC 9068, 2.2; Cognito, Okta), at Auth0 with an ending that no
 * person's subject has. Null for what may be a person's, or has what only a person's has: `username` at Cognito, `uid` at Okta.
 */
function clientOf(claims: Claims): string | null {
  const client = firstText(claims['client_id'], claims['azp'], claims['cid']);
  if (client === undefined || claims['username'] !== undefined || claims['uid'] !== undefined) return null;
  return claims['sub'] === client || claims['sub'] === `${client}@clients` ? client : null;
}

// A scope has no blank in it (RFC 6749, 3.3). A list of them API Gateway writes as `[a b]`.
const scopesOf = (claim: unknown): string[] =>
  typeof claim === 'string' ? claim.replace(/^\[(?<list>.*)\]$/su, '$<list>').split(' ') : [];

/**
 * The groups, one by one. API Gateway writes a list as `[a b]`, in which a group called `a b` looks like two, and whoever may name
 * groups could make one that ends in the name of ours. So they are read from the token, which the gateway has checked and passes on, and count
 * as far as they are in what it has read there.
 */
function groupsOf({ headers }: Authorized, checked: unknown, groupsClaim: string): string[] {
  if (typeof checked !== 'string') return [];
  const groups = payloadOf(headers?.['authorization'] ?? '')[groupsClaim];
  return [groups]
    .flat()
    .filter((group): group is string => typeof group === 'string' && checked.includes(group));
}

/** The claims of a token as its issuer wrote them; none of what is not exactly one token. */
function payloadOf(authorization: string): Claims {
  const payload = /^(?:Bearer +)?[\w-]+\.(?<payload>[\w-]+)\.[\w-]+$/iu.exec(authorization)?.groups?.[
    'payload'
  ];
  try {
    return { ...(JSON.parse(Buffer.from(payload ?? '', 'base64url').toString()) as Claims) };
  } catch {
    return {};
  }
}

const firstText = (...claims: unknown[]): string | undefined =>
  claims.find((claim): claim is string => typeof claim === 'string' && claim !== '');

/**
 * Lets a request through to its route when its caller has the role for it. Throws ForbiddenError, and InvalidTokenError.
 *
 * @param needed the role that each route takes (`rolesOf`), by the time of the first request
 */
export function checkRole(needed: ReadonlyMap<string, Role>, groupsClaim: string): MiddlewareHandler {
  return async (context, next) => {
    const caller = callerOf((context.env as { event: Authorized }).event, groupsClaim);
    const { role } = caller;
    const route = matchedRoutes(context).find(({ method, path }) => needed.has(`${method} ${path}`));
    // What there is no route for, and the description of the API, is for everybody with a role.
    const least = (route && needed.get(`${route.method} ${route.path}`)) ?? 'read';
    if (role === null || roles.indexOf(role) < roles.indexOf(least)) {
      throw new ForbiddenError(
        `This takes the role ${least}; ${role === null ? 'the caller has none' : `the caller's is ${role}`}.`,
        scopeOf(least),
      );
    }
    context.set('caller', caller);
    await next();
  };
}

/**
 * The role that each route takes, by its method and path as the router has them. Throws when a route names none: then nobody shall be
 * served.
 */
export function rolesOf({ openAPIRegistry }: Pick<OpenAPIHono, 'openAPIRegistry'>): Map<string, Role> {
  return new Map(
    openAPIRegistry.definitions.flatMap((definition) => {
      if (definition.type !== 'route') return [];
      const { method, path, security = [] } = definition.route;
      const route = `${method.toUpperCase()} ${path.replaceAll(/\{(?<name>\w+)\}/gu, ':$<name>')}`;
      const scope = security.flatMap(({ bearer = [] }) => bearer)[0];
      const role = roles.find((one) => scopeOf(one) === scope);
      if (role === undefined) throw new Error(`The route ${route} does not say which role it takes.`);
      return [[route, role] as const];
    }),
  );
}
