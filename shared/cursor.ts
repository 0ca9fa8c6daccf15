import type { z } from 'zod';
import { InvalidInputError } from './errors.ts';

/** The position where a page ended, as the opaque text that callers hand back for the next one. */
export const encodeCursor = (position: unknown): string =>
  Buffer.from(JSON.stringify(position)).toString('base64url');

/**
 * The position in a cursor. Throws InvalidInputError for whatever is none of this list.
 *
 * @param schema what positions of the list look like
 */
export function decodeCursor<Schema extends z.ZodType>(cursor: string, schema: Schema): z.output<Schema> {
  const parsed = schema.safeParse(parse(Buffer.from(cursor, 'base64url').toString('utf8')));
  if (parsed.success) return parsed.data;
  throw notACursor(parsed.error);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw notACursor(error);
  }
}

const notACursor = (cause: unknown) =>
  new InvalidInputError([{ field: 'cursor', message: 'is not a cursor of this list' }], { cause });
