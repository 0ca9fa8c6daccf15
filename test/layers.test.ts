import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import extractDepcruiseOptions from 'dependency-cruiser/config-utl/extract-depcruise-options';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkLayers, type LayerCheck } from './layers/check.ts';

const projectRoot = fileURLToPath(new URL('..', import.meta.url));

const packages = {
  'package.json': JSON.stringify({
    dependencies: { zod: '1', hono: '1', '@aws-sdk/client-kms': '1' },
    devDependencies: { vitest: '1', '@types/aws-lambda': '1' },
  }),
  'node_modules/zod/index.js': 'export const z = 1;',
  'node_modules/hono/index.js': 'export const hono = 1;',
  'node_modules/@aws-sdk/client-kms/index.js': 'export const kms = 1;',
  'node_modules/vitest/index.js': 'export const it = 1;',
  'node_modules/@types/aws-lambda/index.d.ts': 'export type Context = 1;',
  'node_modules/brought-along/index.js': 'export const it = 1;',
};

// A tree in the shape of ours in which every import is one that the rules allow.
const allowed = {
  'shared/env.ts': "import { z } from 'zod'; export const env = z;",
  'shared/aws/tables.ts': 'export const tables = 1;',
  'shared/aws/queues.ts': 'export const queues = 1;',
  'shared/aws/clients.ts': "import { kms } from '@aws-sdk/client-kms'; export const client = kms;",
  'shared/catalogue/catalogue.ts': "import { hono } from 'hono'; export const catalogue = hono;",
  'shared/events/envelope.ts': "import { z } from 'zod'; export const envelope = z;",
  'shared/handlers/handler.ts':
    "import { catalogue } from '../catalogue/catalogue.ts'; export const handler = catalogue;",
  'shared/delivery/outcome.ts': 'export type Outcome = 1;',
  'shared/delivery/signature.ts': "import { createHmac } from 'node:crypto'; export const sign = createHmac;",
  'shared/executions/retry-decision.ts':
    "import type { Outcome } from '../delivery/outcome.ts'; export type Decision = Outcome;",
  'functions/api/env.ts': "import { env } from '../../shared/env.ts'; export const ApiEnv = env;",
  'functions/api/services.ts': "import { kms } from '@aws-sdk/client-kms'; export const services = kms;",
  'functions/api/lambda.ts':
    "import type { Context } from 'aws-lambda'; import { services } from './services.ts'; export const handler = (_: Context) => services;",
  'functions/dispatcher/env.ts': 'export const DispatcherEnv = 1;',
  'local/engine.ts': "import { handler } from '../functions/api/lambda.ts'; export const engine = handler;",
  'cdk/stack.ts':
    "import { it } from 'vitest'; import { ApiEnv } from '../functions/api/env.ts'; import { tables } from '../shared/aws/tables.ts'; import { queues } from '../shared/aws/queues.ts'; export const stack = [it, ApiEnv, tables, queues];",
  'test/support/clock.ts': 'export const clock = 1;',
};

// Each breaks the rule it is listed under; `from` is the file, the import stands in it.
const planted: [rule: string, from: string, specifier: string][] = [
  ['no-cycle', 'shared/one.ts', './two.ts'],
  ['nothing-unresolvable', 'shared/gone.ts', './Env.ts'],
  ['nothing-unresolvable', 'local/gone.ts', 'not-installed'],
  ['nothing-undeclared', 'functions/api/sneaky.ts', 'brought-along'],
  ['shared-imports-nothing-above', 'shared/up.ts', '../functions/api/env.ts'],
  ['shared-imports-nothing-above', 'shared/up-test.ts', '../test/support/clock.ts'],
  ['the-event-knows-nobody', 'shared/events/sender.ts', '../handlers/handler.ts'],
  ['functions-import-shared', 'functions/api/up.ts', '../../local/engine.ts'],
  ['functions-import-shared', 'functions/api/up-cdk.ts', '../../cdk/stack.ts'],
  ['functions-import-shared', 'functions/api/up-test.ts', '../../test/support/clock.ts'],
  ['one-function-never-imports-another', 'functions/api/across.ts', '../dispatcher/env.ts'],
  ['one-function-never-imports-another', 'functions/scripts/one/across.ts', '../two/script.ts'],
  ['cdk-imports-env-and-shapes', 'cdk/deep.ts', '../functions/api/services.ts'],
  ['cdk-imports-env-and-shapes', 'cdk/deep-shared.ts', '../shared/events/envelope.ts'],
  ['cdk-imports-env-and-shapes', 'cdk/deep-aws.ts', '../shared/aws/clients.ts'],
  ['local-runs-what-is-deployed', 'local/deep.ts', '../functions/api/services.ts'],
  ['local-runs-what-is-deployed', 'local/up.ts', '../test/support/clock.ts'],
  ['production-imports-no-development-tool', 'shared/tool.ts', 'vitest'],
  ['production-imports-no-development-tool', 'local/tool.ts', 'vitest'],
  ['the-core-is-pure', 'shared/executions/life-cycle.ts', 'hono'],
  ['the-core-is-pure', 'shared/executions/retry-decision.ts', 'node:fs'],
  ['the-core-is-pure', 'shared/delivery/signature.ts', '../env.ts'],
  ['the-core-is-pure-but-for-names', 'shared/events/envelope.ts', '../catalogue/catalogue.ts'],
  ['aws-through-stores-and-services', 'functions/api/direct.ts', '@aws-sdk/client-kms'],
  ['aws-through-stores-and-services', 'cdk/direct.ts', '@aws-sdk/client-kms'],
];

const targets: Record<string, string> = {
  'shared/two.ts': "import './one.ts';",
  'functions/scripts/two/script.ts': 'export const script = 1;',
};

async function tree(files: Record<string, string>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'handoff-layers-'));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return root;
}

const found = ({ violations }: LayerCheck) => violations.map(({ rule, from }) => `${rule.name}: ${from}`);

describe('the layer rules', () => {
  const roots: string[] = [];
  let result: LayerCheck;

  beforeAll(async () => {
    const files: Record<string, string> = { ...packages, ...allowed, ...targets };
    for (const [, from, specifier] of planted) {
      files[from] = `${files[from] ?? ''}\nimport * as planted from '${specifier}'; export default planted;`;
    }
    roots.push(await tree(files));
    result = await checkLayers(roots[0] ?? '');
  });
  afterAll(() => Promise.all(roots.map((root) => rm(root, { recursive: true }))));

  it.each(planted)('%s: is broken by %s importing %s', (rule, from) => {
    expect(found(result)).toContain(`${rule}: ${from}`);
  });

  it('find nothing beside what was planted', () => {
    const expected = new Set(planted.map(([rule, from]) => `${rule}: ${from}`));
    expect(found(result).filter((line) => !expected.has(line))).toEqual([]);
  });

  it('find nothing where everything is allowed', async () => {
    roots.push(await tree({ ...packages, ...allowed }));
    const { modulesRead, violations } = await checkLayers(roots.at(-1) ?? '');
    expect(violations).toEqual([]);
    expect(modulesRead).toBe(Object.keys(allowed).length - 1); // Not the test.
  });

  it('are each broken here at least once', async () => {
    const { ruleSet } = await extractDepcruiseOptions(join(projectRoot, '.dependency-cruiser.js'));
    const names = (ruleSet?.forbidden ?? []).map(({ name }) => String(name));
    expect(names.toSorted()).toEqual([...new Set(planted.map(([rule]) => rule))].toSorted());
  });

  it('hold in this project', async () => {
    const { modulesRead, violations } = await checkLayers(projectRoot);
    expect(violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`)).toEqual([]);
    expect(modulesRead).toBeGreaterThan(20);
  });
});

describe('the check', () => {
  it('fails when it read nothing, instead of finding nothing wrong', async () => {
    const root = await tree({ 'package.json': '{}', 'shared/readme.txt': '' });
    const run = promisify(execFile)(process.execPath, [join(projectRoot, 'test/layers/check.ts'), root]);
    await expect(run).rejects.toMatchObject({ code: 1, stdout: '0 modules, 0 imports that must not be\n' });
    await rm(root, { recursive: true });
  });
});
