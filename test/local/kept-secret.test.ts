import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDataKeyFile } from '../../local/data-key.ts';
import { keptSecret } from '../../local/kept-secret.ts';
import { madeToken } from '../../local/token.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'handoff-secret-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const modeOf = (path: string): number => statSync(path).mode & 0o777;

describe('keptSecret', () => {
  it('makes the file once, for its user alone, and leaves nothing beside it', async () => {
    const file = join(folder, 'deeper', 'secret');
    expect((await keptSecret(file, () => Buffer.from('one'))).toString()).toBe('one');
    expect((await keptSecret(file, () => Buffer.from('two'))).toString()).toBe('one');
    expect(modeOf(file)).toBe(0o600);
    expect(modeOf(dirname(file))).toBe(0o700);
    expect(readdirSync(dirname(file))).toEqual(['secret']);
  });

  it('says which file cannot be read', async () => {
    await expect(keptSecret(folder, () => Buffer.from('one'))).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining(`${folder} cannot be read`) as string,
    });
  });

  it('gives all that start at the same time the same secret', async () => {
    const file = join(folder, 'secret');
    const secrets = await Promise.all(
      Array.from({ length: 8 }, (_, index) => keptSecret(file, () => Buffer.from(String(index)))),
    );
    expect(new Set(secrets.map(String)).size).toBe(1);
    expect(readdirSync(folder)).toEqual(['secret']);
  });
});

describe('madeToken', () => {
  it('is kept in the folder', async () => {
    const token = await madeToken(folder);
    expect(token).toMatch(/^[\w-]{32}$/u);
    expect(await madeToken(folder)).toBe(token);
    expect(readFileSync(join(folder, 'token'), 'utf8')).toBe(`${token}\n`);
  });

  it('is a new one each time when nothing is kept', async () => {
    expect(await madeToken(null)).not.toBe(await madeToken(null));
  });

  it('is not taken from a file that holds something else', async () => {
    writeFileSync(join(folder, 'token'), '\n');
    await expect(madeToken(folder)).rejects.toMatchObject({ name: 'StartError' });
  });
});

describe('openDataKeyFile', () => {
  it('keeps 32 random bytes', async () => {
    const { file, discard } = await openDataKeyFile(folder);
    const key = readFileSync(file);
    expect(key).toHaveLength(32);
    expect(modeOf(file)).toBe(0o600);
    await discard();
    expect(readFileSync((await openDataKeyFile(folder)).file)).toEqual(key);
  });

  it('stands in a private folder until discarded when nothing is to be kept', async () => {
    const { file, discard } = await openDataKeyFile(null);
    expect(modeOf(dirname(file))).toBe(0o700);
    await discard();
    expect(existsSync(dirname(file))).toBe(false);
  });

  it('refuses a file of another length, because a new key could read no stored secret', async () => {
    writeFileSync(join(folder, 'data-key'), 'short');
    await expect(openDataKeyFile(folder)).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining('5 bytes instead of 32') as string,
    });
  });

  it('makes no new key beside tables whose secrets the lost one sealed', async () => {
    mkdirSync(join(folder, 'dynamodb'));
    await expect(openDataKeyFile(folder)).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining('is missing') as string,
    });
  });
});
