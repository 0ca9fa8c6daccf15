import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import packageJson from '../../../package.json' with { type: 'json' };
import { anExecution } from '../../support/builders.ts';
import { startApi, type Api, type Body } from './api.ts';
import { logExecutions } from './execution-log.ts';
import { storeEventTypes, storeHandlers } from './many-handlers.ts';

let api: Api;
let document: Body;
beforeAll(async () => {
  api = await startApi();
  document = (await api.request('GET', '/v1/openapi.json')).body;
});
afterAll(() => api[Symbol.asyncDispose]());

type Schema = { $ref?: string; properties?: Record<string, Schema>; required?: string[] } & Record<
  string,
  unknown
>;
type Answer = {
  description: string;
  headers?: Record<string, { schema: object }>;
  content?: Record<string, { schema: Schema }>;
};
type Operation = {
  operationId: string;
  tags: string[];
  summary: string;
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema: Schema }[];
  requestBody?: Body;
  responses: Record<string, Answer & { $ref?: string }>;
};

/** What a reference leads to; anything else is itself. */
const resolve = <Node extends { $ref?: string }>(node: Node): Node =>
  node.$ref === undefined
    ? node
    : {
        ...node.$ref
          .split('/')
          .slice(1)
          .reduce((parent, key) => parent[key], document),
        ...node,
        $ref: undefined,
      };

const operations = (): [route: string, operation: Operation][] =>
  Object.entries(document.paths as Record<string, Record<string, Operation>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, Operation] => [
      `${method.toUpperCase()} ${path}`,
      operation,
    ]),
  );

/** Every object in the document, with its place. */
function* nodes(value: unknown, path = '#'): Generator<[string, Record<string, unknown>]> {
  if (typeof value !== 'object' || value === null) return;
  yield [path, value as Record<string, unknown>];
  for (const [key, member] of Object.entries(value))
    yield* nodes(member, `${path}/${key.replaceAll('/', '~1')}`);
}

/** What every route can answer with, whatever it is asked: access.test.ts, http-api.test.ts and API Gateway have them. */
const ofEveryRoute = [401, 403, 413, 429, 431, 500, 503];

const declared: Record<string, number[]> = {
  'GET /v1/handlers': [200, 400],
  'POST /v1/handlers': [201, 400, 409, 413],
  'GET /v1/handlers/{id}': [200, 400, 404],
  'PUT /v1/handlers/{id}': [200, 400, 404, 409, 412, 413],
  'PATCH /v1/handlers/{id}': [200, 400, 404, 409, 412, 413],
  'DELETE /v1/handlers/{id}': [204, 400, 404, 412],
  'POST /v1/handlers/{id}/enable': [200, 400, 404, 409],
  'POST /v1/handlers/{id}/disable': [200, 400, 404, 409],
  'POST /v1/handlers/{id}/rotate-secret': [200, 400, 404, 409],
  'POST /v1/handlers/{id}/test': [200, 400, 404, 413],
  'POST /v1/handlers/test': [200, 400, 413],
  'POST /v1/handlers/{id}/recover': [200, 202, 400, 404, 409, 413],
  'GET /v1/recoveries': [200, 400],
  'GET /v1/recoveries/{id}': [200, 400, 404],
  'POST /v1/recoveries/{id}/cancel': [200, 400, 404, 409],
  'POST /v1/filters/test': [200, 400, 413],
  'GET /v1/executions': [200, 400],
  'GET /v1/executions/{id}': [200, 400, 404],
  'POST /v1/executions/{id}/retry': [202, 400, 404, 409],
  'POST /v1/events': [202, 400, 409, 413],
  'GET /v1/event-types': [200, 400],
  'GET /v1/event-types/{name}': [200, 400, 404],
  'PUT /v1/event-types/{name}': [200, 201, 400, 409, 412, 413],
  'DELETE /v1/event-types/{name}': [204, 400, 404, 412],
  'GET /v1/asyncapi.json': [200],
  'GET /v1/scripts': [200, 400],
  'GET /v1/stats': [200, 400],
  'GET /v1/dead-letters': [200, 400],
  'POST /v1/dead-letters/redrive': [200, 400, 413],
  'GET /v1/audit': [200, 400],
};

describe('GET /v1/openapi.json', () => {
  it('200: is OpenAPI 3.1, of this version', () => {
    expect(document).toMatchObject({
      openapi: '3.1.0',
      info: { title: 'Handoff', version: packageJson.version },
      security: [{ bearer: ['handoff/read'] }],
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
    });
  });

  it('has every route of the API and no other', () => {
    const routes = api.router.routes
      .filter(({ method, path }) => method !== 'ALL' && path !== '/v1/openapi.json')
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/gu, '{$1}')}`);
    expect(operations().map(([route]) => route)).toEqual(expect.arrayContaining([...new Set(routes)]));
    expect(new Set(operations().map(([route]) => route))).toEqual(new Set(routes));
  });

  it('declares the answers of every route, its errors as problems', () => {
    expect(
      Object.fromEntries(
        operations().map(([route, { responses }]) => [route, Object.keys(responses).map(Number)]),
      ),
    ).toEqual(
      Object.fromEntries(
        Object.entries(declared).map(([route, statuses]) => [
          route,
          [...new Set([...statuses, ...ofEveryRoute])].toSorted((a, b) => a - b),
        ]),
      ),
    );
    for (const [route, { responses }] of operations()) {
      for (const [status, answer] of Object.entries(responses)) {
        const { description, content } = resolve(answer);
        const types = [
          ...(Number(status) >= 400 ? ['application/problem+json'] : []),
          // From API Gateway, where it is an error.
          ...(Number(status) < 300 || ofEveryRoute.includes(Number(status)) ? ['application/json'] : []),
        ];
        expect([route, status, content && Object.keys(content)]).toEqual([
          route,
          status,
          status === '204' ? undefined : types,
        ]);
        expect(description).not.toBe('');
      }
    }
  });

  it('says of every field of an answer that it is there, and that there are no others', () => {
    const objects = new Map<string, Schema>();
    const collect = (path: string, schema: Schema): void => {
      for (const [place, node] of nodes(resolve(schema), path)) {
        if (place.includes('/example')) continue;
        if (typeof node['$ref'] === 'string') collect(place, node);
        else if (node['type'] === 'object') objects.set(place, node);
      }
    };
    for (const [route, { responses }] of operations()) {
      for (const [status, answer] of Object.entries(responses)) {
        for (const { schema } of Object.values(resolve(answer).content ?? {})) {
          collect(`${route} ${status}`, schema);
        }
      }
    }

    const optional = new Set<string>();
    for (const [place, { properties, required = [], additionalProperties }] of objects) {
      if (properties === undefined) {
        // Headers, and what upstreams have sent.
        expect([place, additionalProperties]).toEqual([place, expect.any(Object)]);
        continue;
      }
      expect([place, additionalProperties]).toEqual([place, false]);
      for (const name of Object.keys(properties).filter((key) => !required.includes(key))) optional.add(name);
    }
    expect(objects.size).toBeGreaterThan(100);
    expect([...optional].toSorted()).toEqual(['errors', 'reasons', 'scope', 'searchedBackTo']);
  });

  it('has a name, a tag and a summary for every route, and words for every parameter', () => {
    const ids = operations().map(([, { operationId }]) => operationId);
    expect(new Set(ids).size).toBe(operations().length);
    expect(ids.every((id) => /^[a-z]+[A-Za-z]+$/u.test(id))).toBe(true);
    const tags = (document.tags as { name: string; description: string }[]).map(({ name }) => name);
    expect(new Set(operations().flatMap(([, operation]) => operation.tags))).toEqual(new Set(tags));
    for (const [route, { summary, parameters = [] }] of operations()) {
      expect(summary).not.toBe('');
      for (const { name, description = '' } of parameters)
        expect([route, name, description]).not.toContain('');
    }
  });

  it('shows examples that are what they are examples of', () => {
    const { schemas } = document.components as { schemas: Record<string, Schema> };
    const shown = Object.entries(schemas).filter(([, { example }]) => example !== undefined);
    expect(shown.map(([name]) => name)).toEqual(
      expect.arrayContaining(['HandlerInput', 'Handler', 'Execution', 'Recovery', 'NewEvent', 'Problem']),
    );
    for (const [name, { example, properties = {}, required = [] }] of shown) {
      const keys = Object.keys(example as object);
      expect([name, keys.filter((key) => !(key in properties))]).toEqual([name, []]);
      expect([name, required.filter((key) => !keys.includes(key))]).toEqual([name, []]);
    }
  });

  it('says which answers have an ETag, and where what was made is', () => {
    const having = (header: string) =>
      operations().flatMap(([route, { responses }]) =>
        Object.entries(responses)
          .filter(([, answer]) => resolve(answer).headers?.[header] !== undefined)
          .map(([status]) => `${status} ${route}`),
      );
    expect(having('location')).toEqual(['201 POST /v1/handlers', '202 POST /v1/handlers/{id}/recover']);
    expect(having('etag').toSorted()).toEqual([
      '200 GET /v1/event-types/{name}',
      '200 GET /v1/handlers/{id}',
      '200 PATCH /v1/handlers/{id}',
      '200 POST /v1/handlers/{id}/disable',
      '200 POST /v1/handlers/{id}/enable',
      '200 POST /v1/handlers/{id}/rotate-secret',
      '200 PUT /v1/event-types/{name}',
      '200 PUT /v1/handlers/{id}',
      '201 POST /v1/handlers',
      '201 PUT /v1/event-types/{name}',
    ]);
    expect(new Set(having('www-authenticate').map((answer) => answer.slice(0, 3)))).toEqual(
      new Set(['401', '403']),
    );
  });

  it('declares no answer that cannot be had', async () => {
    // Nobody listens there, which a test of the handler finds out at once.
    const target = { type: 'http', url: 'http://127.0.0.1:9/hook' };
    const live = await api.create({ target });
    const archived = await api.create({ status: 'archived' });
    const rotated = `/v1/handlers/${(await api.create()).id}`;
    for (let times = 0; times < 4; times++) await api.request('POST', `${rotated}/rotate-secret`);
    await logExecutions(api, [
      anExecution({ handlerId: live.id, time: '2026-11-23T10:00:01.000Z' }),
      anExecution({ handlerId: archived.id }),
    ]);
    const [execution, ofArchived] = (await api.request('GET', '/v1/executions')).body.items;
    const large = { name: 'x'.repeat(1024 * 1024) };
    const unchanged = { name: 'n', events: ['*'], target: live.target };
    const stale = { 'if-match': '"0"' };
    const used = { 'idempotency-key': 'k-1' };
    const [one, old] = [`/v1/handlers/${live.id}`, `/v1/handlers/${archived.id}`];
    const range = { from: '2026-11-23T10:00:00Z', to: '2026-11-23T11:00:00Z' };
    const { body: recovery } = await api.request('POST', `${one}/recover`, range);
    const [ownType, typeInput] = [
      '/v1/event-types/crm.merged',
      { label: 'CRM: merged', schema: {}, sample: {} },
    ];
    const [none, long] = ['/v1/handlers/h_gone', `/v1/handlers/${'x'.repeat(65)}`];

    const requests: Record<string, [path: string, body?: unknown, headers?: Record<string, string>][]> = {
      // Before the handler is disabled.
      'POST /v1/executions/{id}/retry': [execution.id, 'x'.repeat(1025), 'x_1', ofArchived.id].map(
        (executionId) => [`/v1/executions/${executionId}/retry`],
      ),
      'POST /v1/handlers/{id}/recover': [
        [`${one}/recover`, { ...range, dryRun: true }],
        [`${one}/recover`, range],
        [`${one}/recover`, {}],
        [`${none}/recover`, range],
        [`${old}/recover`, range],
        [`${one}/recover`, large],
      ],
      'GET /v1/recoveries': [['/v1/recoveries'], ['/v1/recoveries?limit=0']],
      'GET /v1/recoveries/{id}': [recovery.id, 'x'.repeat(65), 'r_gone'].map((recoveryId) => [
        `/v1/recoveries/${recoveryId}`,
      ]),
      'POST /v1/recoveries/{id}/cancel': [recovery.id, recovery.id, 'x'.repeat(65), 'r_gone'].map(
        (recoveryId) => [`/v1/recoveries/${recoveryId}/cancel`],
      ),
      'GET /v1/audit': [['/v1/audit'], ['/v1/audit?limit=0']],
      'GET /v1/handlers': [['/v1/handlers'], ['/v1/handlers?limit=0']],
      'POST /v1/handlers': [
        ['/v1/handlers', unchanged],
        ['/v1/handlers', {}],
        ['/v1/handlers', large],
      ],
      'GET /v1/handlers/{id}': [[one], [long], [none]],
      'PUT /v1/handlers/{id}': [
        [one, unchanged],
        [one, {}],
        [none, unchanged],
        [one, unchanged, stale],
        [one, large],
      ],
      'PATCH /v1/handlers/{id}': [
        [one, {}],
        [one, { priority: 0 }],
        [none, {}],
        [one, {}, stale],
        [one, large],
      ],
      'POST /v1/handlers/{id}/enable': [one, long, none, old].map((path) => [`${path}/enable`]),
      'POST /v1/handlers/{id}/disable': [one, long, none, old].map((path) => [`${path}/disable`]),
      'POST /v1/handlers/{id}/rotate-secret': [one, long, none, rotated].map((path) => [
        `${path}/rotate-secret`,
      ]),
      'POST /v1/handlers/{id}/test': [
        [`${one}/test`],
        [`${one}/test`, { event: 1 }],
        [`${none}/test`],
        [`${one}/test`, large],
      ],
      'POST /v1/handlers/test': [
        ['/v1/handlers/test', { handler: unchanged, send: false }],
        ['/v1/handlers/test', {}],
        ['/v1/handlers/test', large],
      ],
      'POST /v1/filters/test': [
        ['/v1/filters/test', { filter: { a: [1] }, event: { a: 1 } }],
        ['/v1/filters/test', { filter: { a: 1 }, event: {} }],
        ['/v1/filters/test', large],
      ],
      'GET /v1/executions': [['/v1/executions'], ['/v1/executions?limit=0']],
      'GET /v1/executions/{id}': [
        [`/v1/executions/${execution.id}`],
        [`/v1/executions/${'x'.repeat(1025)}`],
        ['/v1/executions/x_1'],
      ],
      'POST /v1/events': [
        ['/v1/events', { type: 'crm.x' }, used],
        ['/v1/events', {}],
        ['/v1/events', { type: 'crm.y' }, used],
        ['/v1/events', large],
      ],
      'GET /v1/event-types': [['/v1/event-types'], ['/v1/event-types?limit=0']],
      'GET /v1/event-types/{name}': ['client.create', 'x'.repeat(129), 'crm.x'].map((name) => [
        `/v1/event-types/${name}`,
      ]),
      'PUT /v1/event-types/{name}': [
        [ownType, typeInput],
        [ownType, typeInput],
        [ownType, {}],
        [ownType, typeInput, stale],
        [ownType, large],
      ],
      'DELETE /v1/event-types/{name}': [
        [`/v1/event-types/${'x'.repeat(129)}`],
        ['/v1/event-types/crm.gone'],
        [ownType, undefined, stale],
        [ownType],
      ],
      'GET /v1/asyncapi.json': [['/v1/asyncapi.json']],
      'GET /v1/scripts': [['/v1/scripts'], ['/v1/scripts?limit=0']],
      'GET /v1/stats': [['/v1/stats'], ['/v1/stats?from=now']],
      'GET /v1/dead-letters': [['/v1/dead-letters'], ['/v1/dead-letters?limit=0']],
      'POST /v1/dead-letters/redrive': [{ all: true }, {}, large].map((body) => [
        '/v1/dead-letters/redrive',
        body,
      ]),
      // The last one, since the handler is gone after it.
      'DELETE /v1/handlers/{id}': [[long], [none], [one, undefined, stale], [one]],
    };
    const had: Record<string, number[]> = {};
    for (const [route, calls] of Object.entries(requests)) {
      const [method = ''] = route.split(' ');
      const statuses: number[] = [];
      for (const [path, body, headers = {}] of calls) {
        statuses.push((await api.request(method, path, body, { headers })).status);
      }
      had[route] = statuses;
    }
    await storeHandlers(api, { count: 1000, status: 'enabled' });
    for (const [route, path] of [
      ['POST /v1/handlers', '/v1/handlers'],
      ['PUT /v1/handlers/{id}', old],
      ['PATCH /v1/handlers/{id}', old],
    ] as const) {
      const [method = ''] = route.split(' ');
      const { status } = await api.request(method, path, { ...unchanged, status: 'enabled' });
      had[route]?.push(status);
    }
    await storeEventTypes(api, 500);
    const crowded = await api.request('PUT', '/v1/event-types/crm.one_more', typeInput);
    had['PUT /v1/event-types/{name}']?.push(crowded.status);
    for (const statuses of Object.values(had)) statuses.sort((a, b) => a - b);
    expect(had).toEqual(declared);
  });

  it('is sound: references lead somewhere, paths declare their parameters, and nothing is left of 3.0', () => {
    const all = new Map(nodes(document));
    for (const [path, node] of all) {
      const { $ref, nullable, type, properties, required, enum: values } = node;
      // A property may be called anything.
      if (path.endsWith('/properties') || path.includes('/example')) continue;
      if (typeof $ref === 'string') expect([path, all.has($ref)]).toEqual([path, true]);
      expect([path, nullable]).toEqual([path, undefined]);
      if (typeof type === 'string' && path.includes('/schema')) {
        expect(['string', 'number', 'integer', 'boolean', 'array', 'object', 'null', 'http']).toContain(type);
      }
      if (Array.isArray(values)) expect(values.length).toBeGreaterThan(0);
      // A pattern is the source of a regular expression (ECMA-262), without slashes and flags.
      if (typeof node['pattern'] === 'string') {
        expect([path, node['pattern']]).toEqual([path, expect.not.stringMatching(/\/[a-z]*$/u)]);
        expect(() => new RegExp(String(node['pattern']), 'u')).not.toThrow();
      }
      if (Array.isArray(required) && properties !== undefined) {
        expect(Object.keys(properties as object)).toEqual(expect.arrayContaining(required));
      }
    }
    for (const [route, { parameters = [], requestBody }] of operations()) {
      const inPath = [...route.matchAll(/\{(\w+)\}/gu)].map(([, name]) => name);
      const named = parameters.filter((parameter) => parameter.in === 'path');
      expect(named.map(({ name, required }) => [name, required])).toEqual(inPath.map((name) => [name, true]));
      expect(new Set(parameters.map((parameter) => `${parameter.in} ${parameter.name}`)).size).toBe(
        parameters.length,
      );
      const takesBody =
        /^(?:PUT|PATCH)|POST \/v1\/(?:\w+|(?:handlers|filters)\/test|handlers\/\{id\}\/recover|dead-letters\/redrive)$/u.test(
          route,
        );
      expect([route, requestBody?.required]).toEqual([route, takesBody ? true : undefined]);
    }
  });

  it('shows the defaults of what is sent', () => {
    const schema: Body = resolve(
      document.paths['/v1/handlers'].post.requestBody.content['application/json'].schema as Schema,
    );
    expect(schema.required).toEqual(['name', 'events', 'target']);
    expect(schema.additionalProperties).toBe(false);
    const defaults = Object.fromEntries(
      Object.entries(schema.properties as Record<string, Body>)
        .filter(([, property]) => 'default' in property)
        .map(([name, property]) => [name, property.default as unknown]),
    );
    // The generator leaves a default of null out where a field has the type null alone, so far.
    expect(defaults).toEqual({
      description: '',
      transform: null,
      status: 'enabled',
      priority: 100,
      onFailure: 'continue',
      retry: { schedule: 'default' },
      rateLimit: null,
    });
    expect(schema.properties.filter).toMatchObject({ type: ['object', 'null'] });
    expect(schema.properties.transform).toMatchObject({ type: ['string', 'null'], maxLength: 8192 });
    expect(schema.properties.rateLimit).toMatchObject({
      type: ['object', 'null'],
      properties: { perSecond: { type: 'number', minimum: 0.01, maximum: 1000 } },
      additionalProperties: false,
    });
    const target = JSON.stringify(schema.properties.target);
    for (const said of ['"default":"POST"', '"default":{}', '"default":10000', '"default":"standard"']) {
      expect(target).toContain(said);
    }
    const limit = (document.paths['/v1/handlers'].get.parameters as Body[]).find(
      ({ name }) => name === 'limit',
    );
    expect(limit.schema).toMatchObject({ default: 20, minimum: 1, maximum: 100 });
  });
});
