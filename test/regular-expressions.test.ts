import { globSync, readFileSync } from 'node:fs';
import { parseSync, type Module } from '@swc/core';
import { analyse } from 'scslre';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';

type Expression = { where: string; source: string; flags: string };

/** Every regular expression that stands in a file; those that are put together have `dynamic` as their source. */
function expressionsIn(file: string, text: string): Expression[] {
  const found: Expression[] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { type, pattern, flags, callee } = node as Record<string, unknown> & {
      callee?: { value?: unknown };
    };
    if (type === 'RegExpLiteral') found.push({ where: file, source: String(pattern), flags: String(flags) });
    if (callee?.value === 'RegExp') found.push({ where: file, source: 'dynamic', flags: '' });
    for (const member of Object.values(node)) walk(member);
  };
  walk(parseSync(text, { syntax: 'typescript', target: 'esnext' }) satisfies Module);
  return found;
}

/** What makes a search take more than linear time in the length of the text. */
const weaknessesOf = ({ source, flags }: Pick<Expression, 'source' | 'flags'>): string[] =>
  analyse({ source, flags }).reports.map(
    ({ type, exponential }) => `${type}${exponential ? ', exponential' : ''}`,
  );

const expressions = globSync('{functions,shared,local,cdk}/**/*.{ts,mjs}').flatMap((file) =>
  expressionsIn(file, readFileSync(file, 'utf8')),
);

describe('regular expressions', () => {
  it.each([
    [String.raw`^(?:a+)+$`, ['Self, exponential']],
    [String.raw`\.+$`, ['Move']],
    [String.raw`^\s*a?\s*$`, ['Trade']],
    [String.raw`^[a-z]+(?:\.[a-z]+)*$`, []],
  ])('of the kind %s are told apart', (source, weaknesses) => {
    expect(weaknessesOf({ source, flags: 'u' })).toEqual(weaknesses);
  });

  it('take time that grows with the text and not faster, wherever they stand', () => {
    expect(expressions.length).toBeGreaterThan(50);
    const weak = expressions
      .filter(({ source }) => source !== 'dynamic')
      .filter((one) => weaknessesOf(one).length > 0);
    expect(weak).toEqual([]);
  });

  it('are put together in these places alone, from what nobody outside writes', () => {
    expect(
      expressions
        .filter(({ source }) => source === 'dynamic')
        .map(({ where }) => where)
        .toSorted(),
    ).toEqual([
      // The name of a field, the roles, a token of random letters, the name of a line in /proc.
      'local/aws-keys.ts',
      'local/config.ts',
      'local/script-end.ts',
      'local/script-family.ts',
    ]);
  });

  it('of zod, which texts of upstreams are held against, are so too', () => {
    for (const { source, flags } of [
      z.core.regexes.datetime({}),
      z.core.regexes.datetime({ offset: true }),
      z.core.regexes.date,
      z.core.regexes.guid,
      z.core.regexes.email,
      z.core.regexes.ipv4,
      z.core.regexes.ipv6,
    ]) {
      expect([source, weaknessesOf({ source, flags })]).toEqual([source, []]);
    }
  });
});
