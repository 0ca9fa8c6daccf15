// Pure core: imports nothing but its own kind.
import { compareDecimals, decimalKey, readDecimal, type Decimal } from './exact-number.ts';
import { numberText } from './exact-json.ts';
import { isInRange, readCidr } from './ip-range.ts';
import {
  beginsAnyCase,
  endsAnyCase,
  equalsAnyCase,
  matchesWildcard,
  readAnyCase,
  readWildcard,
} from './text-pattern.ts';
import { isObject } from '../json-object.ts';

/** What is wrong with a filter, and where: the names and positions that lead there, from the filter on. */
export type FilterFault = { path: readonly (string | number)[]; message: string };

/** Something that is neither an object nor a list. Numbers as `parseExact` leaves them. */
export type Leaf = unknown;

/** One of the ways in which a leaf may be what a filter asks for. */
type Test = {
  /** In words, so that it can stand behind "must be". */
  asked: string;
  matches: (leaf: Leaf) => boolean;
  /** How often it goes through the whole of a text or a number; 0 when not absent. */
  scans?: number;
};

/** What a filter asks of one field: that one of these holds. */
export type Condition = {
  /** Exact values. */
  texts: ReadonlySet<string>;
  /** As they were written: 300, 300.0 and 3e2 are three. */
  numbers: ReadonlySet<string>;
  /** true, false, null. */
  words: ReadonlySet<unknown>;
  tests: readonly Test[];
  /** How often all of them together go through the whole of a leaf. */
  scans: number;
  /** Whether it holds where there is no such leaf. */
  takesAbsence: boolean;
  /** In words, each of the ways. */
  asked: readonly string[];
};

/** What a filter costs that is not seen in its size. */
export type Reading = { faults: FilterFault[]; wildcards: number; readsNumbers: boolean };

// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html (numeric matching)
const largest = readDecimal('5e9');
const smallest = readDecimal('-5e9');

/** @param values the list of a field, which has at least one value */
export function readCondition(
  values: readonly unknown[],
  path: FilterFault['path'],
  reading: Reading,
): Condition {
  const texts = new Set<string>();
  const numbers = new Set<string>();
  const words = new Set<unknown>();
  const tests: Test[] = [];
  const asked: string[] = [];
  let takesAbsence = false;
  for (const [index, value] of values.entries()) {
    const at = [...path, index];
    const number = numberText(value);
    if (number !== null) {
      reading.readsNumbers = true;
      numbers.add(number);
      asked.push(number);
    } else if (typeof value === 'string') {
      texts.add(value);
      asked.push(quote(value));
    } else if (value === null || typeof value === 'boolean') {
      words.add(value);
      asked.push(String(value));
    } else if (Array.isArray(value)) {
      reading.faults.push({
        path: at,
        message: `must be a text, a number, true, false, null or an object with one operator, not a list`,
      });
    } else {
      const test = readOperator(value as object, at, reading);
      if (test === 'absence') {
        takesAbsence = true;
        asked.push('absent');
      } else if (test !== null) {
        tests.push(test);
        asked.push(test.asked);
      }
    }
  }
  const scans = tests.reduce((sum, test) => sum + (test.scans ?? 0), 0);
  return { texts, numbers, words, tests, scans, takesAbsence, asked };
}

/** Whether a leaf is what is asked for. */
export function holdsFor({ texts, numbers, words, tests }: Condition, leaf: Leaf): boolean {
  if (typeof leaf === 'string') {
    if (texts.has(leaf)) return true;
  } else if (leaf === null || typeof leaf === 'boolean') {
    if (words.has(leaf)) return true;
  } else if (numbers.size > 0 && numbers.has(numberText(leaf) ?? '')) return true;
  return tests.some(({ matches }) => matches(leaf));
}

const operators = [
  'prefix',
  'suffix',
  'equals-ignore-case',
  'wildcard',
  'anything-but',
  'numeric',
  'cidr',
  'exists',
];

function readOperator(object: object, path: FilterFault['path'], reading: Reading): Test | 'absence' | null {
  const { faults } = reading;
  const entries = Object.entries(object) as [string, unknown][];
  const [[name, operand] = ['', undefined]] = entries;
  if (entries.length !== 1) {
    faults.push({
      path,
      message: `must have exactly one operator${entries.length > 1 ? '; write { ... }, { ... } for two ways to match' : ''}`,
    });
    return null;
  }
  const at = [...path, name];
  const wrong = (message: string): null => {
    faults.push({ path: at, message });
    return null;
  };
  switch (name) {
    case 'exactly':
      return typeof operand === 'string'
        ? textTest(quote(operand), (text) => text === operand)
        : wrong(aText);
    case 'prefix':
    case 'suffix':
      return readAffix(name, operand, at, reading);
    case 'equals-ignore-case': {
      if (typeof operand !== 'string') return wrong(aText);
      const pattern = readAnyCase(operand);
      return textTest(`${quote(operand)} in any case`, (text) => equalsAnyCase(pattern, text));
    }
    case 'wildcard': {
      if (typeof operand !== 'string') return wrong(aText);
      const wildcard = readWildcard(operand);
      reading.wildcards += 1;
      return typeof wildcard === 'string'
        ? wrong(wildcard)
        : {
            ...textTest(`text like ${quote(operand)}`, (text) => matchesWildcard(wildcard, text)),
            scans: 1,
          };
    }
    case 'anything-but':
      return readAnythingBut(operand, at, reading);
    case 'numeric':
      return readNumeric(operand, at, reading);
    case 'cidr': {
      if (typeof operand !== 'string') return wrong('must be a text such as "10.0.0.0/24"');
      const range = readCidr(operand);
      return typeof range === 'string'
        ? wrong(range)
        : textTest(`an address in ${operand}`, (text) => isInRange(range, text));
    }
    case 'exists':
      if (operand === false) return 'absence';
      return operand === true
        ? { asked: 'there, with any value', matches: () => true }
        : wrong('must be true or false');
    default:
      return wrong(`is no operator; those are ${operators.join(', ')}`);
  }
}

const aText = 'must be one text';

const textTest = (asked: string, matches: (text: string) => boolean): Test => ({
  asked,
  matches: (leaf) => typeof leaf === 'string' && matches(leaf),
});

const affixWords = { prefix: 'begins', suffix: 'ends' };

function readAffix(
  name: 'prefix' | 'suffix',
  operand: unknown,
  path: FilterFault['path'],
  { faults }: Reading,
): Test | null {
  const asked = (text: string) => `text that ${affixWords[name]} with ${quote(text)}`;
  if (typeof operand === 'string') {
    return textTest(asked(operand), (text) =>
      name === 'prefix' ? text.startsWith(operand) : text.endsWith(operand),
    );
  }
  const nested = isObject(operand) ? Object.entries(operand) : [];
  const [[inner, folded] = []] = nested;
  if (nested.length !== 1 || inner !== 'equals-ignore-case') {
    faults.push({ path, message: 'must be one text, or { "equals-ignore-case": "..." }' });
    return null;
  }
  if (typeof folded !== 'string') {
    faults.push({ path: [...path, inner], message: aText });
    return null;
  }
  const pattern = readAnyCase(folded);
  return textTest(`${asked(folded)} in any case`, (text) =>
    name === 'prefix' ? beginsAnyCase(pattern, text) : endsAnyCase(pattern, text),
  );
}

/** What `anything-but` can be told of, with an operator of its own. */
function readAnythingBut(operand: unknown, path: FilterFault['path'], reading: Reading): Test | null {
  const { faults } = reading;
  if (isObject(operand) && numberText(operand) === null) {
    const entries = Object.entries(operand);
    const [[name, texts] = ['', undefined]] = entries;
    const read = entries.length === 1 ? nestedOperators.get(name) : undefined;
    if (read === undefined) {
      faults.push({
        path,
        message: `must be a text, a number, a list of one of them, or an object with one of ${[...nestedOperators.keys()].join(', ')}`,
      });
      return null;
    }
    return readNested(read, texts, [...path, name], reading);
  }
  const values = Array.isArray(operand) ? (operand as unknown[]) : [operand];
  if (values.length === 0) {
    faults.push({ path, message: 'must not be an empty list' });
    return null;
  }
  const numbers = values.flatMap((value) => numberText(value) ?? []);
  const texts = values.filter((value) => typeof value === 'string');
  if (numbers.length !== values.length && texts.length !== values.length) {
    faults.push({ path, message: 'must be texts alone or numbers alone' });
    return null;
  }
  if (texts.length > 0) {
    const excluded = new Set(texts);
    return {
      asked: `anything but ${either(texts.map(quote))}`,
      matches: (leaf) => !excluded.has(leaf as string),
    };
  }
  if (!numbers.every(isDouble)) {
    faults.push({ path, message: tooPrecise });
    return null;
  }
  reading.readsNumbers = true;
  // By their value, as AWS compares them here.
  const excluded = new Set(numbers.map((text) => decimalKey(readDecimal(text))));
  return {
    asked: `anything but ${either(numbers)}`,
    scans: 1,
    matches: (leaf) => {
      const text = numberText(leaf);
      return text === null || !excluded.has(decimalKey(readDecimal(text)));
    },
  };
}

type NestedOperator = {
  asked: (text: string) => string;
  mayBeEmpty: boolean;
  /** @returns what is wrong, as a text */
  read: (operand: string, reading: Reading) => ((text: string) => boolean) | string;
};

const nestedOperators = new Map<string, NestedOperator>([
  [
    'prefix',
    {
      asked: (text) => `text that begins with ${text}`,
      mayBeEmpty: false,
      read: (operand) => (text) => text.startsWith(operand),
    },
  ],
  [
    'suffix',
    {
      asked: (text) => `text that ends with ${text}`,
      mayBeEmpty: false,
      read: (operand) => (text) => text.endsWith(operand),
    },
  ],
  [
    'equals-ignore-case',
    {
      asked: (text) => `${text} in any case`,
      mayBeEmpty: true,
      read: (operand) => {
        const pattern = readAnyCase(operand);
        return (text) => equalsAnyCase(pattern, text);
      },
    },
  ],
  [
    'wildcard',
    {
      asked: (text) => `text like ${text}`,
      mayBeEmpty: true,
      read: (operand, reading) => {
        reading.wildcards += 1;
        const wildcard = readWildcard(operand);
        return typeof wildcard === 'string' ? wildcard : (text) => matchesWildcard(wildcard, text);
      },
    },
  ],
]);

function readNested(
  { asked, mayBeEmpty, read }: NestedOperator,
  operand: unknown,
  path: FilterFault['path'],
  reading: Reading,
): Test | null {
  const { faults } = reading;
  const texts = Array.isArray(operand) ? (operand as unknown[]) : [operand];
  if (texts.length === 0) faults.push({ path, message: 'must not be an empty list' });
  const before = faults.length;
  const excluded: ((text: string) => boolean)[] = [];
  for (const [index, text] of texts.entries()) {
    const at = Array.isArray(operand) ? [...path, index] : path;
    if (typeof text !== 'string') {
      faults.push({ path: at, message: 'must be a text, or a list of texts' });
      continue;
    }
    if (text === '' && !mayBeEmpty) {
      faults.push({ path: at, message: 'must not be empty: every text has it' });
      continue;
    }
    const matches = read(text, reading);
    if (typeof matches === 'string') faults.push({ path: at, message: matches });
    else excluded.push(matches);
  }
  if (faults.length > before || texts.length === 0) return null;
  return {
    asked: `anything but ${asked(either(texts.map((text) => quote(text as string))))}`,
    matches: (leaf) => typeof leaf !== 'string' || !excluded.some((matches) => matches(leaf)),
    scans: excluded.length,
  };
}

type Comparison = { name: string; operand: Decimal; text: string };

const comparisons = new Map<string, (order: number) => boolean>([
  ['=', (order) => order === 0],
  ['>', (order) => order > 0],
  ['>=', (order) => order >= 0],
  ['<', (order) => order < 0],
  ['<=', (order) => order <= 0],
]);

const howNumeric =
  'must be one comparison, such as [">", 0], or a lower bound and then an upper one, such as [">=", 0, "<", 10]';

function readNumeric(operand: unknown, path: FilterFault['path'], reading: Reading): Test | null {
  const wrong = (message: string, ...at: number[]): null => {
    reading.faults.push({ path: [...path, ...at], message });
    return null;
  };
  if (!Array.isArray(operand) || (operand.length !== 2 && operand.length !== 4)) return wrong(howNumeric);
  const bounds: Comparison[] = [];
  for (let index = 0; index < operand.length; index += 2) {
    const [name, value] = [operand[index] as unknown, numberText(operand[index + 1])];
    if (typeof name !== 'string' || !comparisons.has(name))
      return wrong(`must be one of ${[...comparisons.keys()].join(' ')}`, index);
    if (value === null) return wrong('must be a number, not a text', index + 1);
    const decimal = readDecimal(value);
    if (!isComparable(decimal)) return wrong('must be between -5e9 and 5e9', index + 1);
    if (!isDouble(value)) return wrong(tooPrecise, index + 1);
    bounds.push({ name, operand: decimal, text: value });
  }
  const [first, second] = bounds as [Comparison, Comparison?];
  if (second !== undefined) {
    if (!first.name.startsWith('>') || !second.name.startsWith('<')) return wrong(howNumeric);
    if (compareDecimals(first.operand, second.operand) >= 0)
      return wrong('must have a lower bound that is less than the upper one');
  }
  reading.readsNumbers = true;
  return {
    scans: 1,
    asked: `a number ${bounds.map(({ name, text }) => `${name} ${text}`).join(' and ')}`,
    matches: (leaf) => {
      const text = numberText(leaf);
      if (text === null) return false;
      const decimal = readDecimal(text);
      return (
        isComparable(decimal) &&
        bounds.every(({ name, operand: bound }) => comparisons.get(name)?.(compareDecimals(decimal, bound)))
      );
    },
  };
}

const tooPrecise = 'has more digits than are compared: 15, or a few more where a double has them';

// AWS refuses in a pattern what no double is. In an event every digit counts.
const isDouble = (text: string): boolean =>
  Number.isFinite(Number(text)) &&
  decimalKey(readDecimal(String(Number(text)))) === decimalKey(readDecimal(text));

const isComparable = (decimal: Decimal): boolean =>
  compareDecimals(decimal, largest) <= 0 && compareDecimals(decimal, smallest) >= 0;

const longestQuote = 100;

/** A text as JSON has it, cut where it is long. */
export const quote = (text: string): string =>
  text.length <= longestQuote ? JSON.stringify(text) : `${JSON.stringify(text.slice(0, longestQuote))}...`;

const mostNamed = 5;

/** `a`, `a or b`, `a, b or c`; of many the first ones, and how many more there are. */
export function either(phrases: readonly string[]): string {
  if (phrases.length > mostNamed) {
    return `${phrases.slice(0, mostNamed).join(', ')} or one of ${phrases.length - mostNamed} more`;
  }
  const last = phrases.at(-1) ?? '';
  return phrases.length < 2 ? last : `${phrases.slice(0, -1).join(', ')} or ${last}`;
}
