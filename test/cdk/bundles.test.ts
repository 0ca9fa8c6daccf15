import { execFile } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);

describe('the bundles', () => {
  let folder: string;
  let bundles: Record<string, string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'handoff-bundles-'));
    // As the cdk command does it, and without anything of AWS in the environment.
    await run(process.execPath, ['cdk/app.ts'], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: { PATH: process.env['PATH'], CDK_OUTDIR: folder },
    });
    const template = JSON.parse(await readFile(join(folder, 'Handoff.template.json'), 'utf8')) as Template;
    bundles = Object.fromEntries(
      Object.entries(template.Resources)
        .filter(([, { Type }]) => Type === 'AWS::Lambda::Function')
        .map(([id, { Properties }]) => {
          const asset = `asset.${Properties.Code.S3Key.replace('.zip', '')}`;
          return [id, join(folder, asset, 'index.mjs')];
        }),
    );
  }, 60_000);

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('are two files of code, and nothing beside them', async () => {
    const paths = Object.values(bundles);
    expect(Object.keys(bundles).map((id) => id.slice(0, -8))).toEqual([
      'DispatcherDispatchFunction',
      'ApiManageFunction',
    ]);
    for (const path of paths) expect(await readdir(join(path, '..'))).toEqual(['index.mjs']);
  });

  it.each(['Dispatcher', 'Api'])(
    'load in Node without a setting, a word or anything left running: %s',
    async (name) => {
      const path = Object.entries(bundles).find(([id]) => id.startsWith(name))?.[1] ?? '';
      const { size } = await stat(path);
      process.stdout.write(`${name} bundle: ${Math.round(size / 1000)} kB\n`);
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
});

type Template = {
  Resources: Record<string, { Type: string; Properties: { Code: { S3Key: string } } }>;
};
