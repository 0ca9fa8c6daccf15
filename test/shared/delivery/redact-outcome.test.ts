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
