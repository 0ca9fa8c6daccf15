// The thread that transforms run in. Whatever an expression does, transform-process.ts watches and ends it.
import { parentPort } from 'node:worker_threads';
import jsonata from 'jsonata';
import { maxTransformedBytes, type TransformAnswer, type TransformJob } from './transform-limits.ts';

// Deeper than anything that walks through an event of 1000 levels, and shallow enough for the stack to hold.
const maxDepth = 3000;
const maxCompiled = 500;
const compiled = new Map<string, jsonata.Expression>();

let clockMs = 0;
let dice = 0;
const RealDate = Date;
// A repeated attempt has to send the same body, so time stands still at the event's own, and chance comes from its id.
globalThis.Date = class extends RealDate {
  constructor(...given: [] | [number]) {
    super(...(given.length === 0 ? ([clockMs] as const) : given));
  }
  static override now(): number {
    return clockMs;
  }
} as DateConstructor;
// Mulberry32: https://github.com/cprosche/mulberry32
Math.random = () => {
  dice = (dice + 0x6d2b79f5) | 0;
  let mixed = Math.imul(dice ^ (dice >>> 15), 1 | dice);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

function compile(expression: string): jsonata.Expression {
  const known = compiled.get(expression);
  if (known !== undefined) return known;
  if (compiled.size >= maxCompiled) compiled.clear();
  const made = jsonata(expression, { stack: maxDepth });
  compiled.set(expression, made);
  return made;
}

async function run({ expression, event, time, seed }: TransformJob): Promise<TransformAnswer> {
  clockMs = time;
  dice = seed;
  try {
    const ready = compile(expression);
    if (event === null) return { body: '' };
    return bodyOf(await ready.evaluate(JSON.parse(event)));
  } catch (error) {
    return { problem: sentenceOf(error) };
  }
}

function bodyOf(result: unknown): TransformAnswer {
  if (result === undefined) return { problem: 'gave nothing' };
  const notJson = new Set<string>();
  const body = JSON.stringify(result, (_key, value: unknown) => {
    if (typeof value === 'number' && !Number.isFinite(value)) notJson.add('a number out of range');
    if (!isFunction(value)) return value;
    notJson.add('a function');
    // It holds all that is in sight of it, and itself.
    return null;
  });
  if (notJson.size > 0) return { problem: `gave what is not JSON: ${[...notJson].join(', ')}` };
  const bytes = Buffer.byteLength(body);
  return bytes > maxTransformedBytes
    ? { problem: `gave ${bytes} bytes; at most ${maxTransformedBytes} are sent` }
    : { body };
}

const isFunction = (value: unknown): boolean =>
  typeof value === 'function' ||
  (typeof value === 'object' &&
    value !== null &&
    ('_jsonata_lambda' in value || '_jsonata_function' in value));

// What JSONata puts into a sentence of what the expression was working on. That may be anybody's, and nobody shall read it in the log.
const valuesInSentences = ['value', 'value2', 'exp'] as const;

function sentenceOf(error: unknown): string {
  if (error instanceof RangeError) return 'goes too deep, or makes a text that is too long';
  const { code, message, position, token, ...values } = error as Partial<jsonata.JsonataError> &
    Partial<Record<(typeof valuesInSentences)[number], unknown>>;
  if (typeof message !== 'string') return 'failed without saying why';
  // Those of the parser have signs from the expression itself.
  const shown = code?.startsWith('S') === true ? message : withoutValues(message, values);
  const sentence = shown.replaceAll(/[\p{Cc}\s]+/gu, ' ');
  const place = [
    ...(typeof position === 'number' ? [`position ${position}`] : []),
    ...(typeof token === 'string' ? [`at "${token}"`] : []),
  ];
  return place.length === 0 ? sentence : `${sentence} (${place.join(', ')})`;
}

function withoutValues(
  message: string,
  values: Partial<Record<(typeof valuesInSentences)[number], unknown>>,
): string {
  const shown = valuesInSentences
    .filter((name) => !isFunction(values[name]))
    .map((name) => JSON.stringify(values[name]) as string | undefined)
    .filter((json) => json !== undefined)
    // The longest first: one may be a part of another.
    .toSorted((a, b) => b.length - a.length);
  return shown.reduce((left, json) => left.replaceAll(json, '***'), message);
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- threads have no origin
const tell = (message: TransformAnswer | 'ready'): void => parentPort?.postMessage(message);
parentPort?.on('message', (job: TransformJob) => void run(job).then(tell));
tell('ready');
