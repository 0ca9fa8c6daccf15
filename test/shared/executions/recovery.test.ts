import { describe, expect, it } from 'vitest';
import type { ExecutionRecord } from '../../../shared/executions/execution.ts';
import { isWantedBy, type RecoverableStatus } from '../../../shared/executions/recovery.ts';
import { anExecution } from '../../support/builders.ts';
import { waitingUntil } from './a-log.ts';

type State = ExecutionRecord['state'];

const noon = new Date('2026-11-23T12:00:00.000Z');
const recovery = (...statuses: RecoverableStatus[]) => ({ statuses, createdAt: '2026-11-23T12:00:00.000Z' });
const inState = (state: State, lastAttemptAt?: string): ExecutionRecord =>
  anExecution({
    state,
    attempts: lastAttemptAt === undefined ? [] : [{ ...lastAttempt, at: lastAttemptAt, durationMs: 500 }],
  });
const [lastAttempt] = anExecution().attempts as [ExecutionRecord['attempts'][number]];

describe('isWantedBy', () => {
  it.each([
    ['failed', { status: 'failed' }],
    ['held', { status: 'held', reason: 'disabled' }],
    ['succeeded', { status: 'succeeded' }],
  ] as [RecoverableStatus, State][])(
    'wants what is %s where that was asked for, and there alone',
    (status, state) => {
      expect(isWantedBy(recovery(status), inState(state), noon)).toBe(true);
      const others = (['failed', 'held', 'succeeded'] as const).filter((other) => other !== status);
      expect(isWantedBy(recovery(...others), inState(state), noon)).toBe(false);
    },
  );

  it('never wants what waits', () => {
    expect(isWantedBy(recovery('failed', 'held', 'succeeded'), inState(waitingUntil()), noon)).toBe(false);
  });

  it('does not want what an attempt has ended of since it began', () => {
    const failed: State = { status: 'failed' };
    expect(isWantedBy(recovery('failed'), inState(failed, '2026-11-23T11:59:59.500Z'), noon)).toBe(true);
    expect(isWantedBy(recovery('failed'), inState(failed, '2026-11-23T11:59:59.501Z'), noon)).toBe(false);
  });

  it('wants what was tried at a time that is yet to come: the clock has been set back since', () => {
    const failed: State = { status: 'failed' };
    expect(isWantedBy(recovery('failed'), inState(failed, '2026-11-23T12:55:00.000Z'), noon)).toBe(true);
    // The clocks of two machines are never quite the same.
    expect(isWantedBy(recovery('failed'), inState(failed, '2026-11-23T12:00:30.000Z'), noon)).toBe(false);
  });
});
