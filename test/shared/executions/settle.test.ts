import { describe, expect, it } from 'vitest';
import type { Outcome } from '../../../shared/delivery/outcome.ts';
import { maxPutOffs } from '../../../shared/executions/retry-decision.ts';
import { reopenExecution, settleAttempt } from '../../../shared/executions/settle.ts';
import { anExecution } from '../../support/builders.ts';

const at = new Date('2026-11-23T10:00:10.000Z');
const busy: Outcome = { kind: 'put-off', reason: 'busy' };
const settle = (record: ReturnType<typeof anExecution>, outcome: Outcome, waits: readonly number[] = []) =>
  settleAttempt(record, {
    outcome,
    sent: { type: 'script', script: 'balance-guard' },
    startedAt: at,
    endedAt: at,
    waits,
    random: 0,
    scale: 1,
    handlerIs: 'as-called',
  });

describe('settleAttempt', () => {
  it('notes no attempt of a call that was put off, and counts how often it was', () => {
    const record = anExecution({ putOffs: 3 });
    expect(settle(record, busy)).toEqual({
      ...record,
      putOffs: 4,
      state: expect.objectContaining({ status: 'waiting', reason: 'busy' }) as unknown,
    });
  });

  it('ends putting off in the end: that there was never room is a failed attempt of its schedule', () => {
    const record = anExecution({ putOffs: maxPutOffs, attempts: [], attemptCount: 0 });
    const failed = settle(record, busy);
    expect(failed).toMatchObject({ state: { status: 'failed' }, attemptCount: 1, putOffs: 0 });
    expect(failed.attempts[0]?.error).toBe('busy: there was no room for the call 400 times in a row');
    expect(settle(record, busy, [60])).toMatchObject({ state: { status: 'waiting', reason: 'retry' } });
    expect(settle({ ...record, putOffs: maxPutOffs - 1 }, busy)).toMatchObject({ attemptCount: 0 });
  });

  it('keeps the last ten attempts, and counts them all', () => {
    let record = anExecution({ attempts: [], attemptCount: 0 });
    const failure: Outcome = { kind: 'failed', retryable: true, statusCode: 503, error: 'x', response: null };
    for (let attempt = 1; attempt <= 12; attempt++) {
      record = settle(
        record,
        failure,
        Array.from({ length: 20 }, () => 60),
      );
    }
    expect(record.attemptCount).toBe(12);
    expect(record.attempts.map(({ number }) => number)).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });
});

describe('reopenExecution', () => {
  it('counts the schedule of a new generation from where the attempts are', () => {
    const ended = anExecution({ state: { status: 'failed' }, attemptCount: 3, putOffs: 7 });
    const reopened = reopenExecution(ended, { now: at, scale: 1 });
    expect(reopened).toMatchObject({ generation: 2, attemptsBefore: 3, attemptCount: 3, putOffs: 0 });
    const failure: Outcome = { kind: 'failed', retryable: true, statusCode: 503, error: 'x', response: null };
    const [first, second] = [
      settle(reopened, failure, [60]),
      settle(settle(reopened, failure, [60]), failure, [60]),
    ];
    expect([first.state.status, second.state.status]).toEqual(['waiting', 'failed']);
    expect(second.attemptCount).toBe(5);
  });
});
