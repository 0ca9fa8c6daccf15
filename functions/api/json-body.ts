import type { MiddlewareHandler } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { InvalidInputError, type FieldError } from '../../shared/errors.ts';

const maxBodyBytes = 256 * 1024;
const maxEventBodyBytes = 1024 * 1024;

/** Refuses a body that is too large, is no JSON, or has keys that would reach an object's prototype. */
export const readJsonBody: MiddlewareHandler = async ({ req }, next) => {
  const text = await req.text();
  const maxBytes = req.path === '/v1/events' ? maxEventBodyBytes : maxBodyBytes;
  if (Buffer.byteLength(text) > maxBytes) {
    throw new HTTPException(413, { message: `The body has more than ${maxBytes} bytes.` });
  }
  if (text !== '') {
    if (!/^application\/([\w.-]+\+)?json\b/iu.test(req.header('content-type') ?? '')) {
      throw new InvalidInputError([{ field: 'content-type', message: 'must be application/json' }]);
    }
    const forbidden = prototypeKeys(parse(text));
    if (forbidden.length > 0) throw new InvalidInputError(forbidden);
  }
  await next();
};

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidInputError(
      [{ field: 'body', message: `is not JSON: ${(error as SyntaxError).message}` }],
      {
        cause: error,
      },
    );
  }
}

// `JSON.parse` makes an own key of it; the next one to copy it with an assignment sets a prototype.
function prototypeKeys(value: unknown, path: readonly string[] = []): FieldError[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) =>
    key === '__proto__'
      ? [{ field: [...path, key].join('.'), message: 'is not allowed as a key' }]
      : prototypeKeys(member, [...path, key]),
  );
}
