// Pure core: imports nothing.

/**
 * A piece of text that is looked for, with the table of Knuth, Morris and Pratt: for each of its beginnings the longest other beginning
 * that it ends with. So no character of a text is looked at twice, whatever somebody has written into the piece.
 */
type Piece = { text: string; table: readonly number[] };

/** The pieces of a wildcard pattern: what a text must begin with, what must follow in this order, and what it must end with. */
export type Wildcard = { begin: string; middle: readonly Piece[]; end: string } | { exactly: string };

/** Reads a pattern in which `*` is any text, `\*` a star and `\\` a backslash. @returns what is wrong, as a text */
export function readWildcard(pattern: string): Wildcard | string {
  const pieces = [''];
  let afterStar = false;
  for (let index = 0; index < pattern.length; index++) {
    let character = pattern[index] as string;
    if (character === '*') {
      if (afterStar) return 'must not have two stars in a row';
      pieces.push('');
      afterStar = true;
      continue;
    }
    afterStar = false;
    if (character === '\\') {
      index += 1;
      character = pattern[index] ?? '';
      if (character !== '*' && character !== '\\')
        return String.raw`has a backslash before something else than * or \: write \\ for a backslash itself`;
    }
    pieces[pieces.length - 1] += character;
  }
  const [begin = '', ...rest] = pieces;
  const end = rest.pop();
  if (end === undefined) return { exactly: begin };
  return { begin, middle: rest.map((text) => ({ text, table: tableOf(text) })), end };
}

/** Takes time that grows with the length of the text, and not with the number of stars. */
export function matchesWildcard(wildcard: Wildcard, text: string): boolean {
  if ('exactly' in wildcard) return text === wildcard.exactly;
  const { begin, middle, end } = wildcard;
  const last = text.length - end.length;
  if (last < begin.length || !text.startsWith(begin) || !text.endsWith(end)) return false;
  let position = begin.length;
  for (const piece of middle) {
    // The first place is as good as any: it leaves the most for what follows.
    position = endOf(piece, text, position, last);
    if (position < 0) return false;
  }
  return true;
}

function tableOf(text: string): number[] {
  const table = [0];
  let length = 0;
  for (let index = 1; index < text.length; index++) {
    while (length > 0 && text[index] !== text[length]) length = table[length - 1] as number;
    if (text[index] === text[length]) length += 1;
    table.push(length);
  }
  return table;
}

/** Where the first occurrence of a piece ends that lies between these positions; -1 when there is none. */
function endOf({ text: piece, table }: Piece, text: string, from: number, to: number): number {
  let matched = 0;
  for (let index = from; index < to; index++) {
    const code = text.charCodeAt(index);
    while (matched > 0 && code !== piece.charCodeAt(matched)) matched = table[matched - 1] as number;
    if (code === piece.charCodeAt(matched)) matched += 1;
    if (matched === piece.length) return index + 1;
  }
  return -1;
}

/** A text whose case does not matter: for each of its characters what may stand there. */
export type AnyCase = readonly (readonly string[])[];

/**
 * Each character by itself, in upper and in lower case, as Unicode has them without regard to any language. Nothing is normalised: the two
 * ways to write an accent differ.
 */
export const readAnyCase = (text: string): AnyCase =>
  Array.from(text, (character) => [
    ...new Set([character, character.toLowerCase(), character.toUpperCase()]),
  ]);

/** How much of the text it takes from the beginning; -1 when that is something else. */
function lengthAtBegin(pattern: AnyCase, text: string): number {
  let position = 0;
  for (const forms of pattern) {
    const form = forms.find((one) => text.startsWith(one, position));
    if (form === undefined) return -1;
    position += form.length;
  }
  return position;
}

export const equalsAnyCase = (pattern: AnyCase, text: string): boolean =>
  lengthAtBegin(pattern, text) === text.length;

export const beginsAnyCase = (pattern: AnyCase, text: string): boolean => lengthAtBegin(pattern, text) >= 0;

export function endsAnyCase(pattern: AnyCase, text: string): boolean {
  let position = text.length;
  for (let index = pattern.length - 1; index >= 0; index--) {
    const form = pattern[index]?.find((one) => text.endsWith(one, position));
    if (form === undefined) return false;
    position -= form.length;
  }
  return true;
}
