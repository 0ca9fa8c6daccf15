import { parse as parseCsv } from 'csv-parse/sync';
import { createAddressGuard } from '../shared/delivery/address-guard.ts';
import { builtInEventTypes, type BuiltInName } from '../shared/catalogue/catalogue.ts';

/** A handler of the provisioning system, as its list has it: text, whatever it was exported as. */
export type OldHandler = Record<
  'id' | 'name' | 'event' | 'type' | 'place' | 'method' | 'status' | 'priority',
  string
>;

/** A handler for `POST /v1/handlers`. */
export type MigratedHandler = {
  name: string;
  description: string;
  events: string[];
  target:
    | { type: 'http'; url: string; method: 'POST' | 'PUT' | 'PATCH'; format: 'provisioning' }
    | { type: 'script'; script: string };
  status: 'enabled' | 'disabled' | 'archived';
  priority: number;
};

/** What became of an old handler. */
export type Migration = {
  old: OldHandler;
  /** Null when there can be none. */
  handler: MigratedHandler | null;
  /** What is to be done beside it, and what could not be carried over: a sentence each. */
  notes: string[];
};

// What the columns are called in exports: the heads of the list, the fields of the table, those of the API.
const columns: Readonly<Record<keyof OldHandler, readonly string[]>> = {
  id: ['id', 'handlers_id', 'handler_id'],
  name: ['name'],
  event: ['event', 'events_id', 'event_id', 'events'],
  type: ['type', 'handler_type'],
  place: ['handler', 'place', 'path', 'script', 'url', 'target', 'address', 'host'],
  method: ['method', 'http_method'],
  status: ['status'],
  priority: ['priority'],
};

/**
 * Reads a list of old handlers: CSV with a line of heads, a JSON list of objects, or an object with such a list in it.
 *
 * @param format of the text. Throws an Error that says what is wrong with it
 */
export function readOldHandlers(text: string, format: 'csv' | 'json'): OldHandler[] {
  const rows = format === 'csv' ? rowsOfCsv(text) : rowsOfJson(text);
  return rows.map((row) => {
    const cells = new Map(
      Object.entries(row).map(([head, value]) => [
        head.trim().toLowerCase().replaceAll(/[ -]/gu, '_'),
        textOf(value),
      ]),
    );
    const cell = (names: readonly string[]): string =>
      names.map((name) => cells.get(name)).find(Boolean) ?? '';
    const old = Object.fromEntries(
      Object.entries(columns).map(([field, names]) => [field, cell(names)]),
    ) as OldHandler;
    const port = cells.get('port') ?? '';
    return port === '' || old.place.includes(':')
      ? old
      : { ...old, place: old.place.replace(/^(?<host>[^/]*)/u, `$<host>:${port}`) };
  });
}

// As spreadsheets write it: with a mark of the byte order, with semicolons where the comma is in numbers, with quotes inside of what is not quoted.
function rowsOfCsv(text: string): object[] {
  const [heads = ''] = text.split('\n');
  const delimiter = heads.includes(';') && !heads.includes(',') ? ';' : ',';
  return parseCsv<object>(text, {
    bom: true,
    columns: true,
    delimiter,
    relax_quotes: true,
    skip_empty_lines: true,
    trim: true,
  });
}

function rowsOfJson(text: string): object[] {
  const json = JSON.parse(text) as unknown;
  const isList = (value: unknown): value is object[] =>
    Array.isArray(value) &&
    value.every((row) => typeof row === 'object' && row !== null && !Array.isArray(row));
  if (isList(json)) return json;
  const found = Object.values(json ?? {}).find(isList);
  if (found === undefined)
    throw new Error('The JSON is neither a list of handlers nor an object with one in it.');
  return found;
}

const textOf = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value).trim()
    : '';

/** What an old handler is here, with all that has to be known about it. */
export function migrateHandler(old: OldHandler): Migration {
  const notes: string[] = [];
  const event = eventOf(old.event);
  if (event === 'before') {
    const note = `not carried over: "${old.event}" runs before the fact. Those handlers could change or veto an action; handlers only run after it. Move the decision into the service itself.`;
    return { old, handler: null, notes: [note] };
  }
  if (event === null) {
    const note = `not carried over: there is no event "${old.event}". Choose one of GET /v1/event-types.`;
    return { old, handler: null, notes: [note] };
  }
  const target = targetOf(old, notes);
  if (target === null) return { old, handler: null, notes };
  const status = statusOf(old, notes);
  const handler: MigratedHandler = {
    name: nameOf(old, notes),
    description: descriptionOf(old),
    events: [event],
    target,
    status: target.type === 'script' && status === 'enabled' ? 'disabled' : status,
    priority: priorityOf(old, notes),
  };
  return { old, handler, notes };
}

/** What a migrated handler is found by, when the same list is migrated again. */
export const markOf = ({ id }: Pick<OldHandler, 'id'>): string => `(old handler ${id})`;

const descriptionOf = (old: OldHandler): string =>
  `${old.type === '' ? 'handler' : old.type} ${old.place} of the provisioning system${old.id === '' ? '' : ` ${markOf(old)}`}`;

const squeeze = (text: string): string => text.toLowerCase().replaceAll(/\s+/gu, '');

// By its old id, its label or its name here.
const eventsByName = new Map<string, BuiltInName>([
  ...builtInEventTypes.flatMap(({ name, oldId, label }) =>
    [name, oldId, label].map((known) => [squeeze(known), name] as const),
  ),
  ['clients.custom_fields_update', 'client.custom_fields.update'],
]);

function eventOf(text: string): BuiltInName | 'before' | null {
  const known = eventsByName.get(squeeze(text));
  if (known !== undefined) return known;
  return /(?:^|[^a-z])before(?:[^a-z]|$)/iu.test(text) ? 'before' : null;
}

function targetOf(old: OldHandler, notes: string[]): MigratedHandler['target'] | null {
  const type = old.type.toLowerCase();
  if (type === 'script') return scriptOf(old.place, notes);
  if (['http', 'https', 'url', 'api'].includes(type)) return httpOf(old, notes);
  notes.push(`not carried over: the type "${old.type}" is neither script nor http.`);
  return null;
}

const languages: Readonly<Record<string, string>> = { py: 'lambda_function.py', ts: 'lambda.ts' };

function scriptOf(path: string, notes: string[]): MigratedHandler['target'] | null {
  const file = path.split(/[/\\]/u).findLast((part) => part !== '') ?? '';
  const [, stem = file, extension = ''] = /^(.+)\.([a-z0-9]+)$/iu.exec(file) ?? [];
  // As names of scripts are: at most 40 letters, digits and hyphens.
  const script = stem
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/gu, '-')
    .replaceAll(/^[^a-z]+|-$/gu, '')
    .slice(0, 40);
  if (script === '') {
    notes.push(`not carried over: "${path}" has no name that a script could have.`);
    return null;
  }
  const entry = languages[extension.toLowerCase()];
  const where = `functions/scripts/${script}/${entry ?? 'lambda_function.py or lambda.ts'}`;
  const how = entry === undefined ? 'has to be written anew in Python or TypeScript' : 'has to be ported';
  notes.push(
    `${path} ${how} as ${where} and deployed first (docs/scripts.md): until then the API refuses the handler. It comes disabled; enable it when its test goes well.`,
  );
  return { type: 'script', script };
}

const guard = createAddressGuard({ allowCidrs: [], allowLoopback: false });

function httpOf({ place, method: oldMethod }: OldHandler, notes: string[]): MigratedHandler['target'] | null {
  const url = /^https?:\/\//iu.test(place) ? place : `http://${place}`;
  if (place === '' || !URL.canParse(url)) {
    notes.push(`not carried over: "${place}" is no address.`);
    return null;
  }
  const { protocol, hostname } = new URL(url);
  if (protocol === 'http:')
    notes.push(
      'plain http: the deployment needs allowHttp (HANDOFF_ALLOW_HTTP=true on one machine); https is better.',
    );
  const problem = guard.hostProblem(hostname);
  if (problem !== null)
    notes.push(`${problem}: the deployment needs it in allowCidrs (HANDOFF_ALLOW_CIDRS on one machine).`);
  const method = oldMethod.toUpperCase();
  if (method === 'POST' || method === 'PUT' || method === 'PATCH')
    return { type: 'http', url, method, format: 'provisioning' };
  if (method !== '')
    notes.push(
      `the method ${method} is not carried over: a delivery has a body, so it is POST. The receiver has to take that.`,
    );
  return { type: 'http', url, method: 'POST', format: 'provisioning' };
}

const statuses: Readonly<Record<string, MigratedHandler['status']>> = {
  enabled: 'enabled',
  enable: 'enabled',
  active: 'enabled',
  '1': 'enabled',
  true: 'enabled',
  disabled: 'disabled',
  disable: 'disabled',
  inactive: 'disabled',
  '0': 'disabled',
  false: 'disabled',
  archived: 'archived',
  archive: 'archived',
};

function statusOf({ status }: OldHandler, notes: string[]): MigratedHandler['status'] {
  const known = statuses[status.toLowerCase()];
  if (known === 'disabled')
    notes.push(
      'disabled: what it misses is kept as held from now on, and can be recovered; the old system dropped it.',
    );
  if (known === 'archived')
    notes.push('archived: it is hidden from lists (?status=archived shows it) and nothing is kept for it.');
  if (known !== undefined) return known;
  notes.push(`the status "${status}" is none: it comes disabled.`);
  return 'disabled';
}

function nameOf({ name, id, event }: OldHandler, notes: string[]): string {
  const visible = name.replaceAll(/\s+/gu, ' ').slice(0, 200).trim();
  if (visible === '') {
    notes.push('it had no name, and is named after its event.');
    return `${event} ${id}`.trim();
  }
  if (visible !== name) notes.push('its name was longer than 200 characters, or had line breaks.');
  return visible;
}

function priorityOf({ priority }: OldHandler, notes: string[]): number {
  const number = Number(priority);
  if (priority !== '' && Number.isInteger(number) && number >= 1 && number <= 1000) return number;
  const nearest =
    priority === '' || Number.isNaN(number) ? 100 : Math.min(1000, Math.max(1, Math.round(number)));
  notes.push(`the priority "${priority}" is none from 1 to 1000: it comes with ${nearest}.`);
  return nearest;
}
