import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createCallWindow, type CallWindow, type Sign } from '../../../shared/delivery/call-window.ts';
import { createClock } from '../../support/clock.ts';

const clock = createClock('2026-11-23T10:00:00.000Z');
beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const open = (settings: Partial<Parameters<typeof createCallWindow>[0]> = {}): CallWindow =>
  createCallWindow({
    firstCalls: 1,
    maxCalls: 200,
    minMomentMs: 1000,
    slowForMs: 30_000,
    patienceMs: 10_000,
    mayAskWhileSlow: false,
    now: clock.now,
    ...settings,
  });

/** Takes all the places that there are now, and says how many. */
function fill(window: CallWindow): number {
  for (let calls = 0; ; calls++) {
    if (window.enter() !== 'entered') return calls;
    window.begin();
  }
}

function end(window: CallWindow, calls: number, sign: Sign, durationMs = 10): void {
  for (let ended = 0; ended < calls; ended++) window.end(sign, durationMs);
  for (let ended = 0; ended < calls; ended++) window.leave();
}

describe('the window of calls', () => {
  it('begins with one call, and has 9, 81 and 200 as long as all goes well', () => {
    const window = open();
    const sizes = Array.from({ length: 5 }, () => {
      const calls = fill(window);
      end(window, calls, 'alive');
      return calls;
    });
    expect(sizes).toEqual([1, 9, 81, 200, 200]);
  });

  it('begins with as many as it is told to, also after a pause', () => {
    const window = open({ firstCalls: 8 });
    for (let rounds = 0; rounds < 2; rounds++) {
      expect(fill(window)).toBe(8);
      end(window, 8, 'failed');
      clock.advance(250);
    }
  });

  it('is halved by each failure, down to one call', () => {
    const window = open();
    for (let rounds = 0; rounds < 3; rounds++) end(window, fill(window), 'alive');
    const before = fill(window);
    end(window, 1, 'failed');
    end(window, before - 1, 'neither');
    expect(fill(window)).toBe(before / 2);
    end(window, before / 2, 'failed');
    expect(fill(window)).toBe(1);
  });

  it('begins with one call again after a quarter of a second without any', () => {
    const window = open();
    end(window, fill(window), 'alive');
    clock.advance(249);
    const calls = fill(window);
    expect(calls).toBe(9);
    end(window, calls, 'alive');
    clock.advance(250);
    expect(fill(window)).toBe(1);
  });

  it('lets those in who wait, in their order, as places get free', async () => {
    const window = open();
    fill(window);
    const order: number[] = [];
    const waiting = [1, 2, 3].map((number) => window.wait().then(() => order.push(number)));
    end(window, 1, 'alive');
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
  });

  it('lets nobody in while it is held', () => {
    const window = open();
    window.hold();
    expect(window.enter()).toBe('full');
    window.release();
    expect(window.enter()).toBe('entered');
  });
});

describe('a target of which no call ends for a moment', () => {
  async function becomeSlow(window: CallWindow, momentMs = 1000): Promise<void> {
    fill(window);
    const waiting = [window.wait(), window.wait()];
    await vi.advanceTimersByTimeAsync(momentMs - 1);
    expect(window.enter()).toBe('full');
    await vi.advanceTimersByTimeAsync(1);
    expect(await Promise.all(waiting)).toEqual([false, false]);
  }

  it('is slow: who waits is turned away, and who comes within 30 s; then a single call asks', async () => {
    const window = open();
    await becomeSlow(window);
    expect(window.enter()).toBe('busy');
    end(window, 1, 'failed', 10_000);
    clock.advance(29_999);
    expect(window.enter()).toBe('busy');
    clock.advance(1);
    expect(window.enter()).toBe('entered');
    expect(window.enter()).toBe('busy');
    window.begin();
    end(window, 1, 'alive');
    expect(fill(window)).toBeGreaterThan(1);
  });

  it('is not kept apart for longer because the clock was set back', async () => {
    const window = open();
    await becomeSlow(window);
    end(window, 1, 'failed', 10_000);
    clock.advance(-3_600_000);
    expect(window.enter()).toBe('entered');
    expect(window.enter()).toBe('busy');
  });

  it('is so after three times what its calls usually take, and after ten seconds in any case', async () => {
    const usual = open();
    end(usual, fill(usual), 'alive', 2000);
    await becomeSlow(usual, 6000);
    const slow = open();
    end(slow, fill(slow), 'alive', 9000);
    await becomeSlow(slow, 10_000);
    await becomeSlow(open({ minMomentMs: 5000 }), 5000);
  });

  it('is not slow as long as calls end; but nobody waits for more than ten seconds', async () => {
    const window = open();
    fill(window);
    const waiting = window.wait();
    for (let calls = 0; calls < 11; calls++) {
      await vi.advanceTimersByTimeAsync(900);
      window.end('neither', 900);
      window.begin();
    }
    await vi.advanceTimersByTimeAsync(100);
    expect(await waiting).toBe(false);
    expect(window.enter()).toBe('full');
  });

  it('is asked at once in the other lane, with as many calls as get an answer, and nobody waits', async () => {
    const window = open({ mayAskWhileSlow: true });
    await becomeSlow(window);
    expect(window.enter()).toBe('busy');
    end(window, 1, 'failed', 10_000);
    expect(window.enter()).toBe('entered');
    expect(window.enter()).toBe('busy');
  });
});
