import { parse as parseCsv } from 'csv-parse/sync';
import { createAddressGuard } from '../shared/delivery/address-guard.ts';
import { HandlerInput } from '../shared/handlers/handler.ts';
import { line } from '../shared/handlers/plain-text.ts';
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
    | {
        type: 'http';
        url: string;
        method: 'POST' | 'PUT' | 'PATCH';
        format: 'provisioning';
        auth?: { type: 'basic'; username: string; password: string };
      }
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
  if (rows.length === 0) throw new Error('There is no handler in it.');
  const heads = new Set(rows.flatMap((row) => Object.keys(row)));
  if (![...heads].some((head) => columns.event.includes(columnOf(head)))) {
    throw new Error(
      `No column has the events: it would be called ${columns.event.join(', ')}, and there are ${[...heads].join(', ')}.`,
    );
  }
  return rows.map((row) => {
    const cells = new Map(Object.entries(row).map(([head, value]) => [columnOf(head), textOf(value)]));
    const cell = (names: readonly string[]): string =>
      names.map((name) => cells.get(name)).find(Boolean) ?? '';
    const old = Object.fromEntries(
      Object.entries(columns).map(([field, names]) => [field, cell(names)]),
    ) as OldHandler;
    return withType(withPort(withHost(old, cells.get('host') ?? ''), cells.get('port') ?? ''));
  });
}

const columnOf = (head: string): string => head.trim().toLowerCase().replaceAll(/[ -]/gu, '_');

/** A path with its host in a column of its own. */
const withHost = (old: OldHandler, host: string): OldHandler =>
  host !== '' && old.place.startsWith('/') && old.type.toLowerCase() !== 'script'
    ? { ...old, place: `${host.replace(/\/$/u, '')}${old.place}` }
    : old;

const withPort = (old: OldHandler, port: string): OldHandler =>
  port === '' || old.place.replace(/^https?:\/\//iu, '').includes(':')
    ? old
    : { ...old, place: old.place.replace(/^(?:https?:\/\/)?[^/]*/iu, `$&:${port}`) };

/** The list has the type and the place in one column: "Script: user/local/vcs/script.py", or the place alone. */
function withType(old: OldHandler): OldHandler {
  if (old.type !== '') return old;
  const [, type, rest = ''] = /^(script|https?)((?:\s|:(?!\/\/)).*)$/isu.exec(old.place) ?? [];
  const place = rest
    .trim()
    .replace(/^:(?!\/\/)/u, '')
    .trim();
  if (type !== undefined && place !== '') return { ...old, type, place };
  if (/^(?:https?:\/\/|[^/\\]+:\d)/iu.test(old.place)) return { ...old, type: 'http' };
  return /[/\\][^/\\]+\.[a-z]{2,4}$/iu.test(old.place) ? { ...old, type: 'script' } : old;
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
  const { error } = HandlerInput.safeParse(handler);
  if (error === undefined) return { old, handler, notes };
  const why = error.issues.map(({ path, message }) => `${path.join('.')} ${message}`).join('; ');
  return { old, handler: null, notes: [`not carried over: ${why}.`] };
}

/** What a migrated handler is found by, when the same list is migrated again. */
export const markOf = ({ id }: Pick<OldHandler, 'id'>): string => `(old handler ${id})`;

const descriptionOf = (old: OldHandler): string =>
  `${old.type === '' ? 'handler' : old.type} ${visible(withoutUser(old.place)).slice(0, 3000)} of the provisioning system${old.id === '' ? '' : ` ${markOf(old)}`}`;

/** What the API takes as text for people: without what it refuses. */
const visible = (text: string): string =>
  text
    .normalize('NFC')
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .replaceAll(/[\p{Cf}\p{DI}\p{Cs}]/gu, '')
    .trim();

const withoutUser = (place: string): string =>
  place.replace(/^(?<scheme>https?:\/\/)?[^/?#]*@/iu, '$<scheme>');

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
const openGuard = createAddressGuard({ allowCidrs: ['0.0.0.0/0', '::/0'], allowLoopback: true });

function httpOf(old: OldHandler, notes: string[]): MigratedHandler['target'] | null {
  const { place, path, method } = methodOf(old, notes);
  const url = urlOf(place, path);
  if (url === null) {
    notes.push(`not carried over: "${withoutUser(place)}" is no address.`);
    return null;
  }
  const { protocol, hostname, username, password } = url;
  const closed = openGuard.hostProblem(hostname);
  if (closed !== null) {
    notes.push(`not carried over: ${closed}, which no setting opens.`);
    return null;
  }
  if (protocol === 'http:')
    notes.push(
      'plain http: the deployment needs allowHttp (HANDOFF_ALLOW_HTTP=true on one machine); https is better.',
    );
  const problem = guard.hostProblem(hostname);
  if (problem !== null)
    notes.push(`${problem}: the deployment needs it in allowCidrs (HANDOFF_ALLOW_CIDRS on one machine).`);
  const target = { type: 'http', url: url.text, method, format: 'provisioning' } as const;
  if (username === '' && password === '') return target;
  notes.push('the user name and the password of its URL are in target.auth, and in the call below.');
  return { ...target, auth: { type: 'basic', username, password } };
}

/** The old list calls a path "method", as in host, port and method: `120.0.0.1:5000/api`. Exports may have one of HTTP there. */
function methodOf(
  { place, method }: OldHandler,
  notes: string[],
): { place: string; path: string; method: 'POST' | 'PUT' | 'PATCH' } {
  const name = method.toUpperCase();
  if (name === '') return { place, path: '', method: 'POST' };
  if (name === 'POST' || name === 'PUT' || name === 'PATCH') return { place, path: '', method: name };
  if (/^(?:GET|HEAD|DELETE|OPTIONS|TRACE|CONNECT)$/u.test(name)) {
    notes.push(
      `the method ${name} is not carried over: a delivery has a body, so it is POST. The receiver has to take that.`,
    );
    return { place, path: '', method: 'POST' };
  }
  if (/^(?:https?:\/\/)?[^/?#]+\/?$/iu.test(place))
    return { place, path: method.replace(/^\/+/u, ''), method: 'POST' };
  notes.push(`the method "${method}" is none of HTTP, and the address has a path already: look at the URL.`);
  return { place, path: '', method: 'POST' };
}

/** The address as a URL, written as it was but for what no URL of a handler may have: a user, spaces, what stands behind a #. */
function urlOf(
  place: string,
  path: string,
): { text: string; protocol: string; hostname: string; username: string; password: string } | null {
  const address = place.replace(/^\/\//u, '');
  if (address === '' || address.startsWith('/') || /^(?!https?:)[a-z][\d+.a-z-]*:\/\//iu.test(address))
    return null;
  const withScheme = /^https?:\/\//iu.test(address) ? address : `http://${address}`;
  const text = path === '' ? withScheme : `${withScheme.replace(/\/$/u, '')}/${path}`;
  const url = URL.parse(text);
  if (url === null) return null;
  const { protocol, hostname } = url;
  return {
    text: (withoutUser(text).split('#', 1)[0] ?? '').replaceAll(' ', '%20'),
    protocol,
    hostname,
    username: decoded(url.username),
    password: decoded(url.password),
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
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
  if (line(200).safeParse(name).success) return name;
  // Not the half of a character that takes two.
  const short = visible(visible(name).slice(0, 200));
  if (short === '') {
    notes.push('it had no name, and is named after its event.');
    return `${event} ${id}`.trim();
  }
  notes.push('its name was longer than 200 characters, or had line breaks or what cannot be seen.');
  return short;
}

function priorityOf({ priority }: OldHandler, notes: string[]): number {
  const number = Number(priority);
  if (priority !== '' && Number.isInteger(number) && number >= 1 && number <= 1000) return number;
  const nearest =
    priority === '' || Number.isNaN(number) ? 100 : Math.min(1000, Math.max(1, Math.round(number)));
  notes.push(`the priority "${priority}" is none from 1 to 1000: it comes with ${nearest}.`);
  return nearest;
}
