import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  maxStoredEventBytes,
  packText,
  storageProblem,
  unpackText,
} from '../../../shared/events/packed-text.ts';

/** Text that compresses by a quarter. */
const denseNoise = (bytes: number) => randomBytes(bytes).toString('base64').slice(0, bytes);

describe('unpackText', () => {
  it.each(['', '{"a":"漢"}', 'a'.repeat(100_000)])('gives what was packed, and what was not', (text) => {
    expect([unpackText(packText(text)), unpackText(text)]).toEqual([text, text]);
  });
});

describe('storageProblem', () => {
  it('takes 256 KB of event, however badly it compresses', () => {
    expect(storageProblem(denseNoise(maxStoredEventBytes))).toBeNull();
  });

  it('takes an event of 1 MB that compresses well', () => {
    expect(storageProblem('a'.repeat(1_048_576))).toBeNull();
  });

  it('names both sizes of an event that does not fit', () => {
    expect(storageProblem(denseNoise(500_000))).toMatch(
      /^The event has 3\d{5} bytes compressed; at most 262144 can be kept with its executions\.$/u,
    );
  });
});
