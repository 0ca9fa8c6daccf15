import type { MiddlewareHandler } from 'hono';
import { InvalidInputError, TooLargeError, type FieldError } from '../../shared/errors.ts';

const maxBodyBytes = 256 * 1024;
const maxEventBodyBytes = 1024 * 1024;
// What is nested more deeply was made to exhaust a stack: this one, or that of whoever reads the event.
const maxDepth = 100;

/** What is wrong with a body of another type. */
export const contentTypeError: FieldError = { field: 'content-type', message: 'must be application/json' };

/** Refuses a body that is too large, is no JSON, or has keys that would reach an object's prototype. */
export const readJsonBody: MiddlewareHandler = async ({ req }, next) => {
  const text = decode(await req.arrayBuffer());
  const maxBytes = req.path === '/v1/events' ? maxEventBodyBytes : maxBodyBytes;
  if (Buffer.byteLength(text) > maxBytes) throw new TooLargeError('body', maxBytes);
  if (text !== '') {
    const [mediaType = ''] = (req.header('content-type') ?? '').split(';');
    if (!/^application\/([\w.-]+\+)?json$/iu.test(mediaType.trim())) {
      throw new InvalidInputError([contentTypeError]);
    }
    const forbidden: FieldError[] = [];
    for (const error of forbiddenKeys(parse(text))) {
      forbidden.push(error);
      if (forbidden.length === maxForbidden) break;
    }
    if (forbidden.length > 0) throw new InvalidInputError(forbidden);
  }
  await next();
};

// Bytes that are no UTF-8 would silently become other characters.
function decode(bytes: ArrayBuffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new InvalidInputError([{ field: 'body', message: 'is not UTF-8' }], { cause: error });
  }
}

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

// Each is named with all the keys on its way, which a body can make long and many at once.
const maxForbidden = 20;

// `JSON.parse` makes an own key of `__proto__`; the next one to copy it with an assignment sets a prototype. `constructor` and
// `prototype` only lead there from code that follows them; as data they are words like any other.
function* forbiddenKeys(value: unknown, path: readonly string[] = []): Generator<FieldError> {
  if (typeof value !== 'object' || value === null) return;
  if (path.length >= maxDepth) {
    yield { field: path[0] ?? 'body', message: `is nested more than ${maxDepth} levels deep` };
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    if (key === '__proto__') yield { field: [...path, key].join('.'), message: 'is not allowed as a key' };
    else yield* forbiddenKeys(member, [...path, key]);
  }
}
