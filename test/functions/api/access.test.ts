import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf, rolesOf } from '../../../functions/api/access.ts';
import { roles, scopeOf, type Role } from '../../../shared/role.ts';
import { InvalidTokenError } from '../../../shared/errors.ts';
import { fieldsOf, startApi, type Api } from './api.ts';
import { authorized, machine, person, tokenOf, type Claims } from './authorized.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api[Symbol.asyncDispose]());

type Operations = Record<string, Record<string, { security?: { bearer: string[] }[] }>>;

/** Every route of the document, with the scope that it names. */
async function documented(): Promise<[method: string, path: string, scope: string | undefined][]> {
  const { body } = await api.request('GET', '/v1/openapi.json');
  return Object.entries((body as { paths: Operations }).paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]): [string, string, string | undefined] => [
      method.toUpperCase(),
      path,
      security?.[0]?.bearer[0],
    ]),
  );
}

describe('each route', () => {
  it('names its role in the document, and is closed to those who have less', async () => {
    const routes = await documented();
    expect(routes.length).toBeGreaterThan(20);
    for (const [method, path, scope] of routes) {
      const needed = roles.findIndex((role) => scopeOf(role) === scope);
      expect(needed, `${method} ${path}`).toBeGreaterThanOrEqual(0);
      const url = path.replace('{id}', 'h_1').replace('{name}', 'client.create');
      const callers: [Role | null, Claims][] = [
        [null, {}],
        [null, person()],
        [null, { ...person(), scope: 'handoff/admin' }],
        ...roles.flatMap((role): [Role, Claims][] => [
          [role, machine(scopeOf(role))],
          [role, person(scopeOf(role))],
        ]),
      ];
      for (const [role, claims] of callers) {
        const { status } = await api.request(method, url, undefined, { claims });
        const isAllowed = role !== null && roles.indexOf(role) >= needed;
        expect(status === 403, `${method} ${path} as ${JSON.stringify(claims)}`).toBe(!isAllowed);
      }
      const idToken = { ...person('handoff/admin'), token_use: 'id' };
      expect((await api.request(method, url, undefined, { claims: idToken })).status).toBe(401);
    }
  });

  it('says what it takes', async () => {
    const answer = await api.request('DELETE', '/v1/handlers/h_1', undefined, {
      claims: machine('handoff/operate'),
    });
    expect(fieldsOf(answer, 403)).toEqual([]);
    expect(answer.body).toMatchObject({ detail: "This takes the role admin; the caller's is operate." });
    expect(answer.headers.get('www-authenticate')).toBe(
      'Bearer error="insufficient_scope", scope="handoff/admin"',
    );
  });

  it('tells somebody with an ID token what to come with', async () => {
    const claims = { ...person('handoff/admin'), token_use: 'id' };
    const answer = await api.request('GET', '/v1/handlers', undefined, { claims });
    expect(fieldsOf(answer, 401)).toEqual([]);
    expect(answer.body).toMatchObject({ detail: expect.stringContaining('access token') as string });
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
  });

  it('that looks is open to HEAD for the same role', async () => {
    expect((await api.request('HEAD', '/v1/scripts', undefined, { claims: {} })).status).toBe(403);
    const claims = machine('handoff/read');
    expect((await api.request('HEAD', '/v1/scripts', undefined, { claims })).status).toBe(200);
  });

  it('that does not exist is no news for somebody without a role', async () => {
    expect((await api.request('GET', '/v1/secrets', undefined, { claims: {} })).status).toBe(403);
    expect((await api.request('GET', '/v1/secrets')).status).toBe(404);
  });
});

it('a route that names no role keeps the API from starting', () => {
  const definition = { type: 'route', route: { method: 'post', path: '/v1/things/{id}', responses: {} } };
  const openAPIRegistry = { definitions: [definition] } as unknown as Api['router']['openAPIRegistry'];
  expect(() => rolesOf({ openAPIRegistry })).toThrow('POST /v1/things/:id does not say which role');
});

describe('callerOf', () => {
  const groups = 'cognito:groups';
  const caller = (claims: Claims, groupsClaim = groups) => callerOf(authorized(claims), groupsClaim);

  it.each([
    ['a machine’s scope among others', machine('openid handoff/operate email'), 'operate'],
    ['the most of several', machine('handoff/read handoff/admin'), 'admin'],
    ['a person’s group among others', person('staff', 'handoff/operate'), 'operate'],
    ['a single group', person('handoff/read'), 'read'],
    ['a single group that is no list', { ...person(), [groups]: 'handoff/read' }, 'read'],
    ['a scope and a group', { ...machine('handoff/read'), [groups]: ['handoff/operate'] }, 'operate'],
    ['no claim', {}, null],
    [
      'names that are only alike',
      person('admin', 'handoff/adminx', 'xhandoff/admin', '/handoff/admin'),
      null,
    ],
    ['a scope without its name', machine('handoff/'), null],
    ['another claim', { ...person(), groups: ['handoff/admin'] }, null],
    [
      'what is no text',
      { ...person(), [groups]: [{ name: 'handoff/admin' }, ['handoff/admin'], null] },
      null,
    ],
  ] as [string, Claims, Role | null][])('takes the role from %s', (_, claims, role) => {
    expect(caller(claims).role).toBe(role);
  });

  // As each issuer documents its tokens: docs/adr/0016.
  const scope = 'handoff/operate';
  it.each([
    ['Cognito', machine(scope)],
    [
      'Auth0',
      { iss: 'https://crm.eu.auth0.com/', sub: 'c1@clients', azp: 'c1', gty: 'client-credentials', scope },
    ],
    ['Okta', { sub: '0oaf5u', cid: '0oaf5u', scp: ['handoff/operate'] }],
    ['who follows RFC 9068', { sub: 'c1', client_id: 'c1', scope }],
  ])('takes the role of a machine from the scopes that it has from %s', (_, claims) => {
    expect(caller(claims).role).toBe('operate');
  });

  it.each([
    ['Cognito', { ...person(), scope }],
    ['Auth0', { sub: 'auth0|5f7c', azp: 'c1', scope }],
    ['Okta', { sub: 'ada@crm.example', uid: '00ui0', cid: '0oaf5u', scp: [scope] }],
    ['Okta, with a login like the client', { sub: '0oaf5u', uid: '00ui0', cid: '0oaf5u', scp: [scope] }],
    ['Entra', { sub: 'AAAA', oid: 'BBBB', azp: 'c1', scp: scope }],
    ['Keycloak', { sub: '7d8c', azp: 'c1', preferred_username: 'service-account-c1', scope }],
    ['a name like the client', { ...machine(scope), username: 'client-1' }],
    ['another client’s name', { sub: 'c2@clients', azp: 'c1', scope }],
    ['no subject', { client_id: 'c1', scope }],
    ['neither', { scope }],
    ['an empty name', { sub: '', client_id: '', scope }],
  ])('gives scopes no weight where a person may be involved: %s', (_, claims) => {
    expect(caller(claims).role).toBeNull();
    expect(caller({ ...claims, [groups]: ['handoff/read'] }).role).toBe('read');
  });

  it('takes the groups from the claim that the settings name', () => {
    expect(caller({ sub: 's', roles: ['handoff/admin'] }, 'roles').role).toBe('admin');
    expect(caller(person('handoff/admin'), 'roles').role).toBeNull();
    const url = 'https://crm.example/roles';
    expect(caller({ sub: 's', [url]: ['handoff/admin'] }, url).role).toBe('admin');
  });

  it.each([
    [['staff handoff/admin']],
    [['handoff/admin staff']],
    [['staff] [handoff/admin']],
    [['staff,handoff/admin']],
    [['[handoff/admin]']],
    ['staff handoff/admin'],
    ['[handoff/admin]'],
  ])('does not take the group %j for one of ours', (named) => {
    expect(caller({ ...person(), [groups]: named }).role).toBeNull();
  });

  it('believes no list that the gateway has not read, and no token that it has not', () => {
    const checked = person('staff handoff/admin');
    const role = (authorization: string) => callerOf(authorized(checked, authorization), groups).role;
    const admin = tokenOf(person('handoff/admin'));

    expect(role(`Bearer ${tokenOf(person('handoff/operate'))}`)).toBeNull();
    for (const unusual of [
      '',
      'Bearer',
      `Basic ${admin}`,
      `Bearer ${admin}, Bearer ${admin}`,
      'Bearer a.b.c',
    ]) {
      expect(role(unusual), unusual).toBeNull();
    }
    expect(callerOf({ requestContext: authorized(checked).requestContext }, groups).role).toBeNull();
  });

  it('reads the groups of a token without the scheme, and with any case of it', () => {
    const claims = person('handoff/read', 'handoff/operate');
    for (const authorization of [tokenOf(claims), `bearer ${tokenOf(claims)}`]) {
      expect(callerOf(authorized(claims, authorization), groups).role).toBe('operate');
    }
  });

  it('knows people by their name and machines by their client', () => {
    expect(caller(person()).name).toBe('ada');
    expect(caller({ sub: 'auth0|5f7c', azp: 'c1' }).name).toBe('auth0|5f7c');
    expect(caller(machine('handoff/read')).name).toBe('client-1');
    expect(caller({ sub: 'c1@clients', azp: 'c1' }).name).toBe('c1');
    expect(caller({}).name).toBe('nobody');
  });

  it.each([
    ['says so, as Cognito does', { ...person('handoff/admin'), token_use: 'id' }],
    ['has a hash of the access token', { ...person('handoff/admin'), at_hash: 'fPlsvVszI29LU2UhDyJ9vg' }],
  ])('refuses an ID token that %s', (_, claims) => {
    expect(() => caller(claims)).toThrow(InvalidTokenError);
  });

  it('takes nobody for somebody whom no gatekeeper has checked', () => {
    const { headers } = authorized(person('handoff/admin'));
    for (const authorizer of [undefined, null, {}, { jwt: { claims: {} } }]) {
      const requestContext = authorizer === undefined ? {} : { authorizer };
      expect(callerOf({ headers, requestContext }, groups)).toEqual({ name: 'nobody', role: null });
    }
  });
});
