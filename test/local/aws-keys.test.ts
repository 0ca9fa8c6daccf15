import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { madeAwsKeys } from '../../local/aws-keys.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'handoff-keys-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('makes a pair of keys once, in a file that AWS clients read, for its user alone', async () => {
  const keys = await madeAwsKeys(folder);
  expect(keys.accessKeyId).toMatch(/^HANDOFF[0-9A-F]{13}$/u);
  expect(keys.secretAccessKey).toMatch(/^[\w-]{40}$/u);
  expect(await madeAwsKeys(folder)).toEqual(keys);
  const file = join(folder, 'aws-credentials');
  expect(await readFile(file, 'utf8')).toBe(
    `[default]\naws_access_key_id = ${keys.accessKeyId}\naws_secret_access_key = ${keys.secretAccessKey}\n`,
  );
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

it('makes others where nothing is kept', async () => {
  expect(await madeAwsKeys(null)).not.toEqual(await madeAwsKeys(null));
});

it('says what to do with a file that holds none', async () => {
  await writeFile(join(folder, 'aws-credentials'), '[default]\naws_access_key_id = x\n');
  await expect(madeAwsKeys(folder)).rejects.toThrow('delete it to have new ones made');
});
