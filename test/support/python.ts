import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

const environments = fileURLToPath(new URL('../../.venv', import.meta.url));
// Of most tools that are installed; the functions' own Python is that of AWS.
const oldestPython = [3, 10] as const;
const installTimeoutMs = 300_000;

/**
 * Installs the packages of a requirements file, pinned and with their hashes, into a virtual environment in `.venv/`. The same
 * file is installed once. Throws an Error that says what is missing: there is no way round the tools that need it.
 *
 * @param requirements absolute path
 * @param oldest the Python that they need at least
 * @returns the folder of its programs
 */
export async function installPython(
  requirements: string,
  oldest: readonly [major: number, minor: number] = oldestPython,
): Promise<string> {
  const version = await pythonVersion(oldest);
  const hash = createHash('sha256')
    .update(version)
    .update(await readFile(requirements));
  const folder = join(environments, hash.digest('hex').slice(0, 12));
  const programs = join(folder, 'bin');
  // Written last: a folder without it is what an interrupted run has left.
  const complete = join(folder, 'complete');
  if (existsSync(complete)) return programs;

  await rm(folder, { recursive: true, force: true });
  await mkdir(environments, { recursive: true });
  await run('python3', ['-m', 'venv', folder]).catch((cause: unknown) => {
    throw new Error(
      'Python cannot make a virtual environment: install its venv module (on Debian: python3-venv).',
      { cause },
    );
  });
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--require-hashes'];
  await run(join(programs, 'python'), [...install, '-r', requirements], { timeout: installTimeoutMs }).catch(
    (cause: Error & { stderr?: string }) => {
      throw new Error(
        `The Python packages of ${requirements} cannot be had: ${cause.stderr ?? cause.message}`,
        {
          cause,
        },
      );
    },
  );
  await writeFile(complete, '');
  return programs;
}

/** `3.11.7`. */
async function pythonVersion(oldest: readonly [major: number, minor: number]): Promise<string> {
  const wanted = `Python ${oldest.join('.')} or later is needed here, as python3 in the PATH`;
  const { stdout } = await run('python3', ['-c', 'import platform; print(platform.python_version())']).catch(
    (cause: unknown) => {
      throw new Error(`${wanted}; it cannot be started.`, { cause });
    },
  );
  const version = stdout.trim();
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < oldest[0] || (major === oldest[0] && minor < oldest[1])) {
    throw new Error(`${wanted}; this is ${version}.`);
  }
  return version;
}
