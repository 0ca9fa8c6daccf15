import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StartError } from './start-error.ts';

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

/**
 * The bytes in `file`, made by `make` and kept with mode 600 when there is no such file. Made whole or not at
 * all, and never over an existing one, whatever else starts at the same time. Throws a StartError when it is there and cannot be read.
 */
export async function keptSecret(file: string, make: () => Buffer): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    if (!isCode(error, 'ENOENT'))
      throw new StartError(`${file} cannot be read (${(error as Error).message}).`, { cause: error });
  }
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(make());
      // Before the name is there: a key that a crash of the machine emptied would make every secret unreadable.
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Unlike a rename, a link does not replace.
    await link(temporary, file);
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  return readFile(file);
}
