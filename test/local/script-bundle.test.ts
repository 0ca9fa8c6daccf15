import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { BundleError, createBundles } from '../../local/script-bundle.ts';
import { findScripts, type Script } from '../../shared/scripts/find-scripts.ts';
import { temporaryFolder } from '../support/scripts.ts';

const { folder, remove } = temporaryFolder();
afterAll(remove);

let tree: string;
let count = 0;
beforeEach(() => {
  count += 1;
  tree = join(folder, String(count));
});

function write(path: string, text: string): void {
  mkdirSync(join(tree, path, '..'), { recursive: true });
  writeFileSync(join(tree, path), text);
}

function script(): Script {
  const [first] = findScripts(join(tree, 'scripts'));
  if (first === undefined) throw new Error('There is no script.');
  return first;
}

describe('createBundles', () => {
  it('makes one file of a script and all that it imports', async () => {
    write('shared.ts', 'export const shared: string = "from outside of the folder";');
    write('scripts/one/node_modules/dep/package.json', '{ "main": "index.cjs" }');
    write('scripts/one/node_modules/dep/index.cjs', 'exports.join = require("node:path").join;');
    write(
      'scripts/one/lambda.ts',
      'import { join } from "dep"; import { shared } from "../../shared.ts"; export const handler = () => join(shared, "x");',
    );
    const file = await createBundles(join(tree, 'bundles'))(script());

    const { handler } = (await import(file)) as { handler: () => string };
    expect(handler()).toBe('from outside of the folder/x');
  });

  it('builds once, for many calls at once and for later ones', async () => {
    write('scripts/one/lambda.ts', 'export const handler = () => 1;');
    const bundle = createBundles(join(tree, 'bundles'));
    const files = await Promise.all([bundle(script()), bundle(script()), bundle(script())]);
    const [file] = files;
    const inode = statSync(file).ino;

    expect(new Set(files).size).toBe(1);
    expect(await bundle(script())).toBe(file);
    expect(statSync(file).ino).toBe(inode);
  });

  it('builds again when a file of the author has changed', async () => {
    write(
      'scripts/one/lambda.ts',
      'import { answer } from "./answer.ts"; export const handler = () => answer;',
    );
    write('scripts/one/answer.ts', 'export const answer = "first";');
    const bundle = createBundles(join(tree, 'bundles'));
    expect(readFileSync(await bundle(script()), 'utf8')).toContain('"first"');

    write('scripts/one/answer.ts', 'export const answer = "second";');
    expect(readFileSync(await bundle(script()), 'utf8')).toContain('"second"');
  });

  it('builds again when the bundle is gone', async () => {
    write('scripts/one/lambda.ts', 'export const handler = () => 1;');
    const bundle = createBundles(join(tree, 'bundles'));
    await bundle(script());
    rmSync(join(tree, 'bundles'), { recursive: true });
    expect(readFileSync(await bundle(script()), 'utf8')).toContain('handler');
  });

  it('says what does not build and where, and tries again', async () => {
    write('scripts/one/lambda.ts', '\nimport x from "no-such-package"; export const handler = () => x;');
    const bundle = createBundles(join(tree, 'bundles'));

    await expect(bundle(script())).rejects.toThrow(
      new BundleError('Could not resolve "no-such-package" (lambda.ts:2:15)'),
    );
    write('scripts/one/lambda.ts', 'export const handler = () = 1;');
    await expect(bundle(script())).rejects.toThrow(/^Expected .* \(lambda\.ts:1:\d+\)$/u);
    write('scripts/one/lambda.ts', 'export const handler = () => "mended";');
    expect(readFileSync(await bundle(script()), 'utf8')).toContain('"mended"');
  });
});
