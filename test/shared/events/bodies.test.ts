import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { payloadFormats } from '../../../shared/events/format.ts';
import { bodiesFolder, bodyFile, bodyOf, everyType } from '../../support/bodies.ts';

const cases = payloadFormats.flatMap((format) => everyType.map((type) => [format, type.name, type] as const));

describe('the bodies in test/fixtures/bodies', () => {
  it('are one for each event type in each format, and no others', () => {
    const files = globSync('*/*', { cwd: fileURLToPath(bodiesFolder) });
    expect(files.toSorted()).toEqual(cases.map(([format, name]) => bodyFile(format, name)).toSorted());
  });

  it.each(cases)('are what is sent, to the byte (npm run write:bodies): %s, %s', (format, name, type) => {
    const kept = readFileSync(new URL(bodyFile(format, name), bodiesFolder));
    expect(kept.toString()).toBe(bodyOf(format, type));
    expect(kept).toEqual(Buffer.from(bodyOf(format, type)));
  });
});
