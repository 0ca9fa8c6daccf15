import type { HonoRequest, MiddlewareHandler } from 'hono';
import { InvalidInputError, TooLargeError, type FieldError } from '../../shared/errors.ts';
import { parseExact } from '../../shared/filters/exact-json.ts';
import { isObject } from '../../shared/json-object.ts';

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
    const body = parse(text);
    for (const error of forbiddenKeys(body, req.path)) {
      forbidden.push(error);
      if (forbidden.length === maxForbidden) break;
    }
    if (forbidden.length > 0) throw new InvalidInputError(forbidden);
    const exact = withExactFilters(body, text);
    if (exact !== null) req.json = async () => exact as never;
  }
  await next();
};

/** Where it matters how numbers are written, and every name is a field like any other: filters, and the events that they are tried on. */
const isOfFilter = ([first, second]: readonly string[], path: string): boolean =>
  first === 'filter' ||
  (first === 'handler' && second === 'filter') ||
  (first === 'event' && path === '/v1/filters/test');

/** The body with these parts as `parseExact` has them; null when there are none. */
function withExactFilters(body: unknown, text: string): object | null {
  if (!isObject(body)) return null;
  const { handler } = body;
  if (!isObject(body['filter']) && !(isObject(handler) && isObject(handler['filter']))) return null;
  const exact = parseExact(text) as { filter: unknown; event: unknown; handler: { filter: unknown } };
  return {
    ...body,
    ...(isObject(body['filter']) && { filter: exact.filter }),
    ...('event' in body && 'filter' in body && { event: exact.event }),
    ...(isObject(handler) &&
      'filter' in handler && { handler: { ...handler, filter: exact.handler.filter } }),
  };
}

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
function* forbiddenKeys(value: unknown, route: string, path: readonly string[] = []): Generator<FieldError> {
  if (typeof value !== 'object' || value === null) return;
  if (path.length >= maxDepth) {
    yield { field: path[0] ?? 'body', message: `is nested more than ${maxDepth} levels deep` };
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    if (key === '__proto__' && !isOfFilter(path, route))
      yield { field: [...path, key].join('.'), message: 'is not allowed as a key' };
    else yield* forbiddenKeys(member, route, [...path, key]);
  }
}

/**
 * Throws InvalidInputError when there is no body. One that is empty and of no type counts as {}: where all fields may be left out, the request
 * would be done without having said anything.
 */
export async function requireBody(request: Pick<HonoRequest, 'text'>): Promise<void> {
  if ((await request.text()) === '') throw new InvalidInputError([{ field: 'body', message: 'is empty' }]);
}
