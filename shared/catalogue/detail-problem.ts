// Pure: imports nothing but zod.
import type { z } from 'zod';

/** One thing that is wrong with a `Detail` by the schema of its type. It never holds a value of the event, which may be nobody's business. */
export type DetailProblem = { path: readonly string[]; message: string };

// A list can have a hundred thousand items that are all wrong, and nobody reads on.
const maxProblems = 100;

/** What is wrong with a `Detail` by a zod schema; the first hundred things, if it is more. */
export function zodProblems(schema: z.ZodType, detail: unknown): DetailProblem[] {
  const { error } = schema.safeParse(detail);
  return (error?.issues ?? []).slice(0, maxProblems).map((issue) => ({
    path: issue.path.map(String),
    message: valueAt(detail, issue.path) === undefined ? 'is missing' : messageOf(issue),
  }));
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (found, key) =>
      typeof found === 'object' && found !== null ? (found as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
}

// zod's own words say what the type of the value is, and those of the catalogue's fields what it must be.
function messageOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.message.startsWith('Invalid input')
        ? `must be ${articleOf(issue.expected)}`
        : issue.message;
    case 'invalid_value':
      return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
    default:
      return issue.message;
  }
}

const articleOf = (type: string): string =>
  type === 'record' || type === 'object' ? 'an object' : type === 'array' ? 'a list' : `a ${type}`;

const maxSentences = 10;
const maxNameLength = 60;
const maxSentenceLength = 300;

/** The problems as sentences that begin with the path, `data.balance is missing`: a few, of bounded length, and how many more there are. */
export function sentencesOf(problems: readonly DetailProblem[]): string[] {
  const sentences = [...new Set(problems.map(sentenceOf))];
  if (sentences.length <= maxSentences) return sentences;
  const shown = sentences.slice(0, maxSentences - 1);
  const more = sentences.length - shown.length;
  return [...shown, `and ${sentences.length < maxProblems ? more : 'many'} more`];
}

const sentenceOf = ({ path, message }: DetailProblem): string =>
  shorten(`${fieldOf(path)} ${message}`, maxSentenceLength);

/** The path as it stands in sentences and in the errors of the API. */
export const fieldOf = (path: readonly string[]): string =>
  path.length === 0 ? 'detail' : path.map((name) => shorten(name, maxNameLength)).join('.');

const shorten = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 3)}...` : text;
