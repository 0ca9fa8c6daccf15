import { readFileSync, writeFileSync } from 'node:fs';
import type { Template } from 'aws-cdk-lib/assertions';
import { fromRoot } from '../../cdk/constructs/bundle.ts';
import {
  nameOf,
  resourcesOf,
  shippedScripts,
  statementsOf,
  synthesize,
  type Resource,
} from './synthesize.ts';

export const securityFile = fromRoot('docs/security.md');
const begin = '<!-- permissions: npm run docs:permissions -->';
const end = '<!-- end of permissions -->';

/** In the order in which an event meets them. What is not here comes behind, called as the stack calls it. */
const functionNames: Readonly<Record<string, string>> = {
  DispatcherDispatch: 'dispatcher',
  RetriesRetry: 'retrier',
  RetriesSweep: 'sweeper',
  ApiManage: 'api',
};

const resourceNames: Readonly<Record<string, string>> = {
  StorageHandlers: 'table of handlers',
  StorageExecutions: 'table of executions',
  'StorageExecutions/index/attention': 'its index `attention`',
  StorageDataKey: 'key that wraps the data key',
  IntakeBus: 'bus',
  IntakeEventsQueue: 'events queue',
  RetriesQueue: 'retries queue',
  IntakeEventsDeadLetters: 'dead letters of the events queue',
  IntakeUndeliveredEvents: 'dead letters of the bus',
  RetriesDeadLetters: 'dead letters of the retries queue',
};

type Row = readonly [subject: string, resource: string, rights: string];

/** What the role of each function may do and what it is denied, from the template, as a table of Markdown. */
export function permissionsTable(template: Template): string {
  const ids = Object.keys(resourcesOf(template, 'AWS::Lambda::Function')).map(partOf);
  const known = Object.keys(functionNames);
  const ofScripts = ids.filter((id) => id.startsWith('Scripts')).toSorted();
  const others = ids.filter((id) => !known.includes(id) && !ofScripts.includes(id));
  const rows = [...known, ...others].flatMap((id) => rowsOf(template, id, functionNames[id] ?? id));

  // Most have the same, and nothing but their log.
  const everyScript = 'each script';
  const same = Map.groupBy(ofScripts, (id) => JSON.stringify(rowsOf(template, id, '')));
  for (const [cells, alike] of [...same].toSorted(([, a], [, b]) => b.length - a.length)) {
    const subject = same.size === 1 ? everyScript : alike.map(scriptOf).join(', ');
    rows.push(...(JSON.parse(cells) as Row[]).map(([, ...rest]): Row => [subject, ...rest]));
  }
  return formatTable([['function', 'on', 'may'], ...rows]);
}

function rowsOf(template: Template, id: string, subject: string): Row[] {
  const statements = policiesOf(template, id).flatMap(statementsOf);
  const cells = new Map<string, { on: string; effect: string; restriction: string; actions: Set<string> }>();
  for (const { Effect: effect, Action, Resource: on, Condition } of statements) {
    for (const resource of new Set([on].flat().map((one) => nameInTable(nameOf(one), id)))) {
      const restriction = Condition === undefined ? '' : describe(Condition as Conditions);
      const key = JSON.stringify([resource, effect, restriction]);
      const cell = cells.get(key) ?? { on: resource, effect, restriction, actions: new Set() };
      for (const action of [Action].flat()) cell.actions.add(action);
      cells.set(key, cell);
    }
  }
  return [...cells.values()]
    .toSorted((a, b) => orderOf(a.on) - orderOf(b.on) || a.effect.localeCompare(b.effect))
    .map(({ on, effect, restriction, actions }) => {
      const list = [...actions].toSorted().map((action) => `\`${action}\``);
      return [subject, on, `${effect === 'Allow' ? '' : '**never** '}${list.join(', ')}${restriction}`];
    });
}

/** Also those that CDK makes where one would be too long. */
function policiesOf(template: Template, id: string): Resource[] {
  const all = ['AWS::IAM::Policy', 'AWS::IAM::ManagedPolicy'].flatMap((type) =>
    Object.values(resourcesOf(template, type)),
  );
  return all.filter(({ Properties }) =>
    (Properties['Roles'] as { Ref: string }[]).some(({ Ref }) => Ref.slice(0, -8) === `${id}Role`),
  );
}

type Conditions = Record<string, Record<string, string | string[]>>;

const describe = (conditions: Conditions): string =>
  Object.entries(conditions)
    .flatMap(([operator, keys]) =>
      Object.entries(keys).map(
        ([key, values]) => `where \`${key}\` is \`${[values].flat().join('`, `')}\` (\`${operator}\`)`,
      ),
    )
    .map((condition) => `, ${condition}`)
    .join('');

// `ScriptsbalanceguardFunctionAA396445`: the part of the stack, and a hash.
const partOf = (logicalId: string): string => logicalId.slice(0, -8).replace(/Function$/u, '');
const scriptOf = (id: string): string => `script \`${id.slice('Scripts'.length)}\``;

function nameInTable(resource: string, ofFunction: string): string {
  if (resource === `${ofFunction}Logs`) return 'its own log';
  if (/^Scripts.+Function$/u.test(resource)) return 'function of each script';
  return resourceNames[resource] ?? resource;
}

const orderOf = (resource: string): number => Object.values(resourceNames).indexOf(resource);

/** As the formatter wants it. */
function formatTable([head, ...rows]: [Row, ...Row[]]): string {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[], fill: string) =>
    `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width, fill)).join(' | ')} |`;
  return [line(head, ' '), line([], '-'), ...rows.map((row) => line(row, ' '))].join('\n');
}

/** The table that is in a text between its markers. Throws an Error when they are not there. */
export function tableIn(text: string): string {
  const [from, to] = placeIn(text);
  return text.slice(from, to).trim();
}

function placeIn(text: string): [from: number, to: number] {
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`${securityFile} has no "${begin}" with "${end}" behind it.`);
  return [from + begin.length, to];
}

if (import.meta.main) {
  const text = readFileSync(securityFile, 'utf8');
  const [from, to] = placeIn(text);
  const table = permissionsTable(synthesize({}, shippedScripts));
  writeFileSync(securityFile, `${text.slice(0, from)}\n\n${table}\n\n${text.slice(to)}`);
}
