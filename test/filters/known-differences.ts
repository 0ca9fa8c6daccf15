import { modelMatches, rulesOf, type Defect } from './model.ts';
import type { Pair } from './generate-pair.ts';

/** What a matcher says: `true`, `false`, `invalid: ` and why it refuses a pattern, or `failed: ` and its exception. */
export type Verdict = string;

/** Why AWS's matcher comes to another answer than the user guide, by the name of the defect. `docs/filters.md` has them, too. */
export const reasons = {
  'last-write-wins':
    'The same field inside and beside $or: the matcher keeps only what was written last. The guide: what stands beside $or applies, too.',
  'numbers-by-value':
    'A number as an exact value: the matcher takes 300 for 300.0 and 3.0e2. The guide: numbers are compared as text, and these differ.',
  'numbers-of-any-size':
    'A number beyond 5e9 in the event, and numeric: the matcher compares all doubles. The guide: from -5e9 to 5e9.',
  'numbers-of-17-digits':
    'A number in the event that no double has exactly, and numeric: the matcher does not compare it at all.',
  'exists-by-order':
    'exists: false in a list of objects: the matcher asks about the element that fields of earlier names were found in, so it depends on the names.',
  'address-by-first-digits':
    'Addresses, in cidr and as exact values: the matcher compares them by their digits from the left, and stops at the first that decides. So an IPv6 address lies in an IPv4 block that begins like it, and two spellings of an address are one value.',
  'surrogates-as-question-marks':
    'Characters beyond U+FFFF with equals-ignore-case: the matcher takes them apart into halves, and looks for question marks.',
  'beside-wildcard':
    'wildcard and equals-ignore-case or suffix in one list: the matcher then lets texts through that are neither.',
  'beside-wildcard-missed':
    'wildcard and equals-ignore-case or suffix in one list: the matcher then misses texts that are one of them.',
  'quote-marks':
    'A prefix or suffix that is the text itself and a quotation mark: the matcher puts texts into such, and takes its own for one of the text.',
  'ways-disturb-one-another':
    'Ways of $or that ask for the same field: the matcher comes to another answer for all of them together than for each of them alone.',
  'number-beside-address':
    'A number and an address in one list: the matcher misses numbers that the digits of the address begin like.',
  'empty-names': 'A field whose name is empty: the matcher leaves it out of the event.',
  'size-of-operands':
    'numeric with a number beyond 5e9: the matcher takes all doubles. The guide: from -5e9 to 5e9. Refused.',
  crash: 'The matcher ends with an error of its own on a valid pattern.',
};

type Name = keyof typeof reasons;

const defects = Object.keys(reasons).filter(
  (name): name is Defect => name !== 'size-of-operands' && name !== 'crash',
);

/**
 * The defects that a difference comes from: those with which the model comes to just the answer of AWS's matcher. One, or two together; null
 * when there is no such explanation.
 *
 * @param ask AWS's matcher
 */
export async function explainDifference(
  pair: Pair,
  ours: Verdict,
  theirs: Verdict,
  ask: (pairs: readonly Pair[]) => Promise<Verdict[]>,
): Promise<readonly Name[] | null> {
  if (ours.startsWith('invalid')) {
    const faults = ours.slice('invalid: '.length).split('; ');
    const isAboutSize = faults.every((fault) => fault.endsWith('must be between -5e9 and 5e9'));
    return isAboutSize && !theirs.startsWith('invalid') ? ['size-of-operands'] : null;
  }
  if (theirs.startsWith('failed')) return ['crash'];
  if (theirs.startsWith('invalid')) return null;
  const inModel = explainByModel(pair, theirs);
  if (inModel !== null) return inModel;
  const rules = rulesOf(pair.pattern);
  if (rules === null) return null;
  const alone = await ask(rules.map((pattern) => ({ pattern, event: pair.event })));
  const together = String(alone.includes('true'));
  if (together === theirs) return null;
  const rest = together === ours ? [] : explainByModel(pair, together);
  return rest === null ? null : ['ways-disturb-one-another', ...rest];
}

function explainByModel({ pattern, event }: Pair, theirs: Verdict): readonly Defect[] | null {
  const explains = (names: readonly Defect[]): boolean =>
    String(modelMatches(pattern, event, new Set(names))) === theirs;
  const one = defects.find((name) => explains([name]));
  if (one !== undefined) return [one];
  return defects.flatMap((a) => defects.map((b) => [a, b] as const)).find(explains) ?? null;
}
