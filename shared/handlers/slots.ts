import type { Handler, RateLimit } from './handler.ts';
import type { RateLimits } from './rate-limit.ts';

/** A handler with a rate limit. */
export type RateLimited = Pick<Handler, 'id'> & { rateLimit: RateLimit };

/** A slot that comes within this time is waited for; what has a later one waits as data. */
export const maxSlotWaitMs = 2000;

/**
 * A slot is missed when its call would come so much later. Calls that come late in bunches would be more than the limit: with this
 * bound they are 2.5 % more in 10 seconds at most.
 */
const maxLateMs = 250;

export const isMissed = (slot: Date, now: Date): boolean => now.getTime() - slot.getTime() > maxLateMs;

/** Whether a handler has a limit. */
export const isRateLimited = (handler: Handler): handler is Handler & RateLimited =>
  handler.rateLimit !== null;

// What a batch asks for comes about at once. Whoever asks gives the others a moment, but not for ever.
const lingerMs = 50;
const maxLingerMs = 250;

type Asked = {
  rateLimit: RateLimit;
  since: number;
  timer: NodeJS.Timeout;
  resolvers: PromiseWithResolvers<Date>[];
};

/** Takes slots for the calls of one environment: those that ask at the same time share a reservation. */
export function createSlots({ reserve }: RateLimits) {
  const asked = new Map<string, Asked>();

  /** The next slot of a handler. Rejects when none could be reserved. */
  function take({ id, rateLimit }: RateLimited): Promise<Date> {
    const resolver = Promise.withResolvers<Date>();
    const others = asked.get(id);
    if (others === undefined) {
      const timer = setTimeout(() => void reserveFor(id), lingerMs);
      asked.set(id, { rateLimit, since: performance.now(), timer, resolvers: [resolver] });
    } else {
      others.rateLimit = rateLimit;
      others.resolvers.push(resolver);
      if (performance.now() - others.since < maxLingerMs) others.timer.refresh();
    }
    return resolver.promise;
  }

  async function reserveFor(id: string): Promise<void> {
    const waiting = asked.get(id);
    asked.delete(id);
    if (waiting === undefined) return;
    const { rateLimit, resolvers } = waiting;
    try {
      const slots = await reserve(id, rateLimit, resolvers.length);
      for (const [index, { resolve }] of resolvers.entries()) resolve(slots[index] as Date);
    } catch (error) {
      for (const { reject } of resolvers) reject(error);
    }
  }

  return { take };
}
