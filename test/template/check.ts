import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromRoot } from '../../cdk/constructs/bundle.ts';
import { shippedScripts, synthesize } from '../cdk/synthesize.ts';
import { variants } from '../cdk/variants.ts';
import { installPython } from '../support/python.ts';

/** What cfn-lint finds and we leave as it is: the rule, what it says, and the reason. */
const ignored: readonly (readonly [rule: string, message: RegExp, reason: string])[] = [
  [
    'W3005',
    /./u,
    'CDK lets every function wait for its role as well as for the policy of that. The role would be waited for anyway.',
  ],
  [
    'E3006',
    /^Resource type 'AWS::Cognito::\w+' does not exist in 'cn-[\w-]+'$/u,
    'There are no user pools in China. Who deploys there sets oidcIssuer, which makes none (docs/deploy.md).',
  ],
];

type Match = {
  Filename: string;
  Message: string;
  Rule: { Id: string };
  Location: { Path: (string | number)[] | null };
};

const synthesized = fromRoot('cdk.out/Handoff.template.json');

const isIgnoredBy = ({ Rule, Message }: Match, [rule, message]: (typeof ignored)[number]): boolean =>
  Rule.Id === rule && message.test(Message);

/** Holds templates against the rules of cfn-lint, in all regions. */
async function lint(templates: string[]): Promise<Match[]> {
  const programs = await installPython(fromRoot('test/template/requirements.txt'));
  const options = ['--format', 'json', '--regions', 'ALL_REGIONS'];
  const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) => {
    // Ends with another code than 0 for whatever it finds.
    execFile(
      join(programs, 'cfn-lint'),
      [...options, '--', ...templates],
      { maxBuffer: 64 * 1024 * 1024 },
      (_error, out, err) => resolve({ stdout: out, stderr: err }),
    );
  });
  try {
    return JSON.parse(stdout) as Match[];
  } catch (cause) {
    throw new Error(`cfn-lint did not do its work: ${stderr}`, { cause });
  }
}

async function writeTemplate(folder: string, name: string, template: unknown): Promise<string> {
  const path = join(folder, `${name.replaceAll(/\W+/gu, '-')}.template.json`);
  await writeFile(path, JSON.stringify(template, null, 1));
  return path;
}

async function check(folder: string): Promise<string[]> {
  if (!existsSync(synthesized)) throw new Error(`There is no ${synthesized}: "npm run synth" makes it.`);
  const templates = [synthesized];
  for (const [name, settings] of Object.entries(variants).filter(([variant]) => variant !== 'the defaults')) {
    templates.push(await writeTemplate(folder, name, synthesize(settings, shippedScripts).toJSON()));
  }
  const planted = await writeTemplate(folder, 'planted', {
    Resources: { Queue: { Type: 'AWS::SQS::Queue', Properties: { Nmae: 'planted' } } },
  });

  const matches = await lint([...templates, planted]);
  const found = matches
    .filter((match) => match.Filename !== planted && !ignored.some((one) => isIgnoredBy(match, one)))
    .map(
      ({ Filename, Rule, Message, Location }) =>
        `${Filename}: ${Rule.Id} ${Message} (${Location.Path?.join('/') ?? ''})`,
    );
  // Nothing read, nothing found: that is no success.
  if (!matches.some(({ Filename }) => Filename === planted)) {
    found.push(`${planted}: its fault was not found`);
  }
  for (const one of ignored.filter((each) => !matches.some((match) => isIgnoredBy(match, each)))) {
    found.push(`${one[0]} is ignored, and nothing breaks it any more`);
  }
  process.stdout.write(`${templates.length} templates, ${found.length} findings of cfn-lint\n`);
  return found;
}

const folder = await mkdtemp(join(tmpdir(), 'handoff-templates-'));
try {
  const found = await check(folder);
  for (const finding of found) process.stdout.write(`${finding}\n`);
  if (found.length > 0) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}
