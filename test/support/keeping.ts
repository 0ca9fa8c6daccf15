import { randomBytes } from 'node:crypto';
import { createKeeping } from '../../shared/events/keeping.ts';

/** Of a deployment that redacts these paths; without any, all is kept as it comes. */
export function aKeeping(...paths: string[]) {
  const dataKey = randomBytes(32);
  return createKeeping({ paths, dataKey: async () => dataKey });
}
