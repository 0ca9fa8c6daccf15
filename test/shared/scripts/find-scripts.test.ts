import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findScripts } from '../../../shared/scripts/find-scripts.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'handoff-find-scripts-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, text = ''): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}
const names = () => findScripts(root).map(({ name }) => name);

describe('findScripts', () => {
  it('finds none where there is no folder, and none in an empty one', () => {
    expect(findScripts(join(root, 'scripts'))).toEqual([]);
    expect(findScripts(root)).toEqual([]);
  });

  it('takes a folder with one of the two entry files for a script, and sorts them by name', () => {
    write('sync-crm/lambda.ts');
    write('notify/lambda_function.py');
    write('b2/lambda.ts');

    expect(findScripts(root)).toEqual([
      {
        name: 'b2',
        language: 'typescript',
        description: '',
        memoryMb: 256,
        environment: {},
        folder: join(root, 'b2'),
        entry: join(root, 'b2/lambda.ts'),
      },
      expect.objectContaining({
        name: 'notify',
        language: 'python',
        entry: join(root, 'notify/lambda_function.py'),
      }),
      expect.objectContaining({ name: 'sync-crm', language: 'typescript' }),
    ]);
  });

  it('reads the settings of a script', () => {
    const settings = { description: 'Keeps the CRM up to date', memoryMb: 128, environment: { CRM: 'blue' } };
    write('sync-crm/lambda.ts');
    write('sync-crm/script.json', JSON.stringify(settings));

    expect(findScripts(root)).toEqual([expect.objectContaining(settings)]);
  });

  it('passes over hidden folders, plain files, caches and packages', () => {
    write('sync-crm/lambda.ts');
    write('.venv/lambda.ts');
    write('__pycache__/lambda_function.pyc');
    write('node_modules/some/package.json');
    write('README.md');
    symlinkSync(join(root, 'gone'), join(root, 'dangling'));

    expect(names()).toEqual(['sync-crm']);
  });

  it('takes names of up to 40 characters', () => {
    const longest = `a${'-1'.repeat(19)}z`;
    write(`${longest}/lambda.ts`);
    expect(longest).toHaveLength(40);
    expect(names()).toEqual([longest]);
  });

  it.each(['Sync', '1st', 'sync_crm', 'a'.repeat(41), 'sync crm', '-a'])('refuses the name %j', (name) => {
    write(`${name}/lambda.ts`);
    expect(() => findScripts(root)).toThrow(
      `The script folder ${join(root, name)} has a bad name: 1 to 40 lower-case letters, digits and hyphens, and a letter first.`,
    );
  });

  it('refuses a folder without an entry file, and one with two', () => {
    write('one/lambda.js');
    mkdirSync(join(root, 'one/lambda.ts'));
    expect(() => findScripts(root)).toThrow(
      `The script folder ${join(root, 'one')} has neither a lambda.ts nor a lambda_function.py.`,
    );
    rmSync(join(root, 'one'), { recursive: true });

    write('two/lambda.ts');
    write('two/lambda_function.py');
    expect(() => findScripts(root)).toThrow(
      `The script folder ${join(root, 'two')} has both a lambda.ts and a lambda_function.py: one must go.`,
    );
  });

  it.each([
    ['{', /is not JSON: /u],
    ['[]', /bad script\.json: Invalid input: expected object, received array\.$/u],
    [{ descripton: 'x' }, /"descripton"/u],
    [{ description: 'x'.repeat(201) }, /description: has more than 200 characters\.$/u],
    [{ memoryMb: 127 }, /memoryMb: .*128/u],
    [{ memoryMb: 10_241 }, /memoryMb: .*10240/u],
    [{ memoryMb: 256.5 }, /memoryMb: /u],
    [{ environment: { SIZE: 1 } }, /environment\.SIZE: .*string/u],
    [{ environment: { AWS_REGION: 'x' } }, /environment\.AWS_REGION: names that begin with AWS_ or LAMBDA_/u],
    [{ environment: { LAMBDA_X: 'x' } }, /environment\.LAMBDA_X: names that begin with AWS_ or LAMBDA_/u],
    [{ environment: { _HANDLER: 'x' } }, /environment\._HANDLER: a name has letters, digits and _/u],
    [{ environment: { ZERO: 'a\u0000b' } }, /environment\.ZERO: must not have U\+0000/u],
    [{ environment: { BIG: 'ü'.repeat(2047) } }, /environment: .*at most 4096 bytes/u],
  ])('refuses the settings %j', (settings, message) => {
    write('sync-crm/lambda.ts');
    write('sync-crm/script.json', typeof settings === 'string' ? settings : JSON.stringify(settings));

    expect(() => findScripts(root)).toThrow(message);
    expect(() => findScripts(root)).toThrow(`The script folder ${join(root, 'sync-crm')} `);
  });

  it('takes an environment of exactly 4 KB', () => {
    write('sync-crm/lambda.ts');
    write('sync-crm/script.json', JSON.stringify({ environment: { BI: 'ü'.repeat(2047) } }));
    expect(names()).toEqual(['sync-crm']);
  });
});
