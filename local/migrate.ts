/** From a list of the provisioning system's handlers to API calls: prints them, or makes them. docs/migrate.md */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  markOf,
  migrateHandler,
  readOldHandlers,
  type MigratedHandler,
  type Migration,
  type OldHandler,
} from './old-handlers.ts';

const usage = `npm run migrate -- <handlers.csv | handlers.json> [--apply]

Prints the API calls as a shell script, with what could not be carried over as comments. It needs HANDOFF_URL and HANDOFF_TOKEN.
  --apply   makes the calls, but those for handlers that are there already from an earlier time
`;

const headOf = ({ old, notes }: Migration): string[] =>
  [`${old.id} ${old.name}`.trim(), ...notes.map((note) => `  ${note}`)].map(
    // What is in a name must not end the comment, nor speak to a terminal.
    (line) => `# ${line.replaceAll(/\p{Cc}/gu, ' ')}`,
  );

const curlOf = (handler: MigratedHandler): string =>
  `curl -sS -w '\\n' -H "authorization: Bearer $HANDOFF_TOKEN" -H 'content-type: application/json' "\${HANDOFF_URL%/}/v1/handlers" -d ${quote(JSON.stringify(handler))}`;

const quote = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;

const { values, positionals } = readArguments();
const [file] = positionals;
if (file === undefined || positionals.length > 1 || values.help) {
  process.stderr.write(usage);
  process.exit(values.help ? 0 : 2);
}
const migrations = readList(file).map(migrateHandler);
const failed = values.apply ? await apply(migrations).catch(sayWhyItEnded) : print(migrations);
process.exitCode = failed ? 1 : 0;

function readArguments() {
  try {
    return parseArgs({
      options: { apply: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
      allowPositionals: true,
    });
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    return process.exit(2);
  }
}

function readList(path: string): OldHandler[] {
  try {
    return readOldHandlers(decode(readFileSync(path)), /\.json$/iu.test(path) ? 'json' : 'csv');
  } catch (error) {
    process.stderr.write(`${path} cannot be read: ${(error as Error).message}\n`);
    return process.exit(2);
  }
}

// Spreadsheets write other encodings unless told, and what is no UTF-8 would become other letters without a word.
function decode(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw new Error('It is not UTF-8. Save it as "CSV UTF-8", or as JSON.');
  return bytes.toString();
}

function print(all: readonly Migration[]): boolean {
  const calls = all.map((migration) =>
    [...headOf(migration), ...(migration.handler === null ? [] : [curlOf(migration.handler)]), ''].join('\n'),
  );
  const settings = ': "${HANDOFF_URL:?has to be set}" "${HANDOFF_TOKEN:?has to be set}"';
  process.stdout.write(
    ['#!/bin/sh', ...summaryOf(all).map((line) => `# ${line}`), settings, '', ...calls].join('\n'),
  );
  return false;
}

function summaryOf(all: readonly Migration[]): string[] {
  const left = all.filter(({ handler }) => handler === null).length;
  return [`${all.length} handlers, ${all.length - left} carried over, ${left} not.`];
}

/** What `fetch` says of an API that is not there has the reason in its cause. */
function sayWhyItEnded(error: unknown): true {
  const { message, cause } = error as Error;
  const reason = cause instanceof Error ? `${message}: ${cause.message}` : message;
  process.stderr.write(
    `${reason}\nIt has ended here. Called again, it leaves alone what is there with its old id.\n`,
  );
  return true;
}

/** Whether something could not be done. Throws when the API cannot be asked. */
async function apply(all: readonly Migration[]): Promise<boolean> {
  const { HANDOFF_URL: url, HANDOFF_TOKEN: token } = process.env;
  if (url === undefined || token === undefined) {
    process.stderr.write('HANDOFF_URL and HANDOFF_TOKEN have to be set.\n');
    return true;
  }
  const call = async (path: string, body?: object): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${url.replace(/\/$/u, '')}/v1/${path}`, {
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    });
    return { status: response.status, text: await response.text() };
  };
  const isThere = async (mark: string): Promise<boolean> => {
    const found = await Promise.all(
      ['', '&status=archived'].map((status) =>
        call(`handlers?limit=1&q=${encodeURIComponent(mark)}${status}`),
      ),
    );
    return found.some(({ status, text }) => {
      if (status !== 200) throw new Error(`The API answered ${status}: ${text}`);
      return (JSON.parse(text) as { items: unknown[] }).items.length > 0;
    });
  };
  let failures = 0;
  for (const migration of all) {
    process.stdout.write(`${headOf(migration).join('\n')}\n`);
    const { handler, old } = migration;
    if (handler === null) continue;
    if (old.id !== '' && (await isThere(markOf(old)))) {
      process.stdout.write('it is there already\n');
      continue;
    }
    const { status, text } = await call('handlers', handler);
    if (status === 201) {
      const { id, secret } = JSON.parse(text) as { id: string; secret: string };
      process.stdout.write(`${id}, signs with ${secret}\n`);
    } else {
      failures += 1;
      process.stdout.write(`refused, ${status}: ${text}\n`);
    }
  }
  process.stdout.write(
    `${summaryOf(all).join('\n')}${failures > 0 ? ` ${failures} refused by the API.` : ''}\n`,
  );
  return failures > 0;
}
