import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';

const file = 'docs/security.md';
const text = readFileSync(file, 'utf8');

/** `{a,b}` and `*` as in a shell. */
const isThere = (path: string): boolean => {
  const each = /^(?<before>[^{]*)\{(?<names>[^}]*)\}(?<after>.*)$/u.exec(path)?.groups;
  return each === undefined
    ? globSync(path).length > 0
    : (each['names'] ?? '').split(',').every((name) => isThere(`${each['before']}${name}${each['after']}`));
};

it('docs/security.md names files and tests that are there', () => {
  const named = [
    ...text.matchAll(/`(?<path>(?:cdk|docs|functions|local|shared|test|\.github)\/[^`]*)`/gu),
  ].map(({ groups }) => groups?.['path'] ?? '');
  expect(named.length).toBeGreaterThan(40);
  expect(named.filter((path) => !isThere(path))).toEqual([]);
  expect(isThere('test/{security-document,there-is-no-such}.test.ts')).toBe(false);

  const linked = [...text.matchAll(/\]\((?<path>[\w./-]+)/gu)].map(({ groups }) => groups?.['path'] ?? '');
  expect(linked.length).toBeGreaterThan(3);
  expect(linked.filter((path) => !existsSync(join(dirname(file), path)))).toEqual([]);
});
