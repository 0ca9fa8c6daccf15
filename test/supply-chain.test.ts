import { globSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

type LockedPackage = {
  version?: string;
  integrity?: string;
  resolved?: string;
  /** Where it is ours: a folder of this repository. */
  link?: true;
  /** Comes inside of the package in whose folder it lies, and so under the hash of that. */
  inBundle?: true;
  hasInstallScript?: true;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
};
type Lock = { packages: Record<string, LockedPackage> };
type Manifest = Pick<LockedPackage, 'dependencies' | 'devDependencies' | 'optionalDependencies'> & {
  allowScripts?: Record<string, boolean>;
};

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
const lock = readJson('package-lock.json') as Lock;
const manifest = readJson('package.json') as Manifest;

const isOurs = (folder: string): boolean => !folder.includes('node_modules/');

/** Everything that was fetched, by the folder that it lies in. */
const fetched = ({ packages }: Lock): [folder: string, LockedPackage][] =>
  Object.entries(packages).filter(([folder, { link }]) => !isOurs(folder) && link !== true);

/** Whatever npm would take without a hash that is written down. */
const unhashed = (one: Lock): string[] =>
  fetched(one)
    .filter(([folder, { integrity, inBundle }]) => {
      if (inBundle !== true) return !/^sha512-[A-Za-z\d+/]{86}==$/u.test(integrity ?? '');
      const bearer = one.packages[folder.slice(0, folder.lastIndexOf('/node_modules/'))];
      return bearer?.integrity === undefined && bearer?.inBundle !== true;
    })
    .map(([folder]) => folder);

/** Packages of some platform that others ask for and the file has lost: there, npm would take them without a hash. */
const lost = ({ packages }: Lock): string[] =>
  Object.entries(packages).flatMap(([folder, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !homesOf(name, folder).some((home) => packages[home] !== undefined))
      .map((name) => `${name} of ${folder}`),
  );

/** Where Node looks for a package when one in that folder asks for it. */
function homesOf(name: string, folder: string): string[] {
  const outwards = folder === '' ? [] : folder.split(/\/?node_modules\//u).slice(1);
  return [...outwards, ''].map((_, depth) =>
    [
      ...outwards.slice(0, outwards.length - depth).map((part) => `node_modules/${part}`),
      `node_modules/${name}`,
    ].join('/'),
  );
}

const withScripts = (one: Lock): string[] =>
  fetched(one)
    .filter(([, { hasInstallScript }]) => hasInstallScript === true)
    .map(([folder]) => folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length));

const inexact = ({ dependencies, devDependencies, optionalDependencies }: Manifest): string[] =>
  Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
    .filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/u.test(version))
    .map(([name, version]) => `${name}@${version}`);

describe('package-lock.json', () => {
  it('has a hash for everything that npm fetches, for every platform', () => {
    expect(fetched(lock).length).toBeGreaterThan(300);
    expect(unhashed(lock)).toEqual([]);
    expect(lost(lock)).toEqual([]);
  });

  it('names no host: where packages come from is for each machine to say', () => {
    const resolved = Object.values(lock.packages).filter((one) => one.resolved !== undefined);
    expect(resolved.filter(({ link }) => link !== true)).toEqual([]);
    expect(readFileSync('.npmrc', 'utf8')).not.toMatch(/registry|_auth|_password|:\/\//u);
  });

  it('has no other install scripts than those that package.json names, and npm runs no others', () => {
    const { allowScripts = {} } = manifest;
    expect(withScripts(lock).toSorted()).toEqual(Object.keys(allowScripts).toSorted());
    expect(Object.values(allowScripts)).not.toContain(false);
    expect(readFileSync('.npmrc', 'utf8')).toMatch(/^strict-allow-scripts=true$/mu);
  });

  it('is for exact versions', () => {
    const ours = Object.keys(lock.packages).filter(isOurs);
    expect(ours).toContain('');
    for (const folder of ours) {
      expect(inexact(readJson(`${folder || '.'}/package.json`) as Manifest), folder).toEqual([]);
    }
  });

  it('would be found out if it were otherwise', () => {
    const integrity = `sha512-${'a'.repeat(86)}==`;
    const planted: Lock = {
      packages: {
        '': { dependencies: { a: '1.0.0' } },
        console: {},
        'node_modules/console': { resolved: 'console', link: true },
        'node_modules/a': { integrity, optionalDependencies: { 'a-linux': '1.0.0', 'a-darwin': '1.0.0' } },
        'node_modules/a/node_modules/b': { inBundle: true },
        'node_modules/a/node_modules/@c/d': { inBundle: true },
        'node_modules/a/node_modules/@c/d/node_modules/e': { integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' },
        'node_modules/a-linux': { hasInstallScript: true },
        'node_modules/@f/g': { hasInstallScript: true, integrity, optionalDependencies: { b: '1.0.0' } },
      },
    };
    expect(unhashed(planted)).toEqual([
      'node_modules/a/node_modules/@c/d/node_modules/e',
      'node_modules/a-linux',
    ]);
    expect(lost(planted)).toEqual(['a-darwin of node_modules/a', 'b of node_modules/@f/g']);
    expect(withScripts(planted)).toEqual(['a-linux', '@f/g']);
    expect(homesOf('x', 'node_modules/a/node_modules/@c/d')).toEqual([
      'node_modules/a/node_modules/@c/d/node_modules/x',
      'node_modules/a/node_modules/x',
      'node_modules/x',
    ]);
    const dependencies = { a: '^1.0.0', b: 'latest', c: '1.0.0', d: 'github:d/d', e: '1.x' };
    expect(inexact({ dependencies })).toEqual(['a@^1.0.0', 'b@latest', 'd@github:d/d', 'e@1.x']);
  });
});

type Step = { uses?: string; run?: string; with?: Record<string, unknown> };
type Workflow = {
  on: Record<string, unknown>;
  permissions?: unknown;
  jobs: Record<string, { permissions?: unknown; steps: Step[] }>;
};

const triggers = new Set(['push', 'pull_request', 'schedule', 'workflow_dispatch']);
const pinned = /^\s*(?:- )?uses: [\w.-]+\/[\w./-]+@[\da-f]{40} # v\d+\.\d+\.\d+$/u;

/** What in a workflow would let somebody else's code, or a stranger's pull request, do more than read what is public. */
function faultsOf(text: string): string[] {
  const { on, permissions, jobs } = parse(text) as Workflow;
  const lines = text.split('\n');
  const allPermissions = [permissions, ...Object.values(jobs).map((job) => job.permissions ?? {})];
  const steps = Object.values(jobs).flatMap((job) => job.steps);
  return [
    ...lines.filter((line) => /\buses:/u.test(line) && !pinned.test(line)).map((line) => line.trim()),
    // Both run with the rights of the repository on what a stranger has written.
    ...Object.keys(on).filter((event) => !triggers.has(event)),
    ...allPermissions
      .filter((one) => typeof one !== 'object' || Object.values(one ?? {}).some((right) => right !== 'read'))
      .map((one) => `permissions: ${JSON.stringify(one)}`),
    ...lines.filter((line) => /secrets|GITHUB_TOKEN|github\.token/iu.test(line)).map((line) => line.trim()),
    // Filled in before the shell reads it: the name of a branch can be a command.
    ...steps.flatMap(({ run }) => (run?.includes('${{') === true ? [run] : [])),
    ...steps
      .filter(({ uses }) => uses?.startsWith('actions/checkout@'))
      .filter(({ with: inputs }) => inputs?.['persist-credentials'] !== false)
      .map(() => 'the token of the checkout stays in the folder'),
  ];
}

describe('the workflows of GitHub', () => {
  const files = globSync('.github/workflows/*');

  it('take actions by their commit, may read and no more, and know no secret', () => {
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      expect(file).toMatch(/\.yml$/u);
      expect(faultsOf(readFileSync(file, 'utf8')), file).toEqual([]);
    }
  });

  it('would be found out if it were otherwise', () => {
    const hash = 'a'.repeat(40);
    const planted = `
on: { pull_request_target: {}, push: {} }
jobs:
  one:
    permissions: { contents: read, packages: write }
    steps:
      - uses: actions/checkout@v4
      - uses: actions/checkout@${hash} # v4
        with: { persist-credentials: false }
      - name: named
        uses: other/action/part@${hash} # v4.2.2
      - run: echo \${{ github.head_ref }}
      - run: publish
        env: { TOKEN: "\${{ secrets.TOKEN }}" }
`;
    expect(faultsOf(planted)).toEqual([
      '- uses: actions/checkout@v4',
      `- uses: actions/checkout@${hash} # v4`,
      'pull_request_target',
      // None given is what the repository's settings say.
      'permissions: undefined',
      'permissions: {"contents":"read","packages":"write"}',
      'env: { TOKEN: "${{ secrets.TOKEN }}" }',
      'echo ${{ github.head_ref }}',
      'the token of the checkout stays in the folder',
    ]);
  });
});

/** The lines of a requirements file that are not one version with its hashes. */
const unpinned = (text: string): string[] =>
  text
    .replaceAll(/\\\n\s*/gu, '')
    .split('\n')
    .map((line) => line.replace(/(?:^|\s)#.*$/u, '').trim())
    .filter((line) => line !== '')
    .filter((line) => !/^[\w.-]+==[\w.]+(?: *;[^#]+?)?(?: *--hash=sha256:[\da-f]{64})+$/u.test(line));

describe('the requirements of Python tools', () => {
  // A file `.in` is what people write; the `.txt` that is made of it is installed, with `--require-hashes`.
  const files = globSync('test/**/requirements*.txt');

  it('are pinned, with their hashes, and name no other place to fetch from', () => {
    expect(files.length).toBeGreaterThanOrEqual(2);
    for (const file of files) expect(unpinned(readFileSync(file, 'utf8')), file).toEqual([]);
    expect(readFileSync('test/support/python.ts', 'utf8')).toContain("'--require-hashes'");
  });

  it('would be found out if it were otherwise', () => {
    const hash = `--hash=sha256:${'a'.repeat(64)}`;
    const lines = [
      `good==1.0 ; python_version < "3.11" \\\n    ${hash} \\\n    ${hash}\n    # via other`,
      'bare==1.0',
      `range>=1.0 ${hash}`,
      '--index-url https://packages.example/simple',
      `mail @ https://packages.example/mail.whl ${hash}`,
    ];
    expect(unpinned(lines.join('\n'))).toEqual([
      'bare==1.0',
      `range>=1.0 ${hash}`,
      '--index-url https://packages.example/simple',
      `mail @ https://packages.example/mail.whl ${hash}`,
    ]);
  });
});
