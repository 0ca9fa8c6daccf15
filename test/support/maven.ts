import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const fetchTimeoutMs = 300_000;

/** What this machine lacks, in one sentence for the person at the terminal. */
export class MissingToolError extends Error {
  override name = 'MissingToolError' as const;
}

/**
 * Has Maven fetch what a pom.xml names, once for each content of that file. Throws a MissingToolError.
 *
 * @returns the folder of its libraries
 */
export async function fetchLibraries({
  name,
  projectFile,
  folder,
  oldestJava,
}: {
  /** For the person at the terminal. */
  name: string;
  projectFile: string;
  folder: string;
  oldestJava: number;
}): Promise<string> {
  await requireJava(oldestJava);
  const project = createHash('sha256').update(await readFile(projectFile));
  const libraries = join(folder, project.digest('hex').slice(0, 12));
  if (existsSync(libraries)) return libraries;

  // Under another name until it is complete: an interrupted run leaves nothing that looks so.
  const unfinished = `${libraries}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true });
  const options = ['--quiet', '--batch-mode', '--strict-checksums', '--file', projectFile];
  // Not the short `dependency:`: without a network Maven says only that it knows no such prefix.
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies';
  await run('mvn', [...options, goal, `-DoutputDirectory=${unfinished}`], { timeout: fetchTimeoutMs }).catch(
    (cause: Error & { code?: unknown; stdout?: string }) => {
      throw new MissingToolError(
        cause.code === 'ENOENT'
          ? 'Maven is needed here, as mvn in the PATH; it cannot be started.'
          : `Maven cannot fetch ${name}: ${firstError(cause.stdout) ?? cause.message}`,
        { cause },
      );
    },
  );
  await rename(unfinished, libraries);
  return libraries;
}

/** Of what Maven prints, the first line that says what is wrong. */
const firstError = (printed = ''): string | undefined =>
  /\[ERROR\] (.+?)(?: -> \[Help 1\])?$/mu.exec(printed)?.[1];

async function requireJava(oldestJava: number): Promise<void> {
  const wanted = `Java ${oldestJava} or later is needed here, as java in the PATH`;
  const { stderr } = await run('java', ['-version']).catch((cause: unknown) => {
    throw new MissingToolError(`${wanted}; it cannot be started.`, { cause });
  });
  // `openjdk version "17.0.15" 2025-04-15`, and `java version "1.8.0_292"` up to Java 8.
  const version = /version "(.+?)"/u.exec(stderr)?.[1] ?? 'unknown';
  if (!(Number.parseInt(version, 10) >= oldestJava)) {
    throw new MissingToolError(`${wanted}; this is ${version}.`);
  }
}
