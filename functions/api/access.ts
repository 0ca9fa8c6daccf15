import type { OpenAPIHono } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import { ForbiddenError } from '../../shared/errors.ts';
import { roles, scopeOf, type Role } from '../../shared/role.ts';

/**
 * Says in the OpenAPI entry of a route which role it takes. The check goes by that entry, so that the two cannot differ: `read` looks, `operate`
 * retries, recovers, tests, toggles, publishes and sends dead letters again, `admin` changes handlers.
 */
export const needs = (role: Role): Record<string, string[]>[] => [{ bearer: [scopeOf(role)] }];

/** Who makes a request, and what they may do; `role` is null for somebody who is known and may do nothing. */
export type Caller = { name: string; role: Role | null };

/** What an authorizer leaves of a token that it has checked. API Gateway writes a list as `[a b]`. */
type Claims = Partial<Record<string, unknown>>;

/** The part of a request's event that says who makes it. */
type Authorized = {
  requestContext: { authorizer?: { jwt?: { claims: Claims }; iam?: { userArn?: string } } | null };
};

/**
 * Reads who makes a request from what the gatekeeper has found out: claims of a token, from which the scopes count and the groups, each
 * called like the scope (`handoff/operate`); or IAM, by which the policy of the caller has decided, so that whoever comes through is an admin.
 * Nobody, where there was no gatekeeper.
 */
export function callerOf({ requestContext: { authorizer } }: Authorized, groupsClaim: string): Caller {
  if (authorizer?.iam?.userArn !== undefined) return { name: authorizer.iam.userArn, role: 'admin' };
  const claims = authorizer?.jwt?.claims ?? {};
  const granted = new Set([...wordsOf(claims['scope']), ...wordsOf(claims[groupsClaim])]);
  const name = [claims['username'], claims['client_id'], claims['sub']].find((claim) => claim !== undefined);
  return {
    name: typeof name === 'string' ? name : 'nobody',
    role: roles.findLast((role) => granted.has(scopeOf(role))) ?? null,
  };
}

const wordsOf = (claim: unknown): string[] =>
  typeof claim === 'string'
    ? claim.replace(/^\[(?<list>.*)\]$/su, '$<list>').split(/[\s,]+/u)
    : Array.isArray(claim)
      ? claim.filter((word) => typeof word === 'string')
      : [];

/**
 * Lets a request through to its route when its caller has the role for it. Throws ForbiddenError.
 *
 * @param needed the role that each route takes (`rolesOf`), by the time of the first request
 */
export function checkRole(needed: ReadonlyMap<string, Role>, groupsClaim: string): MiddlewareHandler {
  return async (context, next) => {
    const { role } = callerOf((context.env as { event: Authorized }).event, groupsClaim);
    const route = matchedRoutes(context).find(({ method, path }) => needed.has(`${method} ${path}`));
    // What there is no route for, and the description of the API, is for everybody with a role.
    const least = (route && needed.get(`${route.method} ${route.path}`)) ?? 'read';
    if (role === null || roles.indexOf(role) < roles.indexOf(least)) {
      throw new ForbiddenError(
        `This takes the role ${least}; ${role === null ? 'the caller has none' : `the caller's is ${role}`}.`,
        scopeOf(least),
      );
    }
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
