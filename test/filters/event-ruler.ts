import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { fetchLibraries } from '../support/maven.ts';
import type { Pair } from './generate-pair.ts';
import type { Verdict } from './known-differences.ts';

const projectFile = fileURLToPath(new URL('pom.xml', import.meta.url));
const programFile = fileURLToPath(new URL('MatchPairs.java', import.meta.url));
const cacheFolder = fileURLToPath(new URL('../../.event-ruler', import.meta.url));

/** The library wants Java 8; a program in a single file that is compiled when it is started wants 11. */
const oldestJava = 17;

/** AWS's own matcher of event patterns, in a process. It ends with this one. */
export type EventRuler = {
  /** In the order of the pairs. Rejects when the process has ended. */
  match: (pairs: readonly Pair[]) => Promise<Verdict[]>;
  end: () => Promise<void>;
};

/** Starts it; Maven fetches it the first time. Throws a MissingToolError. */
export async function startEventRuler(): Promise<EventRuler> {
  const libraries = await fetchLibraries({
    name: "AWS's event-ruler",
    projectFile,
    folder: cacheFolder,
    oldestJava,
  });
  // It ends when its standard input does, as that of a dead process.
  const java = spawn('java', ['-Xmx512m', '-cp', join(libraries, '*'), programFile], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const closed = once(java, 'close');
  const lines = createInterface({ input: java.stdout })[Symbol.asyncIterator]();

  async function match(pairs: readonly Pair[]): Promise<Verdict[]> {
    java.stdin.write(pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(''));
    const verdicts: Verdict[] = [];
    while (verdicts.length < pairs.length) {
      const { done, value } = await lines.next();
      if (done) throw new Error('The matcher of AWS has ended before it has answered.');
      verdicts.push(value);
    }
    return verdicts;
  }

  return {
    match,
    end: async () => {
      java.stdin.end();
      await closed;
    },
  };
}
