import { vi } from 'vitest';

type Line = Record<string, unknown>;

/** Keeps what the log says from now on until the test ends, instead of printing it. Metrics are left out. */
export function captureLog(): Line[] {
  const lines: Line[] = [];
  const keep = (text: string | Uint8Array): boolean => {
    const line = JSON.parse(String(text)) as Line;
    if (!('_aws' in line)) lines.push(line);
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(keep);
  vi.spyOn(process.stderr, 'write').mockImplementation(keep);
  return lines;
}
