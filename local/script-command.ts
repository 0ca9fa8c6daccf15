import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Script } from '../shared/scripts/find-scripts.ts';
import { BundleError, createBundles } from './script-bundle.ts';
import { failed, type ScriptEnd } from './script-end.ts';

/** How to start the process of a call. */
export type ScriptCommand = {
  kind: 'command';
  file: string;
  args: string[];
  /** What Lambda would have unpacked in /var/task: the bundle alone, or the folder of a Python script. */
  cwd: string;
  /** The file that has the handler. */
  entry: string;
};

const nodeRunner = fileURLToPath(new URL('script-runner.mjs', import.meta.url));
const pythonRunner = fileURLToPath(new URL('script_runner.py', import.meta.url));

/**
 * Gives the command that runs a script, or the end of every call where that is not possible: it does not build, or there
 * is no Python. `folder` is for bundles and caches, `path` is where python3 is looked for.
 */
export function createScriptCommands({ folder, path }: { folder: string; path: string }) {
  const bundle = createBundles(folder);
  let python: string | null = null;

  return async (script: Script): Promise<ScriptCommand | ScriptEnd> => {
    switch (script.language) {
      case 'typescript': {
        const entry = await bundle(script).catch((error: unknown) => {
          if (error instanceof BundleError) return error;
          throw error;
        });
        if (entry instanceof BundleError) return failed('Runtime.ImportModuleError', entry.message);
        // The rest of the process needs some memory, too.
        const maxHeapMb = Math.floor(script.memoryMb * 0.8);
        const args = [`--max-old-space-size=${maxHeapMb}`, '--enable-source-maps', nodeRunner];
        return { kind: 'command', file: process.execPath, args, cwd: dirname(entry), entry };
      }
      case 'python': {
        python ??= await findPython(path);
        if (python === null) {
          return failed('Runtime.InvalidEntrypoint', 'python3 was not found on this machine');
        }
        // -I: nothing of the user's own comes in by variables or folders. Compiled files do not belong beside the
        // script, where the stack would take them for a change of it.
        const compiled = `pycache_prefix=${join(folder, 'python')}`;
        const args = ['-I', '-u', '-X', 'utf8', '-X', compiled, pythonRunner];
        return { kind: 'command', file: python, args, cwd: script.folder, entry: script.entry };
      }
      default:
        return script.language satisfies never;
    }
  };
}

/**
 * The interpreter itself: `python3` may be a shell script of a version manager, which takes its time and goes by the
 * user's environment and folder. Null when there is none that works.
 */
async function findPython(path: string): Promise<string | null> {
  try {
    const printItself = ['-I', '-c', 'import sys; print(sys.executable)'];
    const { stdout } = await promisify(execFile)('python3', printItself, {
      env: { ...process.env, PATH: path },
    });
    return stdout.trim();
  } catch {
    // Not there, or a stand-in that only says how to install it.
    return null;
  }
}
