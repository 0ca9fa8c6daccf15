import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { BuildFailure, Message } from 'esbuild';
import type { Script } from '../shared/scripts/find-scripts.ts';

/** The script does not build: words for its author, with paths relative to the script's folder. */
export class BundleError extends Error {
  override name = 'BundleError' as const;
}

/** `changes`: when it and the files of the author's own that went in were changed, milliseconds. */
type Bundle = { file: string; changes: ReadonlyMap<string, number> };

/**
 * Bundles TypeScript scripts into folders below `folder`, each at its first call, and again at a later one when a file of
 * the author's own was changed (packages are not looked at), or when somebody tidied up the folder. The function that it returns gives the bundle's file,
 * and throws a BundleError.
 */
export function createBundles(folder: string): (script: Script) => Promise<string> {
  const bundles = new Map<string, Promise<Bundle>>();
  return async (script) => {
    const last = bundles.get(script.name);
    const isCurrent = last !== undefined && (await last.then(isUnchanged, () => false));
    // Others who found the same may have begun meanwhile.
    if (!isCurrent && bundles.get(script.name) === last) {
      bundles.set(script.name, build(script, join(folder, script.name)));
    }
    const bundle = await bundles.get(script.name);
    if (bundle === undefined) throw new Error('unreachable');
    return bundle.file;
  };
}

async function isUnchanged({ changes }: Bundle): Promise<boolean> {
  const unchanged = await Promise.all(
    [...changes].map(async ([path, changedAt]) => (await changeTime(path)) === changedAt),
  );
  return !unchanged.includes(false);
}

/** NaN when it is gone. */
const changeTime = (path: string): Promise<number> =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => Number.NaN,
  );

async function build(script: Script, folder: string): Promise<Bundle> {
  const startedAt = Date.now();
  const { outputFiles, metafile } = await runEsbuild(script).catch((error: unknown) => {
    if (!isBuildFailure(error)) throw error;
    throw new BundleError(error.errors.map(sentence).join('; '), { cause: error });
  });
  await mkdir(folder, { recursive: true });
  const file = join(folder, 'lambda.mjs');
  // In one step, because a process may just be reading the last one.
  await writeFile(`${file}.new`, outputFiles[0]?.contents ?? '');
  await rename(`${file}.new`, file);

  const paths = Object.keys(metafile.inputs).filter((path) => !path.includes('node_modules/'));
  const sources = await Promise.all(
    paths.map(async (path): Promise<[string, number]> => {
      const source = resolve(script.folder, path);
      const changedAt = await changeTime(source);
      // What was saved during the build may have come too late for it.
      return [source, changedAt < startedAt ? changedAt : Number.NaN];
    }),
  );
  return { file, changes: new Map([...sources, [file, await changeTime(file)]]) };
}

let builds = 0;

async function runEsbuild(script: Script) {
  // Not every engine has scripts: esbuild is loaded for the first, and its process ends with the last build.
  const esbuild = await import('esbuild');
  builds += 1;
  try {
    return await esbuild.build({
      entryPoints: [script.entry],
      absWorkingDir: script.folder,
      outfile: 'lambda.mjs',
      write: false,
      metafile: true,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node24',
      mainFields: ['module', 'main'],
      keepNames: true,
      sourcemap: 'inline',
      sourcesContent: false,
      sourceRoot: `${script.folder}/`,
      logLevel: 'silent',
      // As in the stack: some packages are CommonJS and call require() for Node's modules.
      banner: {
        js: "import{createRequire as handoffCreateRequire}from'node:module';const require=handoffCreateRequire(import.meta.url);",
      },
    });
  } finally {
    builds -= 1;
    if (builds === 0) await esbuild.stop();
  }
}

const isBuildFailure = (error: unknown): error is BuildFailure =>
  error instanceof Error && Array.isArray((error as Partial<BuildFailure>).errors);

const sentence = ({ text, location }: Message): string =>
  location === null ? text : `${text} (${location.file}:${location.line}:${location.column + 1})`;
