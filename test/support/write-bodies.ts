// Writes the bodies anew that test/shared/events/bodies.test.ts compares with: for a change that is meant.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { payloadFormats } from '../../shared/events/format.ts';
import { bodiesFolder, bodyFile, bodyOf, everyType } from './bodies.ts';

for (const format of payloadFormats) {
  const folder = new URL(`${format}/`, bodiesFolder);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const type of everyType) {
    await writeFile(new URL(bodyFile(format, type.name), bodiesFolder), bodyOf(format, type));
  }
}
