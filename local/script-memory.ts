import { setTimeout } from 'node:timers/promises';
import { log } from '../shared/log.ts';
import type { Families, Family } from './script-family.ts';

// How often the known processes of all calls are measured, and after how many times new ones are looked for. In one
// interval a script can take some hundred megabytes. Elsewhere than on Linux each look starts `ps`.
const [intervalMs, intervalsPerRefresh] = process.platform === 'linux' ? [50, 4] : [500, 1];

export type Watched = {
  /** The most that was measured, bytes. */
  peakBytes: () => number;
  stop: () => void;
};

export type MemoryWatch = (family: Family, maxBytes: number, onExceeded: () => void) => Watched;

/**
 * Watches the physical memory of calls, and calls back once for each that takes more than `maxBytes`. From outside,
 * because a limit on address space does not suit Node, which reserves far more than it uses, and V8's own limit is on
 * its heap alone.
 */
export function createMemoryWatch(families: Families): MemoryWatch {
  const watched = new Set<() => void>();
  let isRunning = false;

  async function watchAll(): Promise<void> {
    isRunning = true;
    try {
      for (let turn = 1; watched.size > 0; turn += 1) {
        await setTimeout(intervalMs);
        if (turn % intervalsPerRefresh === 0) await families.refresh();
        for (const measure of watched) measure();
      }
    } catch (error) {
      log.error('scripts.memory-unwatched', { error: error as Error });
    } finally {
      isRunning = false;
    }
  }

  return (family, maxBytes, onExceeded) => {
    let peakBytes = 0;
    const measure = () => {
      let bytes = families.residentBytes(family);
      // Children share much with their parents and with each other.
      if (bytes > maxBytes) bytes = families.proportionalBytes(family);
      peakBytes = Math.max(peakBytes, bytes);
      if (bytes <= maxBytes) return;
      watched.delete(measure);
      onExceeded();
    };
    watched.add(measure);
    if (!isRunning) void watchAll();
    return { peakBytes: () => peakBytes, stop: () => void watched.delete(measure) };
  };
}
