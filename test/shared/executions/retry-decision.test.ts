import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Outcome } from '../../../shared/delivery/outcome.ts';
import { afterAttempt, defaultSchedule, wakeAt, waitsOf } from '../../../shared/executions/retry-decision.ts';

const now = new Date('2026-11-23T10:00:00.000Z');
const broken: Outcome = {
  kind: 'failed',
  retryable: true,
  statusCode: 503,
  error: 'http: status 503',
  response: null,
};
const decide = (outcome: Outcome, options: Partial<Parameters<typeof afterAttempt>[1]> = {}) =>
  afterAttempt(outcome, {
    attempt: 1,
    putOffs: 0,
    waits: defaultSchedule,
    now,
    random: 0,
    scale: 1,
    handlerIs: 'as-called',
    ...options,
  });

const waitMsOf = (state: ReturnType<typeof decide>) =>
  'nextAttemptAt' in state ? Date.parse(state.nextAttemptAt) - now.getTime() : Number.NaN;

describe('the default schedule', () => {
  it('makes 10 attempts over a little more than 3 days', () => {
    const waits = Array.from(
      { length: 9 },
      (_, index) => waitMsOf(decide(broken, { attempt: index + 1 })) / 1000,
    );
    expect(waits).toEqual([5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
    expect(waits.reduce((sum, wait) => sum + wait) / 86_400).toBeCloseTo(3.15, 2);
    expect(decide(broken, { attempt: 10 })).toEqual({ status: 'failed' });
  });
});

describe('wakeAt', () => {
  const nextAttemptAt = '2026-11-23T11:00:00.000Z';

  it.each(['retry', 'busy'] as const)(
    'is the time of the next attempt of %s, however late the last call was',
    (reason) => {
      expect(wakeAt({ reason, nextAttemptAt })).toEqual(new Date(nextAttemptAt));
      expect(wakeAt({ reason, nextAttemptAt }, 5000)).toEqual(new Date(nextAttemptAt));
    },
  );

  it.each([
    [0, '2026-11-23T10:59:58.500Z'],
    [300, '2026-11-23T10:59:55.700Z'],
    [20_000, '2026-11-23T10:59:36.000Z'],
    [86_400_000, '2026-11-23T10:55:00.000Z'],
  ])('is before a slot, and more so when the last call was late: by %d ms', (lateMs, at) => {
    expect(wakeAt({ reason: 'rate-limit', nextAttemptAt }, lateMs)).toEqual(new Date(at));
  });
});

describe('afterAttempt', () => {
  it('ends with a success, whichever attempt it was', () => {
    const outcome: Outcome = { kind: 'succeeded', statusCode: 200, response: null };
    for (const attempt of [1, 10, 11]) expect(decide(outcome, { attempt })).toEqual({ status: 'succeeded' });
  });

  it('waits for another attempt while the schedule has one', () => {
    expect(decide(broken, { waits: [60] })).toEqual({
      status: 'waiting',
      reason: 'retry',
      nextAttemptAt: '2026-11-23T10:01:00.000Z',
      sweepAt: '2026-11-23T10:03:00.000Z',
    });
  });

  it('keeps a 503 retryable until the schedule is used up', () => {
    expect(decide(broken, { waits: [60, 60], attempt: 2 }).status).toBe('waiting');
    expect(decide(broken, { waits: [60, 60], attempt: 3 })).toEqual({ status: 'failed' });
  });

  it('has one attempt when the schedule is empty', () => {
    expect(decide(broken, { waits: [] })).toEqual({ status: 'failed' });
  });

  it('fails at once what another attempt cannot help', () => {
    expect(decide({ ...broken, retryable: false, statusCode: 404 })).toEqual({ status: 'failed' });
  });

  it('never waits shorter than the schedule says, and at most a tenth longer', () => {
    const anyWait = fc.integer({ min: 0, max: 7 * 86_400 });
    const anyRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(anyWait, anyRandom, (wait, random) => {
        const waitedMs = waitMsOf(decide(broken, { waits: [wait], random }));
        expect(waitedMs).toBeGreaterThanOrEqual(wait * 1000);
        // Whole milliseconds, rounded up.
        expect(waitedMs).toBeLessThanOrEqual(wait * 1100 + 1);
      }),
    );
  });

  it('spreads attempts that failed together over that tenth', () => {
    expect(waitMsOf(decide(broken, { waits: [100], random: 0.5 }))).toBe(105_000);
  });

  it('shortens every wait by the scale, jitter too', () => {
    expect(waitMsOf(decide(broken, { waits: [100], scale: 0.01 }))).toBe(1000);
    expect(waitMsOf(decide(broken, { waits: [100], scale: 0.01, random: 0.5 }))).toBe(1050);
  });

  it('puts off what there was no room for, without using up the schedule', () => {
    const putOff = decide({ kind: 'put-off', reason: 'busy' }, { waits: [], random: 0.5 });
    expect(putOff).toMatchObject({ status: 'waiting', reason: 'busy' });
    expect(waitMsOf(putOff)).toBe(15_000);
  });

  it('puts off for longer each time, but never for longer than a queue can wait', () => {
    const busy: Outcome = { kind: 'put-off', reason: 'busy' };
    const waits = [0, 1, 2, 5, 6, 399].map((putOffs) => waitMsOf(decide(busy, { putOffs })) / 1000);
    expect(waits).toEqual([10, 20, 40, 320, 450, 450]);
    expect(waitMsOf(decide(busy, { putOffs: 399, random: 0.999 }))).toBeLessThanOrEqual(900_000);
  });

  it.each([
    ['two minutes after it was due, when it waits 5 s', 5, '2026-11-23T10:02:05.000Z'],
    ['two minutes after it was due, when it waits 15 minutes', 900, '2026-11-23T10:17:00.000Z'],
    ['15 minutes before it is due, when it waits longer', 901, '2026-11-23T10:00:01.000Z'],
    ['15 minutes before it is due, when it waits for hours', 18_000, '2026-11-23T14:45:00.000Z'],
  ])('has the sweeper look %s', (_, wait, sweepAt) => {
    expect(decide(broken, { waits: [wait] })).toMatchObject({ sweepAt });
  });

  it('has the sweeper look sooner by the scale, but never later than a queue can wait', () => {
    expect(decide(broken, { waits: [100], scale: 0.01 })).toMatchObject({
      sweepAt: '2026-11-23T10:00:02.200Z',
    });
    expect(decide(broken, { waits: [86_400], scale: 0.5 })).toMatchObject({
      sweepAt: '2026-11-23T21:45:00.000Z',
    });
  });
});

describe('waitsOf', () => {
  it('knows a schedule by its name, and takes a list as it is', () => {
    expect(waitsOf('default')).toBe(defaultSchedule);
    expect(waitsOf('none')).toEqual([]);
    expect(waitsOf([1, 2])).toEqual([1, 2]);
  });
});

describe('what an endpoint asks for', () => {
  const gone: Outcome = { ...broken, retryable: false, statusCode: 410, demand: 'disable' };

  it('is not called any more: what it has refused is held with the rest', () => {
    expect(decide(gone, { handlerIs: 'disabled' })).toEqual({ status: 'held', reason: 'disabled' });
  });

  it('was said of the handler as it was before an edit: the one of now is tried, by the schedule', () => {
    expect(decide(gone, { handlerIs: 'changed' })).toMatchObject({ status: 'waiting', reason: 'retry' });
    expect(decide(gone, { handlerIs: 'changed', attempt: 10 })).toEqual({ status: 'failed' });
  });

  it('is not repeated, although it could be', () => {
    expect(decide({ ...broken, demand: 'abort' })).toEqual({ status: 'failed' });
  });
});

describe('Retry-After', () => {
  const day = 86_400;
  const waitAfter = (retryAfter: string, options?: Parameters<typeof decide>[1]) =>
    waitMsOf(decide({ ...broken, retryAfter }, options)) / 1000;

  it.each([
    ['120', 120],
    [' 120 ', 120],
    ['86401', day],
    ['999999999999999', day],
    [new Date(now.getTime() + 60_000).toUTCString(), 60],
    [new Date(now.getTime() + 2 * day * 1000).toUTCString(), day],
  ])('of %j makes the wait that long, at most a day', (header, seconds) => {
    expect(waitAfter(header)).toBe(seconds);
  });

  it.each(['0', '1', '-5', '1.5', '', 'soon', '2026-11-23T12:00:00Z', 'Mon, 23 Nov 2020 10:00:00 GMT'])(
    'of %j leaves the wait of the schedule as it is',
    (header) => {
      expect(waitAfter(header)).toBe(5);
    },
  );

  it('never shortens a wait, and gets its jitter like any other', () => {
    expect(waitAfter('60', { attempt: 2 })).toBe(300);
    expect(waitAfter('120', { random: 1 })).toBeCloseTo(132);
  });

  it('is no further attempt', () => {
    expect(decide({ ...broken, retryAfter: '5' }, { attempt: 10 })).toEqual({ status: 'failed' });
    expect(decide({ ...broken, retryable: false, retryAfter: '5' })).toEqual({ status: 'failed' });
  });

  it('is scaled like every wait', () => {
    expect(waitAfter('120', { scale: 0.01 })).toBe(1.2);
  });
});
