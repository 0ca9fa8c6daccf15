import { STATUS_CODES } from 'node:http';
import { z } from '@hono/zod-openapi';
import type { FieldError } from '../../shared/errors.ts';

/** An error of the API: RFC 9457, with the fields at fault on a 400. */
export const Problem = z
  .object({
    type: z.literal('about:blank'),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  })
  .openapi('Problem');
export type Problem = z.output<typeof Problem>;

export const problemOf = (status: number, detail: string, errors?: readonly FieldError[]): Problem => ({
  type: 'about:blank',
  title: STATUS_CODES[status] ?? 'Error',
  status,
  detail,
  ...(errors && { errors: [...errors] }),
});

const descriptions = {
  400: 'The request is not valid; `errors` names each field',
  403: 'The caller does not have the role that this takes (`security`)',
  404: 'There is no such thing',
  409: 'It is in a state in which this cannot be done',
  412: 'It has changed since it was read (If-Match)',
  413: 'The body, or the event in it, is too large',
} as const;

/** The error answers of a route, for its OpenAPI entry; 401 and 403 are answers of every route. */
export function problems<Status extends Exclude<keyof typeof descriptions, 403>>(...statuses: Status[]) {
  const answer = (status: keyof typeof descriptions) => ({
    description: descriptions[status],
    content: { 'application/problem+json': { schema: Problem } },
  });
  const answers = Object.fromEntries([...statuses, 403 as const].map((status) => [status, answer(status)]));
  return { ...answers, 401: unauthorized } as Record<Status | 403, ReturnType<typeof answer>> & {
    401: typeof unauthorized;
  };
}

// In AWS it is the gateway that answers, with a body of its own.
const unauthorized = { description: 'There is no access token, or none that is good here' };
