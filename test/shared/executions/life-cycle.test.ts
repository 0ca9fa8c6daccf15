import { describe, expect, it } from 'vitest';
import { canMove, ExecutionStatus, replaceableBy } from '../../../shared/executions/life-cycle.ts';

// The moves within one generation. What is missing from a row cannot happen.
const table = {
  none: ['succeeded', 'failed', 'waiting', 'held'],
  waiting: ['succeeded', 'failed', 'waiting', 'held'],
  held: ['succeeded', 'failed', 'waiting'],
  failed: ['succeeded'],
  succeeded: [],
} as const;

describe('canMove', () => {
  for (const [from, allowed] of Object.entries(table) as [keyof typeof table, readonly string[]][]) {
    for (const to of ExecutionStatus.options) {
      const allows = allowed.includes(to);
      it(`${allows ? 'lets' : 'never lets'} an execution go from ${from} to ${to}`, () => {
        expect(canMove(from, to)).toBe(allows);
      });
    }
  }
});

describe('replaceableBy', () => {
  it('lets a success replace everything but a success', () => {
    expect(replaceableBy('succeeded').sort()).toEqual(['failed', 'held', 'waiting']);
  });

  it('lets nothing but what has not ended be replaced by what did not succeed', () => {
    expect(replaceableBy('failed').sort()).toEqual(['held', 'waiting']);
    expect(replaceableBy('waiting').sort()).toEqual(['held', 'waiting']);
    expect(replaceableBy('held')).toEqual(['waiting']);
  });
});
