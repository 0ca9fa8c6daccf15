import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callerOf, rolesOf } from '../../../functions/api/access.ts';
import { roles, scopeOf, type Role } from '../../../shared/role.ts';
import { fieldsOf, startApi, type Api } from './api.ts';

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
      for (const [index, role] of [undefined, ...roles].entries()) {
        const claims: Record<string, string> = role === undefined ? {} : { scope: scopeOf(role) };
        const { status } = await api.request(method, url, undefined, { claims });
        const isAllowed = index - 1 >= needed;
        expect(status === 403, `${method} ${path} as ${role}`).toBe(!isAllowed);
      }
    }
  });

  it('says what it takes', async () => {
    const answer = await api.request('DELETE', '/v1/handlers/h_1', undefined, {
      claims: { scope: 'handoff/operate' },
    });
    expect(fieldsOf(answer, 403)).toEqual([]);
    expect(answer.body).toMatchObject({ detail: "This takes the role admin; the caller's is operate." });
    expect(answer.headers.get('www-authenticate')).toBe(
      'Bearer error="insufficient_scope", scope="handoff/admin"',
    );
  });

  it('that looks is open to HEAD for the same role', async () => {
    expect((await api.request('HEAD', '/v1/scripts', undefined, { claims: {} })).status).toBe(403);
    const claims = { scope: 'handoff/read' };
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
  const caller = (claims: Record<string, unknown>, groupsClaim = 'cognito:groups') =>
    callerOf({ requestContext: { authorizer: { jwt: { claims } } } }, groupsClaim);

  it.each([
    ['a scope among others', { scope: 'openid handoff/operate email' }, 'operate'],
    ['the most of several', { scope: 'handoff/read handoff/admin' }, 'admin'],
    ['a group, as API Gateway writes a list', { 'cognito:groups': '[staff handoff/operate]' }, 'operate'],
    ['a single group', { 'cognito:groups': 'handoff/read' }, 'read'],
    ['groups as a list', { 'cognito:groups': ['handoff/admin'] }, 'admin'],
    ['a scope and a group', { scope: 'handoff/read', 'cognito:groups': '[handoff/operate]' }, 'operate'],
    ['no claim', {}, null],
    [
      'a group that is only called alike',
      { 'cognito:groups': '[admin handoff/adminx xhandoff/admin]' },
      null,
    ],
    ['a role without its name', { scope: 'handoff/' }, null],
    ['another claim', { groups: 'handoff/admin' }, null],
    ['no text', { scope: { toString: () => 'handoff/admin' } }, null],
  ] as [string, Record<string, unknown>, Role | null][])('takes the role from %s', (_, claims, role) => {
    expect(caller(claims).role).toBe(role);
  });

  it('takes the groups from the claim that the settings name', () => {
    expect(caller({ roles: '[handoff/admin]' }, 'roles').role).toBe('admin');
    expect(caller({ 'cognito:groups': '[handoff/admin]' }, 'roles').role).toBeNull();
  });

  it('knows the caller by name', () => {
    expect(caller({ username: 'ada', client_id: 'c1', sub: 's1' }).name).toBe('ada');
    expect(caller({ client_id: 'c1', sub: 's1' }).name).toBe('c1');
    expect(caller({ sub: 's1' }).name).toBe('s1');
  });

  it('lets in whom IAM has let through, and nobody whom nobody has checked', () => {
    const userArn = 'arn:aws:iam::123456789012:user/ada';
    expect(callerOf({ requestContext: { authorizer: { iam: { userArn } } } }, 'g')).toEqual({
      name: userArn,
      role: 'admin',
    });
    for (const authorizer of [undefined, null, {}, { jwt: { claims: {} } }]) {
      expect(
        callerOf({ requestContext: authorizer === undefined ? {} : { authorizer } }, 'g').role,
      ).toBeNull();
    }
  });
});
