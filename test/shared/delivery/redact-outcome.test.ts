import { describe, expect, it } from 'vitest';
import {
  maxErrorLength,
  maxOutputBytes,
  maxResponseBytes,
  type Outcome,
} from '../../../shared/delivery/outcome.ts';
import { redactOutcome } from '../../../shared/delivery/redact-outcome.ts';

const answered = (response: string | null, more: object = {}): Outcome => ({
  kind: 'succeeded',
  statusCode: 200,
  response,
  ...more,
});
const responseAfter = (response: string, ...secrets: string[]) =>
  (redactOutcome(answered(response), secrets) as { response: string }).response;

describe('redactOutcome', () => {
  const secret = 'to"ken/with+odd=characters';

  it.each([
    ['as it is', secret],
    ['in JSON', JSON.stringify(secret).slice(1, -1)],
    ['in a URL', encodeURIComponent(secret)],
    ['in base64', Buffer.from(secret).toString('base64')],
    ['in base64 for URLs', Buffer.from(secret).toString('base64url')],
  ])('takes out a secret %s, wherever it stands', (_, form) => {
    expect(responseAfter(`{"a":"${form}","b":"x${form}y"}`, secret)).toBe('{"a":"***","b":"x***y"}');
  });

  it.each([
    ['escapes all that is not ASCII', String.raw`M\u00fcller \uD83D\uDE00 a/b`],
    ['escapes slashes', String.raw`Müller 😀 a\/b`],
    ['escapes whatever it likes', String.raw`\u004d\u00FCller 😀 a\u002Fb`],
    ['is JSON in JSON', String.raw`M\\u00fcller \\ud83d\\ude00 a\\/b`],
    ['is a URL in lower case', 'm=M%c3%bcller%20%f0%9f%98%80%20a%2fb'.slice(2)],
    ['is a form', 'M%C3%BCller+%F0%9F%98%80+a%2Fb'],
  ])('takes out a secret where a text %s', (_, form) => {
    expect(responseAfter(`{"a":"${form}","b":"\\n"}`, 'Müller 😀 a/b')).toBe('{"a":"***","b":"\\n"}');
  });

  it('takes out what is left of a secret where an answer broke off', () => {
    const outcome = answered(`{"a":"${secret.slice(0, 9)}`, { isBrokenOff: true });
    expect(redactOutcome(outcome, [secret])).toMatchObject({ response: '{"a":"***' });
  });

  it('takes out what is left of a secret where an escape was cut', () => {
    const cut = String.raw`Ada M\u00f`;
    const text = 'x'.repeat(maxResponseBytes - cut.length);
    expect(responseAfter(text + cut, 'Ada Müller')).toBe(`${text}***`);
  });

  it('takes out a secret of several lines from the one line of an error', () => {
    const error = 'script: Error: no such place: 12 Main St Springfield';
    expect(
      redactOutcome({ kind: 'failed', retryable: true, statusCode: null, response: null, error }, [
        '12  Main St\nSpringfield',
      ]),
    ).toMatchObject({ error: 'script: Error: no such place: ***' });
  });

  // Each value was looked for at each length of the longest: minutes, in which nothing else was delivered.
  it('takes no long time for an event of many values and a long one', () => {
    const values = [
      ...Array.from({ length: 60_000 }, (_, index) => String(10_000_000 + index)),
      'z'.repeat(400_000),
    ];
    const startedAt = performance.now();
    expect(responseAfter(`${'x'.repeat(maxResponseBytes - 8)}10000042`, ...values)).toMatch(/^x+\*\*\*$/u);
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  it('takes out every secret, the longer one first', () => {
    expect(responseAfter('abcd abcdefgh efgh', 'abcd', 'abcdefgh')).toBe('*** *** efgh');
  });

  it('leaves alone what is too short to be found', () => {
    expect(responseAfter('a cat', 'cat', '')).toBe('a cat');
  });

  it('takes out what is left of a secret at the cut of a response', () => {
    for (const length of [4, 10, secret.length - 1]) {
      const cut = secret.slice(0, length);
      const text = 'x'.repeat(maxResponseBytes - cut.length) + cut;
      expect(responseAfter(text, secret)).toBe(`${'x'.repeat(maxResponseBytes - cut.length)}***`);
    }
    // What was not cut ends as it ends.
    expect(responseAfter('it is a to"ke', secret)).toBe('it is a to"ke');
  });

  it('takes out what is left of one at the cut of an output and of an error', () => {
    const rest = secret.slice(5);
    const output = rest + 'y'.repeat(maxOutputBytes - rest.length);
    const error = 'z'.repeat(maxErrorLength - 8) + secret.slice(0, 8);
    const redacted = redactOutcome(
      { kind: 'failed', retryable: true, statusCode: null, response: null, output, error },
      [secret],
    );
    expect(redacted).toMatchObject({
      output: `***${'y'.repeat(maxOutputBytes - rest.length)}`,
      error: `${'z'.repeat(maxErrorLength - 8)}***`,
    });
  });

  it('leaves everything else as it is', () => {
    const outcome: Outcome = answered('fine', { demand: 'disable', output: 'printed' });
    expect(redactOutcome(outcome, [secret])).toEqual(outcome);
    expect(redactOutcome(answered(null), [secret])).toEqual(answered(null));
    expect(redactOutcome({ kind: 'put-off', reason: 'busy' }, [secret])).toEqual({
      kind: 'put-off',
      reason: 'busy',
    });
  });
});
