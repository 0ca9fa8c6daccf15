import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cruise, type ICruiseResult, type IViolation } from 'dependency-cruiser';
import extractDepcruiseOptions from 'dependency-cruiser/config-utl/extract-depcruise-options';

const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const folders = ['cdk', 'functions', 'local', 'shared'];

export type LayerCheck = { modulesRead: number; violations: Pick<IViolation, 'rule' | 'from' | 'to'>[] };

/** Holds the imports of a source tree against the rules in .dependency-cruiser.js. */
export async function checkLayers(root: string): Promise<LayerCheck> {
  const options = await extractDepcruiseOptions(join(projectRoot, '.dependency-cruiser.js'));
  const { output } = await cruise(
    folders.filter((folder) => existsSync(join(root, folder))),
    { ...options, baseDir: root, validate: true },
  );
  const { modules, summary } = output as ICruiseResult;
  return {
    modulesRead: modules.filter(({ source }) => folders.some((folder) => source.startsWith(`${folder}/`)))
      .length,
    violations: summary.violations,
  };
}

if (import.meta.main) {
  const { modulesRead, violations } = await checkLayers(resolve(process.argv[2] ?? projectRoot));
  for (const { rule, from, to } of violations) process.stdout.write(`${rule.name}: ${from} -> ${to}\n`);
  process.stdout.write(`${modulesRead} modules, ${violations.length} imports that must not be\n`);
  // Nothing read, nothing found: that is no success.
  if (modulesRead === 0 || violations.length > 0) process.exitCode = 1;
}
