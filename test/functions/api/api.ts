import { expect } from 'vitest';
import { ApiEnv } from '../../../functions/api/env.ts';
import type { Problem } from '../../../functions/api/problem.ts';
import { createRouter } from '../../../functions/api/router.ts';
import { buildServices } from '../../../functions/api/services.ts';
import { scriptFunctionPrefix } from '../../../local/lambda-endpoint.ts';
import { parseEnv } from '../../../shared/env.ts';
import { findScripts } from '../../../shared/scripts/find-scripts.ts';
import { knowSecret } from '../../support/known-secrets.ts';
import { startLambda } from '../../support/scripts.ts';
import { startEnvironment, type Environment } from '../environment.ts';
import { authorized, machine, type Claims } from './authorized.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- what comes over the wire; each test says what it must be
export type Body = any;
/** `text`: the body as it came. */
export type Answer = { status: number; headers: Headers; body: Body; text: string };

/** The scripts of the deployment that the tests' API belongs to: the project's own. */
export const scripts = findScripts('functions/scripts');

/** The API on real parts: what the function's own `buildServices` makes of an environment, a bus, and Lambda. */
export async function startApi(around?: Environment) {
  const environment = around ?? (await startEnvironment());
  const lambda = await startLambda({ scripts, accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '' });
  process.env['AWS_ENDPOINT_URL_LAMBDA'] = lambda.url;
  const variables = {
    ...environment.variables,
    SCRIPTS: scripts.map(({ name }) => name).join(','),
    SCRIPT_FUNCTION_PREFIX: scriptFunctionPrefix,
  };

  const open = (settings: Record<string, string> = {}) =>
    createRouter(buildServices(parseEnv(ApiEnv, { ...variables, ...settings })));
  const router = open();

  /** A request with a JSON body, or with a body and headers as they are given. */
  async function request(
    method: string,
    path: string,
    body?: unknown,
    {
      headers = {},
      app = router,
      claims = machine('handoff/admin'),
    }: {
      headers?: Record<string, string>;
      app?: typeof router;
      /** Of the caller's token. */
      claims?: Claims;
    } = {},
  ): Promise<Answer> {
    const response = await app.request(
      path,
      {
        method,
        headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
        ...(body !== undefined && {
          body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
        }),
      },
      { event: authorized(claims) },
    );
    const text = await response.text();
    const answer: Body = text === '' ? null : JSON.parse(text);
    if (typeof answer?.secret === 'string') knowSecret(answer.id as string, answer.secret as string);
    return { status: response.status, headers: response.headers, body: answer, text };
  }

  /** Creates a handler and gives it as the API answered, without its secret. */
  async function create(input: Record<string, unknown> = {}, app = router): Promise<Body> {
    const { status, body } = await request('POST', '/v1/handlers', { ...aHandlerInput(), ...input }, { app });
    if (status !== 201) throw new Error(`The handler was not created: ${JSON.stringify(body)}`);
    const { secret: _, ...handler } = body as Record<string, unknown>;
    return handler;
  }

  return {
    ...environment,
    variables,
    router,
    open,
    request,
    create,
    published: environment.bus.published,
    /** After each test. */
    async clear() {
      await environment.clear();
    },
    async [Symbol.asyncDispose]() {
      await lambda[Symbol.asyncDispose]();
      if (around === undefined) await environment[Symbol.asyncDispose]();
    },
  };
}

export type Api = Awaited<ReturnType<typeof startApi>>;

/** The least that POST /v1/handlers needs. */
export const aHandlerInput = () => ({
  name: 'CRM sync',
  events: ['client.create'],
  target: { type: 'http', url: 'https://crm.example/hook' },
});

/** An event type of a deployer's. */
export const anEventTypeInput = () => ({
  label: 'CRM: merged',
  description: 'Two contacts became one.',
  schema: {
    type: 'object',
    required: ['objectId', 'data'],
    properties: {
      objectId: { type: 'string' },
      data: {
        type: 'object',
        required: ['into'],
        properties: { into: { $ref: '#/$defs/contactId' }, score: { type: 'number' } },
      },
    },
    $defs: { contactId: { type: 'string', pattern: '^c-[0-9]+$' } },
  },
  sample: { objectId: 'c-7', data: { into: 'c-8', score: 0.9 } },
});

/** Checks that an answer is a problem (RFC 9457), and gives the fields it names. */
export function fieldsOf(answer: Answer, status: number): string[] {
  const problem = answer.body as Problem;
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(problem).toEqual({
    type: 'about:blank',
    title: expect.stringMatching(/./u) as string,
    status,
    detail: expect.stringMatching(/./u) as string,
    ...(problem.errors !== undefined && { errors: expect.any(Array) as unknown[] }),
  });
  expect(answer.status).toBe(status);
  // A 400 always says what is wrong.
  if (status === 400) expect(problem.errors?.length).toBeGreaterThan(0);
  for (const error of problem.errors ?? []) {
    expect(error).toEqual({
      field: expect.stringMatching(/./u) as string,
      message: expect.stringMatching(/./u) as string,
    });
  }
  return (problem.errors ?? []).map(({ field }) => field);
}

/** What the answer says about one field. */
export const messageOf = (answer: Answer, field: string): string | undefined =>
  (answer.body as Problem).errors?.find((error) => error.field === field)?.message;
