import { parseExact } from '../../shared/filters/exact-json.ts';
import { compileFilter, filterPath } from '../../shared/filters/filter.ts';
import { filteredEvent, matchesFilter } from '../../shared/filters/match-filter.ts';
import type { EventRuler } from './event-ruler.ts';
import { createPairs, type Pair } from './generate-pair.ts';
import { explainDifference, type Verdict } from './known-differences.ts';
import { modelMatches } from './model.ts';

/** What came out of a comparison. */
export type Comparison = {
  /** How many pairs match, do not, or have a pattern that is refused, by Handoff. */
  verdicts: Record<'true' | 'false' | 'invalid', number>;
  /** How many differences each known defect explains. */
  known: Map<string, number>;
  unexplained: { pair: Pair; ours: Verdict; theirs: Verdict }[];
  /** Where the model, without any defect, comes to another answer than Handoff. */
  unlikeModel: { pair: Pair; ours: Verdict }[];
};

const batchSize = 1000;

/** What Handoff says. */
export function verdictOf({ pattern, event }: Pair): Verdict {
  const compiled = compileFilter(parseExact(pattern));
  if (compiled.ok)
    return String(matchesFilter(compiled.filter, filteredEvent({ raw: event, json: JSON.parse(event) })));
  return `invalid: ${compiled.faults.map(({ path, message }) => `${filterPath(path)} ${message}`).join('; ')}`;
}

const kindOf = (verdict: Verdict) => verdict.split(':')[0] as keyof Comparison['verdicts'];

/** Holds as many generated patterns against generated events, with Handoff, with AWS's matcher and with the model. */
export async function compareMatchers(ruler: EventRuler, count: number, seed: number): Promise<Comparison> {
  const next = createPairs(seed);
  const comparison: Comparison = {
    verdicts: { true: 0, false: 0, invalid: 0 },
    known: new Map(),
    unexplained: [],
    unlikeModel: [],
  };
  for (let done = 0; done < count; done += batchSize) {
    const pairs = Array.from({ length: Math.min(batchSize, count - done) }, next);
    const verdicts = await ruler.match(pairs);
    for (const [index, pair] of pairs.entries())
      await compareOne(comparison, pair, verdicts[index] as Verdict, ruler);
  }
  return comparison;
}

async function compareOne(
  { verdicts, known, unexplained, unlikeModel }: Comparison,
  pair: Pair,
  theirs: Verdict,
  ruler: EventRuler,
): Promise<void> {
  const ours = verdictOf(pair);
  verdicts[kindOf(ours)] += 1;
  if (kindOf(ours) !== 'invalid' && String(modelMatches(pair.pattern, pair.event)) !== ours)
    unlikeModel.push({ pair, ours });
  if (kindOf(ours) === kindOf(theirs)) return;
  const names = await explainDifference(pair, ours, theirs, ruler.match);
  if (names === null) unexplained.push({ pair, ours, theirs });
  else known.set(names.join(' and '), (known.get(names.join(' and ')) ?? 0) + 1);
}
