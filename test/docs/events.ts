import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { toJsonSchema } from '../../shared/catalogue/catalogue-schema.ts';
import { decimalPattern } from '../../shared/events/decimal.ts';
import { domainEvents, type DescribedEvent } from '../../shared/catalogue/domain-events.ts';
import { handoffEvents } from '../../shared/catalogue/handoff-events.ts';
import type { JsonSchema } from '../../shared/catalogue/json-schema.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** The documents with a part that comes from the catalogue, between two marks. */
export const documents: readonly GeneratedDocument[] = [
  {
    file: `${root}docs/events.md`,
    begin: '<!-- catalogue: npm run docs:events -->',
    end: '<!-- end of the catalogue -->',
    write: () => catalogue(),
  },
  {
    file: `${root}docs/migrate.md`,
    begin: '<!-- events: npm run docs:events -->',
    end: '<!-- end of the events -->',
    write: () =>
      tableOf([
        ['there', 'here', 'shown as'],
        ...domainEvents.map(({ name, oldId, label }) => [
          `\`${oldId}\``,
          `[\`${name}\`](events.md#${anchorOf(name)})`,
          label,
        ]),
      ]),
  },
];

type GeneratedDocument = { file: string; begin: string; end: string; write: () => string };

/** A part of a schema, as far as the catalogue's use it. */
type Part = {
  type?: string | string[];
  properties?: Record<string, Part>;
  required?: string[];
  items?: Part;
  anyOf?: Part[];
  enum?: unknown[];
  const?: unknown;
  format?: string;
  pattern?: string;
  description?: string;
};

/** The text of a document with what the catalogue says now in the place of what stands there. */
export function renewed(text: string, { file, begin, end, write }: GeneratedDocument): string {
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`There is no "${begin}" with "${end}" behind it.`);
  const parts = [text.slice(0, from + begin.length), write(), text.slice(to)];
  return execFileSync(`${root}node_modules/.bin/oxfmt`, ['--stdin-filepath', file], {
    input: parts.join('\n\n'),
    encoding: 'utf8',
    cwd: root,
  });
}

const catalogue = (): string =>
  [
    '## All of them',
    listOf(domainEvents),
    ...domainEvents.flatMap(sectionOf),
    "## Handoff's own",
    'Handoff puts these on the bus itself, with the source `handoff`. `*` does not match them: a handler names them, or `handoff.*`. What is done for one of them tells nothing itself, so there is no loop.',
    ...handoffEvents.flatMap(sectionOf),
  ].join('\n\n');

const listOf = (types: readonly DescribedEvent[]): string =>
  tableOf([
    ['event type', 'old id', 'shown as'],
    ...types.map(({ name, label, oldId }) => [`[\`${name}\`](#${anchorOf(name)})`, `\`${oldId}\``, label]),
  ]);

// As GitHub makes them of a heading.
const anchorOf = (heading: string): string => heading.replaceAll(/[^a-z0-9_ -]/gu, '').replaceAll(' ', '-');

function sectionOf({ name, label, oldId, description, detail, sample }: DescribedEvent): string[] {
  const called = oldId === null ? `Shown as "${label}".` : `Shown as "${label}"; the old id is \`${oldId}\`.`;
  return [
    `### ${name}`,
    `${description} ${called}`,
    tableOf([['field', 'type', 'meaning'], ...fieldsOf(toJsonSchema(detail))]),
    `\`\`\`json\n${JSON.stringify(sample, null, 2)}\n\`\`\``,
  ];
}

function fieldsOf(schema: JsonSchema): string[][] {
  const rows: string[][] = [];
  const visit = (path: string, part: Part, isOptional: boolean): void => {
    if (path !== '')
      rows.push([`\`${path}\`${isOptional ? ', optional' : ''}`, typeOf(part), part.description ?? '']);
    for (const [name, member] of Object.entries(part.properties ?? {}))
      visit(path === '' ? name : `${path}.${name}`, member, !(part.required ?? []).includes(name));
  };
  visit('', schema, false);
  return rows;
}

function typeOf({ type, anyOf, enum: values, const: value, format, pattern, items }: Part): string {
  if (value !== undefined) return code(value);
  if (values !== undefined) return values.map(code).join(', ');
  if (anyOf !== undefined) return anyOf.map(typeOf).join(' or ');
  if (Array.isArray(type)) return type.map((one) => typeOf({ type: one })).join(' or ');
  if (type === 'array') return `list of ${typeOf(items ?? {})}`;
  if (pattern === decimalPattern.source) return 'money';
  if (format === 'date-time') return 'time';
  return type === 'string' ? 'text' : (type ?? 'anything');
}

const code = (value: unknown): string => `\`${JSON.stringify(value)}\``;

const tableOf = (rows: readonly (readonly string[])[]): string =>
  rows
    .toSpliced(
      1,
      0,
      (rows[0] ?? []).map(() => '---'),
    )
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`)
    .join('\n');

if (import.meta.main) {
  for (const document of documents) {
    writeFileSync(document.file, renewed(readFileSync(document.file, 'utf8'), document));
  }
}
