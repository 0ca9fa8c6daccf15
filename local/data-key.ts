import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tablesFolder } from './dynamodb.ts';
import { keptSecret } from './kept-secret.ts';
import { StartError } from './start-error.ts';

const keyBytes = 32;

export type DataKeyFile = {
  /** Absolute when the folder was; the functions get it as `file:<path>`. */
  file: string;
  /** Deletes the file where nothing is to be kept. */
  discard: () => Promise<void>;
};

/**
 * The file with the 32 bytes that encrypt the secrets of handlers, made at the first start. Without a folder it
 * stands in a private temporary one until `discard`.
 */
export async function openDataKeyFile(folder: string | null): Promise<DataKeyFile> {
  const home = folder ?? (await mkdtemp(join(tmpdir(), 'handoff-')));
  const file = join(home, 'data-key');
  // A new key would be taken without a word, and no secret that is stored could be read again.
  if (folder !== null && !existsSync(file) && existsSync(join(folder, tablesFolder))) {
    throw new StartError(
      `${file} is missing, and the tables beside it hold secrets that only this key opens: put it back from a backup.`,
    );
  }
  const key = await keptSecret(file, () => randomBytes(keyBytes));
  if (key.length !== keyBytes) {
    throw new StartError(
      `${file} has ${key.length} bytes instead of ${keyBytes}: put back the right file, because without it no stored secret can be read.`,
    );
  }
  return {
    file,
    async discard() {
      if (folder === null) await rm(home, { recursive: true, force: true });
    },
  };
}
