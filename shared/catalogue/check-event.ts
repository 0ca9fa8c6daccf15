import { isDeepStrictEqual } from 'node:util';
import { builtInEventTypes } from './catalogue.ts';
import { zodProblems, type DetailProblem } from './detail-problem.ts';
import type { DomainEvent } from '../events/envelope.ts';
import type { StoredEventType, Validation } from './event-types.ts';
import { visiblePath, type RedactedPath } from '../events/redaction.ts';
import type { DetailCheck, JsonSchema } from './json-schema.ts';

/** What is wrong with an event by the schema of its type, and what follows; nothing is wrong with types that nobody has described. */
export type Verdict = { validation: Validation; problems: DetailProblem[] };

const builtIn = new Map<string, (typeof builtInEventTypes)[number]>(
  builtInEventTypes.map((type) => [type.name, type]),
);

/**
 * Holds events against the schemas of their types. The schemas of deployers are compiled when the first event of their type comes.
 *
 * @param redactedPaths to the values of events that nobody may read, and inside of which nothing is named
 */
export function createEventCheck({ redactedPaths = [] }: { redactedPaths?: readonly RedactedPath[] } = {}) {
  const compiled = new Map<string, { schema: JsonSchema; check: DetailCheck }>();

  const visible = (problems: readonly DetailProblem[]): DetailProblem[] =>
    problems.map(({ path, message }) => ({
      path: visiblePath(['detail', ...path], redactedPaths).slice(1),
      message,
    }));

  /** @param stored what is stored of the event's type; null when nothing is */
  return async (
    { type, detail }: Pick<DomainEvent, 'type' | 'detail'>,
    stored: StoredEventType | null,
  ): Promise<Verdict> => {
    const validation = stored?.validation ?? 'warn';
    const known = builtIn.get(type);
    if (known !== undefined) return { validation, problems: visible(zodProblems(known.detail, detail)) };
    if (stored === null || stored.custom === null) return { validation, problems: [] };
    const check = await checkOf(type, stored.custom.schema);
    return { validation, problems: visible(check(detail)) };
  };

  async function checkOf(name: string, schema: JsonSchema): Promise<DetailCheck> {
    const found = compiled.get(name);
    if (found !== undefined && (found.schema === schema || isDeepStrictEqual(found.schema, schema))) {
      found.schema = schema;
      return found.check;
    }
    // Most deployments have none, and what compiles them is an eighth of the function.
    const { compileJsonSchema } = await import('./json-schema.ts');
    const check = compileJsonSchema(schema);
    compiled.set(name, { schema, check });
    return check;
  }
}
