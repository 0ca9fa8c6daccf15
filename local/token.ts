import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { keptSecret } from './kept-secret.ts';
import { StartError } from './start-error.ts';

const newToken = (): string => randomBytes(24).toString('base64url');

/**
 * The token of the API where none was given: made at the first start and kept in `<folder>/token`, or made anew
 * when nothing is kept (`folder` is null).
 */
export async function madeToken(folder: string | null): Promise<string> {
  if (folder === null) return newToken();
  const file = join(folder, 'token');
  const token = (await keptSecret(file, () => Buffer.from(`${newToken()}\n`))).toString().trim();
  if (!/^[\x21-\x7e]+$/u.test(token)) {
    throw new StartError(
      `${file} does not hold a token: delete it to have a new one made, or set HANDOFF_TOKEN.`,
    );
  }
  return token;
}
