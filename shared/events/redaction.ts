import { getNodeValue, parseTree, type Node } from 'jsonc-parser';
import { z } from 'zod';

/** What stands in the place of a redacted value, as JSON. */
const mask = '"***"';

/** The way to a value in an event: the names of members with dots between, `*` for every member or element. */
export type RedactedPath = string;

/** Values that were taken out of a text: where in what is left of it they were, in characters, and each as it was written. */
export type Cut = readonly [offset: number, json: string];

// Of the envelope nothing is anybody's secret, and without these two nothing can be found or traced.
const kept = ['objectId', 'traceparent'];

function pathProblem(path: RedactedPath): string | null {
  const [first, second, ...more] = path.split('.');
  if ([first, second, ...more].includes('')) return 'has an empty name';
  if (/[[\]]/u.test(path)) return 'must have its names behind dots; in brackets it takes an index or *';
  if (first !== 'detail' || second === undefined)
    return 'must lead into the detail of the event: detail.data.iban';
  if (more.length === 0 && (second === '*' || kept.includes(second)))
    return `would take ${kept.join(' and ')} along, which executions are found by`;
  return null;
}

/**
 * A comma-separated list of paths, `detail.data.iban, detail.data.cards[*].number`: the names of members with dots between, `[*]` or `*` for
 * every element or member, `[0]` for one. Those that are not there do no harm.
 */
export const RedactedPaths = z
  .string()
  .default('')
  .transform((list) =>
    list
      .split(',')
      .map((path) => path.trim())
      .filter((path) => path !== '')
      .map((path) => path.replace(/^\$\./u, '').replaceAll(/\[(?<element>\*|\d+)\]/gu, '.$<element>')),
  )
  .superRefine((paths, context) => {
    for (const path of paths) {
      const problem = pathProblem(path);
      if (problem !== null) context.addIssue({ code: 'custom', message: `"${path}" ${problem}` });
    }
  })
  .describe(
    'Comma-separated paths of values that are kept encrypted and shown as ***, such as detail.data.iban, detail.data.cards[*].number',
  );

/**
 * Takes the values at the paths out of the text of an event. What is left is JSON again, and every other character is as it was. Null when there
 * is nothing to take out: no such value, or no JSON. JSON in which nothing can be found, because of its depth, is taken out as a whole.
 */
export function redact(text: string, paths: readonly RedactedPath[]): { text: string; cuts: Cut[] } | null {
  if (paths.length === 0) return null;
  const tree = readTree(text);
  if (tree === 'too deep') return { text: mask, cuts: [[0, text]] };
  const found = outermost(valuesAt(tree, paths));
  if (found.length === 0) return null;
  const cuts: Cut[] = [];
  let redacted = '';
  let end = 0;
  for (const { offset, length } of found) {
    redacted += text.slice(end, offset);
    cuts.push([redacted.length, text.slice(offset, offset + length)]);
    redacted += mask;
    end = offset + length;
  }
  return { text: redacted + text.slice(end), cuts };
}

/** The text as it was. */
export function restore(text: string, cuts: readonly Cut[]): string {
  let restored = '';
  let end = 0;
  for (const [offset, json] of cuts) {
    restored += text.slice(end, offset) + json;
    end = offset + mask.length;
  }
  return restored + text.slice(end);
}

/** As much of the way to a value as may be shown: what is redacted has names inside that are nobody's business either. */
export function visiblePath(path: readonly string[], paths: readonly RedactedPath[]): readonly string[] {
  const lengths = paths
    .map((redacted) => redacted.split('.'))
    .filter((names) =>
      names.every((name, index) => (name === '*' ? index < path.length : name === path[index])),
    )
    .map(({ length }) => length);
  return path.slice(0, Math.min(path.length, ...lengths));
}

/** The texts and numbers in the values that were taken out, numbers also as JavaScript writes them: so the HTTP targets get them. */
export const wordsIn = (cuts: readonly Cut[]): string[] =>
  cuts.flatMap(([, json]) => {
    // A script gets a number as it was written: it may have more digits than JavaScript keeps.
    const tree = parseTree(json);
    return tree === undefined ? [] : leavesOf(tree, json);
  });

// The text of an event that can be delivered was parsed before; of all others the parser makes what it can, and fails on what is nested without
// end. JSON.parse does not.
function readTree(text: string): Node | 'too deep' | undefined {
  try {
    const errors: [] = [];
    const tree = parseTree(text, errors, { disallowComments: true });
    return errors.length === 0 ? tree : undefined;
  } catch (error) {
    if (error instanceof RangeError) return isJson(text) ? 'too deep' : undefined;
    throw error;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** In the order of the text. */
function valuesAt(root: Node | undefined, paths: readonly RedactedPath[]): Node[] {
  if (root === undefined) return [];
  const found = new Set<Node>();
  for (const path of paths) {
    let nodes = [root];
    for (const name of path.split('.')) nodes = nodes.flatMap((node) => membersOf(node, name));
    for (const node of nodes) found.add(node);
  }
  return [...found].toSorted((a, b) => a.offset - b.offset);
}

// A name that stands there twice counts twice: which of the two a receiver takes is not known.
function membersOf({ type, children = [] }: Node, name: string): Node[] {
  if (type === 'array')
    return name === '*' ? children : children.filter((_, index) => String(index) === name);
  if (type !== 'object') return [];
  return children.flatMap(({ children: [key, value] = [] }) =>
    value !== undefined && (name === '*' || key?.value === name) ? [value] : [],
  );
}

/** Without those that are inside of another. */
const outermost = (nodes: readonly Node[]): Node[] => {
  let end = 0;
  return nodes.filter(({ offset, length }) => {
    if (offset < end) return false;
    end = offset + length;
    return true;
  });
};

function leavesOf(node: Node, text: string): string[] {
  if (node.type === 'string') return [getNodeValue(node) as string];
  if (node.type === 'number') {
    const written = text.slice(node.offset, node.offset + node.length);
    const value = getNodeValue(node) as number;
    return Number.isFinite(value) ? [written, JSON.stringify(value)] : [written];
  }
  if (node.type === 'property')
    return (node.children ?? []).slice(1).flatMap((value) => leavesOf(value, text));
  return (node.children ?? []).flatMap((child) => leavesOf(child, text));
}
