import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';

/** One script of the deployment: a folder that becomes a Lambda of its own. */
export type Script = z.output<typeof ScriptSettings> & {
  /** The folder's name, and what a handler's target names. */
  name: string;
  language: 'typescript' | 'python';
  /** Absolute path. */
  folder: string;
  /** Absolute path of the file that has the script's `handler`. */
  entry: string;
};

const namePattern = /^[a-z][a-z0-9-]{0,39}$/u;
const entryFiles = { typescript: 'lambda.ts', python: 'lambda_function.py' } as const;
const settingsFile = 'script.json';
const ignoredFolders = new Set(['__pycache__', 'node_modules']);

/** All of a function's variables together. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html */
const maxEnvironmentBytes = 4096;

const Environment = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z][A-Za-z0-9_]+$/u, 'a name has letters, digits and _ and begins with a letter')
      .regex(/^(?!AWS_|LAMBDA_)/u, 'names that begin with AWS_ or LAMBDA_ are for Lambda itself'),
    z.string().regex(/^[^\0]*$/u, 'must not have U+0000 in it'),
  )
  .refine(
    (variables) => Buffer.byteLength(Object.entries(variables).flat().join('')) <= maxEnvironmentBytes,
    `names and values together may have at most ${maxEnvironmentBytes} bytes`,
  );

/** The optional script.json of a script. */
const ScriptSettings = z.strictObject({
  description: z
    .string()
    .max(200, 'has more than 200 characters')
    .default('')
    .describe('What the script does, for whoever chooses it as a target'),
  memoryMb: z
    .int()
    .min(128)
    .max(10_240)
    .default(256)
    .describe('What the script may use, MB. In AWS it gets processor time in proportion, one whole at 1,769'),
  environment: Environment.default({}).describe(
    'Plain settings that the script finds in its environment. No secrets: they are readable in the console of AWS',
  ),
});

/**
 * The scripts in `folder`, sorted by name; none when there is no such folder. Throws an Error whose sentence names
 * the script's folder when that is not a script: a bad name, no entry file or two, settings that cannot be.
 * Synchronous, because a stack is put together synchronously.
 */
export function findScripts(folder: string): Script[] {
  const root = resolve(folder);
  if (statSync(root, { throwIfNoEntry: false }) === undefined) return [];
  return readdirSync(root)
    .filter((name) => !name.startsWith('.') && !ignoredFolders.has(name))
    .filter((name) => statSync(join(root, name), { throwIfNoEntry: false })?.isDirectory() === true)
    .sort()
    .map((name) => readScript(root, name));
}

function readScript(root: string, name: string): Script {
  const folder = join(root, name);
  if (!namePattern.test(name)) {
    throw new Error(
      `The script folder ${folder} has a bad name: 1 to 40 lower-case letters, digits and hyphens, and a letter first.`,
    );
  }
  const languages = (['typescript', 'python'] as const).filter(
    (language) => statSync(join(folder, entryFiles[language]), { throwIfNoEntry: false })?.isFile() === true,
  );
  const [language] = languages;
  if (language === undefined) {
    throw new Error(`The script folder ${folder} has neither a lambda.ts nor a lambda_function.py.`);
  }
  if (languages.length > 1) {
    throw new Error(
      `The script folder ${folder} has both a lambda.ts and a lambda_function.py: one must go.`,
    );
  }
  return { name, language, ...readSettings(folder), folder, entry: join(folder, entryFiles[language]) };
}

function readSettings(folder: string): z.output<typeof ScriptSettings> {
  const file = join(folder, settingsFile);
  if (statSync(file, { throwIfNoEntry: false }) === undefined) return ScriptSettings.parse({});
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new Error(
      `The script folder ${folder} has a ${settingsFile} that is not JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
  const { data, error } = ScriptSettings.safeParse(json);
  if (data !== undefined) return data;
  const problems = error.issues.map((issue) => sentence(issue));
  throw new Error(`The script folder ${folder} has a bad ${settingsFile}: ${problems.join('; ')}.`);
}

/** `environment.AWS_REGION: names that begin with ...`; of a bad name zod's own message says no more than that. */
function sentence(issue: z.core.$ZodIssue): string {
  const messages =
    issue.code === 'invalid_key' ? issue.issues.map(({ message }) => message) : [issue.message];
  const path = issue.path.join('.');
  return `${path === '' ? '' : `${path}: `}${messages.join(', ')}`;
}
