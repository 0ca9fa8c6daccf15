import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findScripts } from '../../shared/scripts/find-scripts.ts';

const run = promisify(execFile);

const root = fileURLToPath(new URL('../..', import.meta.url));
const scripts = findScripts(join(root, 'functions/scripts'));

const ours = [
  'ApiManageFunction',
  'DispatcherDispatchFunction',
  'RetriesRetryFunction',
  'RetriesSweepFunction',
];
const idOf = (script: string) => `Scripts${script.replaceAll('-', '')}Function`;

describe('the bundles', () => {
  let folder: string;
  // The folder of the code by the id of the function, without the hash at its end.
  let bundles: Record<string, string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'handoff-bundles-'));
    // As the cdk command does it, and without anything of AWS in the environment.
    await run(process.execPath, ['cdk/app.ts'], {
      cwd: root,
      env: { PATH: process.env['PATH'], CDK_OUTDIR: folder },
    });
    const template = JSON.parse(await readFile(join(folder, 'Handoff.template.json'), 'utf8')) as Template;
    bundles = Object.fromEntries(
      Object.entries(template.Resources)
        .filter(([, { Type }]) => Type === 'AWS::Lambda::Function')
        .map(([id, { Properties }]) => [
          id.slice(0, -8),
          join(folder, `asset.${Properties.Code.S3Key.replace('.zip', '')}`),
        ]),
    );
  }, 120_000);

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('are those of our functions and of the scripts, and nothing beside them', () => {
    expect(Object.keys(bundles).toSorted()).toEqual(
      [...ours, ...scripts.map(({ name }) => idOf(name))].toSorted(),
    );
  });

  it.each([
    ...ours,
    ...scripts.filter(({ language }) => language === 'typescript').map(({ name }) => idOf(name)),
  ])(
    'are one file, which loads in Node without a setting, a word or anything left running: %s',
    async (id) => {
      const bundle = bundles[id] ?? '';
      expect(await readdir(bundle)).toEqual(['index.mjs']);
      const path = join(bundle, 'index.mjs');
      const { size } = await stat(path);
      process.stdout.write(`${id}: ${Math.round(size / 1000)} kB\n`);
      // Lambda parses all of it at each cold start.
      expect(size).toBeLessThan(3_000_000);

      // A timer or a socket that loading opens would keep the process from ending.
      const script = `const { handler } = await import(${JSON.stringify(pathToFileURL(path).href)}); process.stdout.write(typeof handler);`;
      const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', script], {
        env: {},
        cwd: folder,
        timeout: 10_000,
      });
      expect({ stdout, stderr }).toEqual({ stdout: 'function', stderr: '' });
    },
  );

  it('have in Python the file that Lambda asks for', async () => {
    for (const { name } of scripts.filter(({ language }) => language === 'python')) {
      expect(await readdir(bundles[idOf(name)] ?? '')).toContain('lambda_function.py');
    }
  });
});

type Template = {
  Resources: Record<string, { Type: string; Properties: { Code: { S3Key: string } } }>;
};
