// Pure core: imports nothing.
// Reads texts that JSON.parse has taken before, so nothing is checked here but for the end. What is cut out is as it was written, to the last digit: JSON.parse
// rounds numbers, and a reviver that keeps their text (with JSON.rawJSON) took 20 times as long as this.

/** Where a value ends that begins at `start`. */
export function endOfValue(json: string, start: number): number {
  let depth = 0;
  let at = start;
  do {
    const code = json.charCodeAt(at);
    if (code === quote) at = endOfString(json, at);
    else if (code === openBrace || code === openBracket) [depth, at] = [depth + 1, at + 1];
    else if (code === closeBrace || code === closeBracket) [depth, at] = [depth - 1, at + 1];
    else if (depth > 0) at += 1;
    else return endOfWord(json, at);
  } while (depth > 0 && at < json.length);
  return at;
}

/**
 * Goes through the members of the object that begins at `start`, and says where it ends.
 *
 * @param read is given each name and where its value begins, and says where that ends
 */
export function readObject(
  json: string,
  start: number,
  read: (name: string, start: number) => number,
): number {
  let at = skipSpace(json, start + 1);
  while (at < json.length && json.charCodeAt(at) !== closeBrace) {
    const endOfName = endOfString(json, at);
    const name = stringOf(json.slice(at, endOfName));
    at = skipSpace(json, read(name, skipSpace(json, skipSpace(json, endOfName) + 1)));
    if (json.charCodeAt(at) === comma) at = skipSpace(json, at + 1);
  }
  return at + 1;
}

/** The same for the elements of an array. */
export function readArray(json: string, start: number, read: (start: number) => number): number {
  let at = skipSpace(json, start + 1);
  while (at < json.length && json.charCodeAt(at) !== closeBracket) {
    at = skipSpace(json, read(at));
    if (json.charCodeAt(at) === comma) at = skipSpace(json, at + 1);
  }
  return at + 1;
}

/**
 * The members of the object that begins at `start`, in the order of the text, each value as it was written, and where it ends. Of a name that
 * stands there twice the last one counts, as it does for JSON.parse.
 */
export function membersAt(json: string, start: number): { members: Map<string, string>; end: number } {
  const members = new Map<string, string>();
  const end = readObject(json, start, (name, valueStart) => {
    const valueEnd = endOfValue(json, valueStart);
    members.set(name, json.slice(valueStart, valueEnd));
    return valueEnd;
  });
  return { members, end };
}

/** Where the text begins that is not space. */
export const startOf = (json: string): number => skipSpace(json, 0);

/** An object of these members. */
export function objectOf(members: Iterable<readonly [name: string, value: string]>): string {
  let text = '';
  // Joined by `+`: that copies nothing before the whole text is needed, however deep the objects are that it makes up.
  for (const [name, value] of members) text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${value}`;
  return `{${text}}`;
}

const [quote, comma, backslash, space] = [0x22, 0x2c, 0x5c, 0x20];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

const stringOf = (json: string): string =>
  json.includes('\\') ? (JSON.parse(json) as string) : json.slice(1, -1);

/** The quotation mark that an even number of backslashes, or none, stands before ends the string. */
function endOfString(json: string, start: number): number {
  let end = start;
  for (;;) {
    end = json.indexOf('"', end + 1);
    if (end === -1) return json.length;
    let before = end - 1;
    while (json.charCodeAt(before) === backslash) before -= 1;
    if ((end - before) % 2 === 1) return end + 1;
  }
}

/** Of a number, true, false or null. */
function endOfWord(json: string, start: number): number {
  let at = start;
  for (; at < json.length; at += 1) {
    const code = json.charCodeAt(at);
    if (code <= space || code === comma || code === closeBrace || code === closeBracket) break;
  }
  return at;
}

function skipSpace(json: string, start: number): number {
  let at = start;
  while (json.charCodeAt(at) <= space) at += 1;
  return at;
}
