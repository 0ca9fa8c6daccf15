import { STATUS_CODES } from 'node:http';
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import type { FieldError } from '../../shared/errors.ts';

/** An error of the API: RFC 9457, with the fields at fault on a 400. */
export const Problem = z
  .strictObject({
    type: z.literal('about:blank'),
    title: z.string().describe('What the status is called'),
    status: z.int().min(400).max(599).describe('The status of the answer'),
    detail: z.string().describe('What is wrong, as a sentence for the caller'),
    errors: z
      .array(
        z.strictObject({
          field: z.string().describe('As it was sent, such as `target.url`; `body` for all of it'),
          message: z.string(),
        }),
      )
      .optional()
      .describe('What is wrong with which field, at most 100'),
  })
  .openapi('Problem', {
    example: {
      type: 'about:blank',
      title: 'Bad Request',
      status: 400,
      detail: 'The request is not valid.',
      errors: [{ field: 'target.timeoutMs', message: 'Too big: expected number to be <=30000' }],
    },
  });
export type Problem = z.output<typeof Problem>;

/** What API Gateway says where a request does not get through it: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting.html */
const GatewayError = z
  .strictObject({ message: z.string() })
  .openapi('GatewayError', { example: { message: 'Unauthorized' } });

export const problemOf = (status: number, detail: string, errors?: readonly FieldError[]): Problem => ({
  type: 'about:blank',
  title: STATUS_CODES[status] ?? 'Error',
  status,
  detail,
  ...(errors && { errors: [...errors] }),
});

const challenge = {
  'www-authenticate': {
    description: 'On one machine: how to authenticate, or the scope that is missing (RFC 6750)',
    schema: { type: 'string' as const },
  },
};

/** The error answers, each described once, in `components.responses`. `gateway`: in AWS it can also come from API Gateway. */
const answers = {
  400: { name: 'Invalid', description: 'The request is not valid; `errors` names each field' },
  401: {
    name: 'Unauthenticated',
    description: 'There is no token, or none that is known',
    headers: challenge,
    gateway: true,
  },
  403: {
    name: 'Forbidden',
    description: 'The caller does not have the role that this takes (`security`)',
    headers: challenge,
    gateway: true,
  },
  404: { name: 'NotFound', description: 'There is no such thing' },
  409: { name: 'Conflict', description: 'It is in a state in which this cannot be done' },
  412: { name: 'Changed', description: 'It has changed since it was read (If-Match)' },
  413: { name: 'TooLarge', description: 'The body, or the event in it, is too large', gateway: true },
  429: {
    name: 'TooManyRequests',
    description: 'In AWS: more than 50 requests a second, of all callers together',
    gateway: true,
  },
  431: {
    name: 'HeadersTooLarge',
    description: 'The URL and the headers are too large: 16 KB on one machine, 10 KB in AWS',
    gateway: true,
  },
  500: {
    name: 'OurFault',
    description: 'Something went wrong on our side; the log has the details',
    gateway: true,
  },
  503: {
    name: 'Unavailable',
    description: 'In AWS: the function of the API cannot be run just now',
    gateway: true,
  },
} as const;
type Status = keyof typeof answers;

/** What every route can answer with, before it is asked. */
export const ofEveryRoute = [401, 403, 413, 429, 431, 500, 503] as const satisfies Status[];

/** The error answers of a route, for its OpenAPI entry, and those of every route. */
export function problems<Named extends Status>(...statuses: Named[]) {
  const all = [...statuses, ...ofEveryRoute].map((status) => [
    status,
    { $ref: `#/components/responses/${answers[status].name}` },
  ]);
  // To the compiler they are what they lead to: with a reference among its answers a route may answer with anything.
  return Object.fromEntries(all) as Record<
    Named | (typeof ofEveryRoute)[number],
    { description: string; content: { 'application/problem+json': { schema: typeof Problem } } }
  >;
}

/** Puts what `problems` refers to into the OpenAPI document. */
export function addProblems({ openAPIRegistry }: Pick<OpenAPIHono, 'openAPIRegistry'>): void {
  openAPIRegistry.register('Problem', Problem);
  openAPIRegistry.register('GatewayError', GatewayError);
  for (const { name, description, ...rest } of Object.values(answers)) {
    openAPIRegistry.registerComponent('responses', name, {
      description,
      ...('headers' in rest && { headers: rest.headers }),
      content: {
        'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
        ...('gateway' in rest && {
          'application/json': { schema: { $ref: '#/components/schemas/GatewayError' } },
        }),
      },
    });
  }
}
