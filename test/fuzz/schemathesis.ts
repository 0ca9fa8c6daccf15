import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { engineToken } from '../support/engine.ts';
import { installPython } from '../support/python.ts';

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The folder of the programs. */
const install = (): Promise<string> => installPython(file('requirements.txt'), [3, 11]);

/** Values that requests are made with beside what is made up, by the name that schemathesis.toml has for them. */
export type Dictionaries = Record<string, readonly string[]>;

/** What a run has found, in its own words. */
export type FuzzReport = { failed: boolean; text: string };

/**
 * Sends requests to an API that are made from its own OpenAPI document, good ones and bad ones, and holds the answers against the
 * document: https://schemathesis.readthedocs.io
 *
 * @param examples so many requests of each route and phase, about
 * @param seed the same seed makes the same requests, as long as the answers are the same
 * @param only part of the paths, a regular expression
 */
export async function runSchemathesis(
  url: string,
  {
    examples,
    seed,
    dictionaries,
    only,
  }: { examples: number; seed: number; dictionaries: Dictionaries; only?: string },
): Promise<FuzzReport> {
  const programs = await install();
  // What it keeps for later runs goes with the folder.
  const folder = await mkdtemp(join(tmpdir(), 'handoff-fuzz-'));
  try {
    const config = join(folder, 'schemathesis.toml');
    await writeFile(config, `${await readFile(file('schemathesis.toml'), 'utf8')}\n${toToml(dictionaries)}`);
    const options = {
      header: `Authorization: Bearer ${engineToken}`,
      'max-examples': String(examples),
      seed: String(seed),
      ...(only !== undefined && { 'include-path-regex': only }),
    };
    const child = spawn(
      join(programs, 'schemathesis'),
      [
        '--config-file',
        config,
        'run',
        `${url}/v1/openapi.json`,
        '--no-color',
        ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]),
      ],
      { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const printed: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => printed.push(chunk));
    }
    const [code] = (await once(child, 'close')) as [number | null];
    return { failed: code !== 0, text: Buffer.concat(printed).toString() };
  } finally {
    await rm(folder, { recursive: true });
  }
}

// An array of texts is written in TOML as in JSON.
const toToml = (dictionaries: Dictionaries): string =>
  Object.entries(dictionaries)
    .map(([name, values]) => `[dictionaries.${name}]\nvalues = ${JSON.stringify(values)}\n`)
    .join('\n');

/** What is wrong with an OpenAPI document, in the words of openapi-spec-validator; null when nothing is. */
export async function specProblem(document: unknown): Promise<string | null> {
  const programs = await install();
  const folder = await mkdtemp(join(tmpdir(), 'handoff-openapi-'));
  try {
    const path = join(folder, 'openapi.json');
    await writeFile(path, JSON.stringify(document));
    return await new Promise((resolve) => {
      execFile(join(programs, 'openapi-spec-validator'), [path], (error, stdout, stderr) =>
        resolve(error === null ? null : stdout + stderr),
      );
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}
