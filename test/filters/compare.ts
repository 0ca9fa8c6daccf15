/**
 * Holds generated event patterns against generated events with Handoff and with AWS's own matcher, and prints where they differ and why. Ends
 * with 1 when there is a difference that no known defect explains. Needs Java 17 and Maven, which fetches the matcher once.
 *
 *   npm run compare:filters [-- <pairs> [<seed>]]
 */
import { MissingToolError } from '../support/maven.ts';
import { compareMatchers } from './compare-matchers.ts';
import { startEventRuler } from './event-ruler.ts';
import { reasons } from './known-differences.ts';

const [count, seed] = [Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 1)];

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const ruler = await startEventRuler().catch((error: unknown) => {
  if (!(error instanceof MissingToolError)) throw error;
  print(error.message);
  process.exit(1);
});
const { verdicts, known, unexplained, unlikeModel } = await compareMatchers(ruler, count, seed);
await ruler.end();

print(
  `${count} pairs of seed ${seed}: ${verdicts.true} match, ${verdicts.false} do not, ${verdicts.invalid} patterns are refused`,
);
print(
  `${[...known.values()].reduce((sum, number) => sum + number, 0)} differences by known defects of the matcher:`,
);
for (const [names, number] of [...known].toSorted(([, a], [, b]) => b - a))
  print(`${String(number).padStart(6)}  ${names}`);
print('');
for (const [name, reason] of Object.entries(reasons)) print(`${name}: ${reason}`);
print('');
print(`${unexplained.length} other differences, ${unlikeModel.length} from the model`);
for (const difference of [...unexplained, ...unlikeModel].slice(0, 20))
  print(JSON.stringify(difference, null, 2));
process.exitCode = unexplained.length + unlikeModel.length > 0 ? 1 : 0;
