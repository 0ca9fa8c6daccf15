// Pure core: imports nothing but the catalogue, for the old names.
import { builtInEventTypes } from '../catalogue/catalogue.ts';
import type { DomainEvent } from './envelope.ts';
import { endOfValue, objectOf, readArray, readObject } from './json-text.ts';

// Where the old system sent no data at all.
const withoutData = new Set([
  'client.delete',
  'client.archive',
  'client.balance.nonnegative',
  'client.balance.nonpositive',
  'account.delete',
]);

// It called the ids of other entities by their plural. All else is the same name in snake case.
const oldNames: Readonly<Record<string, string>> = {
  companyId: 'companies_id',
  clientId: 'clients_id',
  packageId: 'packages_id',
  accountId: 'accounts_id',
};

const oldIds = new Map<string, string>(builtInEventTypes.map(({ name, oldId }) => [name, oldId]));

/**
 * The body that the old system sent, for receivers that were written for it. It had whole seconds, and an offset in digits.
 *
 * @param detail the members of the event's detail, as they were written
 */
export function provisioningBody(
  { type, time, objectId }: Pick<DomainEvent, 'type' | 'time' | 'objectId'>,
  detail: ReadonlyMap<string, string>,
): string {
  const event = objectOf([
    ['dt', JSON.stringify(time.replace(/\.\d+Z$/u, '+00:00'))],
    ['events_id', JSON.stringify(oldIds.get(type) ?? type)],
    ['object_id', objectIdAsWritten(objectId, detail.get('objectId'))],
  ]);
  return objectOf([
    ['event', event],
    ['data', oldData(type, detail)],
  ]);
}

/** A number with more digits than JavaScript keeps is text in the event, and a number here all the same. */
const objectIdAsWritten = (objectId: DomainEvent['objectId'], json = ''): string =>
  objectId !== null && /^[-\d]/u.test(json) ? json : JSON.stringify(objectId);

function oldData(type: string, detail: ReadonlyMap<string, string>): string {
  const data = detail.get('data') ?? '{}';
  if (withoutData.has(type)) return '{}';
  const omitted =
    type === 'account.update' && !isChanged('clientId', detail.get('changed')) ? 'clientId' : null;
  return withOldNames(data, 0, omitted).text;
}

/** Whether the name is in the list of those that were changed. */
function isChanged(name: string, changed = '[]'): boolean {
  const names = JSON.parse(changed) as unknown;
  return Array.isArray(names) && names.includes(name);
}

/**
 * The value that begins at `start` with the names that the old system had. Two names that become one are one member, with the later value.
 *
 * @param omitted a member that is left out
 */
function withOldNames(
  json: string,
  start: number,
  omitted: string | null = null,
): { text: string; end: number } {
  if (json[start] === '{') {
    const members = new Map<string, string>();
    const end = readObject(json, start, (name, valueStart) => {
      const value = isCustom(name) ? asWritten(json, valueStart) : withOldNames(json, valueStart);
      if (name !== omitted) members.set(oldNameOf(name), value.text);
      return value.end;
    });
    return { text: objectOf(members), end };
  }
  if (json[start] === '[') {
    let text = '';
    let from = start;
    const end = readArray(json, start, (elementStart) => {
      // Long lists are of numbers and texts, most often.
      if (json[elementStart] !== '{' && json[elementStart] !== '[') return endOfValue(json, elementStart);
      const element = withOldNames(json, elementStart);
      text += json.slice(from, elementStart) + element.text;
      from = element.end;
      return element.end;
    });
    return { text: text + json.slice(from, end), end };
  }
  return asWritten(json, start);
}

function asWritten(json: string, start: number): { text: string; end: number } {
  const end = endOfValue(json, start);
  return { text: json.slice(start, end), end };
}

// What is in there has the names that admins gave to fields of their own.
const isCustom = (name: string): boolean => name === 'customFields' || name === 'custom_fields';

// A name that is not in camel case ("DE", "Some key", "__proto__") is somebody's own.
const hasCapitals = /[A-Z]/u;
const camelCase = /^[a-z][\dA-Za-z]*$/u;

const oldNameOf = (name: string): string => {
  if (Object.hasOwn(oldNames, name)) return oldNames[name] as string;
  // Most have none, and looking for the places takes its time.
  if (!hasCapitals.test(name) || !camelCase.test(name)) return name;
  return name.replaceAll(/(?<=[\da-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/gu, '_').toLowerCase();
};
