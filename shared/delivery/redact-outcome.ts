import { maxErrorLength, maxOutputBytes, maxResponseBytes, type Outcome } from './outcome.ts';

const mask = '***';
// What is shorter stands in any text by chance.
const minSecretLength = 4;
// In UTF-8. A text that was cut between characters may be shorter than its limit by almost that much.
const maxCharacterBytes = 4;

/**
 * Takes secrets out of what came back from a target before it is kept: an endpoint may answer with the request that it got. What is found is each
 * secret as it is, in base64, and as JSON and URLs have it, whichever characters they escape; and what is left of it where the text was cut.
 */
export function redactOutcome<Some extends Outcome>(outcome: Some, secrets: readonly string[]): Some {
  if (outcome.kind === 'put-off') return outcome;
  // Most endpoints say nothing.
  if (outcome.kind === 'succeeded' && outcome.response === null && outcome.output === undefined)
    return outcome;
  const forms = formsOf(secrets);
  const hasBytes = (text: string, max: number) => Buffer.byteLength(text) > max - maxCharacterBytes;
  const { response, output, isBrokenOff = false } = outcome;
  return {
    ...outcome,
    response:
      response === null
        ? null
        : without(forms, response, isBrokenOff || hasBytes(response, maxResponseBytes)),
    ...(output !== undefined && { output: without(forms, output, hasBytes(output, maxOutputBytes)) }),
    ...(outcome.kind === 'failed' && {
      error: without(forms, outcome.error, outcome.error.length >= maxErrorLength),
    }),
  };
}

const formsOf = (secrets: readonly string[]): string[] => [
  ...new Set(
    secrets
      .filter(({ length }) => length >= minSecretLength)
      .flatMap((secret) => {
        const url = encodeURIComponent(secret.toWellFormed());
        return [
          secret,
          // What a script says of its failure has become one line.
          secret
            .replaceAll(/[\p{Cc}\s]+/gu, ' ')
            .trim()
            .toWellFormed(),
          JSON.stringify(secret).slice(1, -1),
          url,
          url.replaceAll('%20', '+'),
          Buffer.from(secret).toString('base64'),
          Buffer.from(secret).toString('base64url'),
        ];
      })
      .filter(({ length }) => length >= minSecretLength),
  ),
];

function without(forms: readonly string[], text: string, isCut: boolean): string {
  const hidden = new Uint8Array(text.length);
  for (const { read, startOf } of readingsOf(text)) {
    for (const form of sharingWords(forms, read)) {
      for (const [from, to] of placesOf(form, read, isCut)) hidden.fill(1, startOf(from), startOf(to));
    }
  }
  let shown = '';
  let end = 0;
  for (let at = hidden.indexOf(1); at !== -1; at = hidden.indexOf(1, end)) {
    shown += text.slice(end, at) + mask;
    const next = hidden.indexOf(0, at);
    end = next === -1 ? text.length : next;
  }
  return shown + text.slice(end);
}

/** A text as somebody reads it, and where in the text its characters begin; what comes after the last one begins where the text ends. */
type Reading = { read: string; startOf: (index: number) => number };

// Which characters are escaped, and how, is up to who writes JSON: `\/` in PHP, `\u00fc` in Python, `\u002B` in .NET. An echo of a
// request often has JSON in JSON.
function readingsOf(text: string): Reading[] {
  const asItIs: Reading = { read: text, startOf: (index) => index };
  const json = unescaped(asItIs);
  const jsonInJson = json && unescaped(json);
  const url = text.replaceAll(/%[\da-f]{2}/giu, (escape) => escape.toUpperCase());
  return [asItIs, json, jsonInJson, url === text ? null : { ...asItIs, read: url }].filter(
    (reading) => reading !== null,
  );
}

// Of an escape that was cut in two nothing is left at the end.
const jsonEscape = /\\(?:(?:u(?<code>[\da-f]{4})|(?<letter>["\\/bfnrt]))|(?:u[\da-f]{0,3})?$)/giu;

/** Null when there is no escape. */
function unescaped({ read, startOf }: Reading): Reading | null {
  if (!read.includes('\\')) return null;
  const starts = new Uint32Array(read.length + 1);
  let plain = '';
  let end = 0;
  const take = (text: string, from: number) => {
    for (let index = 0; index < text.length; index++) starts[plain.length + index] = startOf(from + index);
    plain += text;
  };
  for (const { 0: escape, index, groups: { code, letter } = {} } of read.matchAll(jsonEscape)) {
    take(read.slice(end, index), end);
    if (code !== undefined || letter !== undefined) {
      take(JSON.parse(`"${escape.toLowerCase()}"`) as string, index);
    }
    end = index + escape.length;
  }
  take(read.slice(end), end);
  starts[plain.length] = startOf(read.length);
  return { read: plain, startOf: (index) => starts[index] ?? 0 };
}

// To look for a few costs less than to look whether it is worth it.
const fewForms = 100;

/** Those of which the first or the last characters are in a text. An event can have a hundred thousand values, and the text has 4 KB. */
function sharingWords(forms: readonly string[], text: string): readonly string[] {
  if (forms.length <= fewForms) return forms;
  const words = new Set<string>();
  for (let index = 0; index + minSecretLength <= text.length; index++) {
    words.add(text.slice(index, index + minSecretLength));
  }
  return forms.filter(
    (form) => words.has(form.slice(0, minSecretLength)) || words.has(form.slice(-minSecretLength)),
  );
}

/** Where a secret is in a text, whole or cut in two: responses and errors are cut at their end, what a script printed at its beginning. */
function placesOf(form: string, text: string, isCut: boolean): [from: number, to: number][] {
  const places: [number, number][] = [];
  for (let at = text.indexOf(form); at !== -1; at = text.indexOf(form, at + 1)) {
    places.push([at, at + form.length]);
  }
  if (!isCut) return places;
  const head = form.slice(0, minSecretLength);
  const first = Math.max(0, text.length - form.length + 1);
  for (let at = text.indexOf(head, first); at !== -1; at = text.indexOf(head, at + 1)) {
    if (form.startsWith(text.slice(at))) places.push([at, text.length]);
  }
  const tail = form.slice(-minSecretLength);
  const last = form.length - 1 - minSecretLength;
  for (
    let at = text.lastIndexOf(tail, last);
    at !== -1;
    at = at === 0 ? -1 : text.lastIndexOf(tail, at - 1)
  ) {
    if (form.endsWith(text.slice(0, at + minSecretLength))) places.push([0, at + minSecretLength]);
  }
  return places;
}
