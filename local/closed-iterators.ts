/**
 * Makes dynalite close the iterators that it reads the store with. When a stream of its is done with, it calls their `return`, which they do not
 * have: theirs is `close` (abstract-level 3). One that stays open keeps the store as it was at that time, so that with every query all that is
 * written stays in memory, and every file on the disk. Loaded before the first table is opened; it changes the module for the whole thread.
 */
import { ClassicLevel } from 'classic-level';

type Iterator = { close: () => Promise<void>; return?: () => Promise<void> };
type Open = (this: unknown, ...args: unknown[]) => Iterator;

const level = Object.getPrototypeOf(ClassicLevel.prototype) as Record<'keys' | 'values', Open>;

for (const method of ['keys', 'values'] as const) {
  const open = level[method];
  level[method] = function (...args) {
    const iterator = open.apply(this, args);
    iterator.return = () => iterator.close();
    return iterator;
  };
}
