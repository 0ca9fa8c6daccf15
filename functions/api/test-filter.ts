import { explainMismatch } from '../../shared/filters/explain-mismatch.ts';
import type { CompiledFilter } from '../../shared/filters/filter.ts';
import { matchesFilter, type FilteredEvent } from '../../shared/filters/match-filter.ts';

/** Whether a filter matches an event, and the conditions that fail when it does not. */
export type FilterTest = { matches: boolean; reasons?: string[] };

/** Throws TooManyStepsError. */
export const testFilter = (filter: CompiledFilter, event: FilteredEvent): FilterTest =>
  matchesFilter(filter, event)
    ? { matches: true }
    : { matches: false, reasons: explainMismatch(filter, event) };
