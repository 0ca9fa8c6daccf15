import { maxErrorLength, maxOutputBytes, maxResponseBytes, type Outcome } from './outcome.ts';

const mask = '***';
// What is shorter stands in any text by chance.
const minSecretLength = 4;
// In UTF-8. A text that was cut between characters may be shorter than its limit by almost that much.
const maxCharacterBytes = 4;

/**
 * Takes secrets out of what came back from a target before it is kept: an endpoint may answer with the request that it got. What is found is each
 * secret as it is, as JSON and URLs have it and in base64, and what is left of it where the text was cut.
 */
export function redactOutcome<Some extends Outcome>(outcome: Some, secrets: readonly string[]): Some {
  if (outcome.kind === 'put-off') return outcome;
  // Most endpoints say nothing.
  if (outcome.kind === 'succeeded' && outcome.response === null && outcome.output === undefined)
    return outcome;
  const forms = formsOf(secrets);
  const clean = (text: string, isFull: boolean) => {
    const cleaned = forms.reduce((before, form) => before.replaceAll(form, mask), text);
    return isFull ? withoutCutSecrets(cleaned, forms) : cleaned;
  };
  const hasBytes = (text: string, max: number) => Buffer.byteLength(text) > max - maxCharacterBytes;
  const { response, output } = outcome;
  return {
    ...outcome,
    response: response === null ? null : clean(response, hasBytes(response, maxResponseBytes)),
    ...(output !== undefined && { output: clean(output, hasBytes(output, maxOutputBytes)) }),
    ...(outcome.kind === 'failed' && {
      error: clean(outcome.error, outcome.error.length >= maxErrorLength),
    }),
  };
}

// The longest first: one may be a part of another.
const formsOf = (secrets: readonly string[]): string[] =>
  [
    ...new Set(
      secrets
        .filter(({ length }) => length >= minSecretLength)
        .flatMap((secret) => [
          secret,
          JSON.stringify(secret).slice(1, -1),
          encodeURIComponent(secret.toWellFormed()),
          Buffer.from(secret).toString('base64'),
          Buffer.from(secret).toString('base64url'),
        ]),
    ),
  ].toSorted((a, b) => b.length - a.length);

/** A secret may have been cut in two: responses and errors are cut at their end, what a script printed at its beginning. */
function withoutCutSecrets(text: string, forms: readonly string[]): string {
  const longest = (isThere: (form: string, length: number) => boolean): number => {
    for (let length = (forms[0]?.length ?? 0) - 1; length >= minSecretLength; length--) {
      if (forms.some((form) => form.length > length && isThere(form, length))) return length;
    }
    return 0;
  };
  const atEnd = longest((form, length) => text.endsWith(form.slice(0, length)));
  const atStart = longest((form, length) => text.startsWith(form.slice(-length)));
  const middle = text.slice(atStart, text.length - atEnd);
  return `${atStart > 0 ? mask : ''}${middle}${atEnd > 0 ? mask : ''}`;
}
