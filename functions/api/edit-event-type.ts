import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { z } from '@hono/zod-openapi';
import type { Actor } from '../../shared/audit/change.ts';
import { ConflictError, InvalidInputError, NotFoundError } from '../../shared/errors.ts';
import { builtInEventTypes, eventTypeProblem } from '../../shared/catalogue/catalogue.ts';
import { fieldOf } from '../../shared/catalogue/detail-problem.ts';
import type { CustomEventType, StoredEventType } from '../../shared/catalogue/event-types.ts';
import { compileJsonSchema, schemaProblems } from '../../shared/catalogue/json-schema.ts';
import { line, lines } from '../../shared/handlers/plain-text.ts';
import { describeBuiltIn } from './describe-event-types.ts';
import { requireVersion } from './etag.ts';
import type { Services } from './services.ts';

// Every dispatcher keeps all of them in memory.
const maxEventTypes = 500;
// Together they fit into an answer of Lambda, which ends at 6 MB, as an AsyncAPI document.
const maxBytesOfAll = 4 * 1024 * 1024;
const maxSampleBytes = 16 * 1024;
const maxTries = 20;
const maxPauseMs = 50;

/**
 * An event type in a request. What was read can be sent back whole: of fields that only Handoff sets nothing is taken. A built-in type takes
 * `validation` alone.
 */
export const EventTypeInput = z.strictObject({
  label: line(200)
    .optional()
    .describe('What admins know it by, such as `CRM: merged`. An event type of your own needs one'),
  group: line(100).optional().describe('What comes before the colon of the label, if it is left out'),
  description: lines(2000).optional(),
  schema: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      'Of a whole `Detail`: JSON Schema, draft 2020-12, of 32 KB at most, that refers to itself alone, with patterns of RE2. An event type of your own needs one',
    ),
  sample: z
    .record(z.string(), z.unknown())
    .optional()
    .describe('A whole `Detail` as the schema says, of 16 KB at most. An event type of your own needs one'),
  validation: z
    .enum(['warn', 'strict'])
    .default('warn')
    .describe(
      'What becomes of an event that is not what the schema says. warn: it is delivered, and its executions have `warnings`. strict: it becomes a dead letter',
    ),
  name: z.string().optional(),
  oldId: z.string().nullable().optional(),
  builtIn: z.boolean().optional(),
  version: z.int().optional(),
  enabledHandlers: z.int().optional(),
});
type EventTypeInput = z.output<typeof EventTypeInput>;

type Edit = { name: string; by: Actor; ifMatch: string | undefined };

/** How event types are changed through the API. */
export function createEventTypeEditor({
  eventTypes,
  audit,
  now,
}: Pick<Services, 'eventTypes' | 'audit' | 'now'>) {
  /** Stores an event type of the deployer's, or the validation of a built-in one. */
  async function put(
    { name, by, ifMatch }: Edit,
    { validation, custom }: Pick<StoredEventType, 'validation' | 'custom'>,
  ): Promise<{ type: StoredEventType; isNew: boolean }> {
    return overRaces(ifMatch, async () => {
      const before = await eventTypes.find(name);
      requireVersion(before ?? { version: 0 }, ifMatch, 'event type');
      if (custom !== null) await requireRoom(name, custom);
      const version = before?.version ?? 0;
      const type = { name, version: version + 1, updatedAt: now().toISOString(), validation, custom };
      const change = { subject: name, before, after: type };
      await audit.record(by, { action: 'event-type.put', ...change }, () => eventTypes.put(type, version));
      return { type, isNew: before === null && custom !== null };
    });
  }

  /** Takes an event type of the deployer's away, or what was set for a built-in one. */
  const remove = ({ name, by, ifMatch }: Edit): Promise<void> =>
    overRaces(ifMatch, async () => {
      const before = await eventTypes.find(name);
      if (before === null) {
        // There is nothing to take away, and that is what was asked for.
        if (findBuiltIn(name) !== undefined) return;
        throw new NotFoundError('event type', name);
      }
      requireVersion(before, ifMatch, 'event type');
      const change = { subject: name, before, after: null };
      await audit.record(by, { action: 'event-type.delete', ...change }, () => eventTypes.remove(before));
    });

  // Some that come at once may all find the last place free: it is a bound, and no promise.
  async function requireRoom(name: string, custom: CustomEventType): Promise<void> {
    const others = (await eventTypes.readAll()).flatMap((type) =>
      type.name === name || type.custom === null ? [] : [type.custom],
    );
    if (others.length >= maxEventTypes) {
      throw new ConflictError(
        'state',
        `There are ${others.length} event types of your own, and at most ${maxEventTypes} may be.`,
      );
    }
    const bytes = [custom, ...others].reduce((sum, one) => sum + bytesOf(one), 0);
    if (bytes > maxBytesOfAll) {
      throw new ConflictError(
        'state',
        `The event types of your own would have ${bytes} bytes together, and at most ${maxBytesOfAll} may be.`,
      );
    }
  }

  return { put, remove };
}

/** Writes against what was read, again when another write came between and the caller takes it as it is. */
async function overRaces<Result>(ifMatch: string | undefined, write: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await write();
    } catch (error) {
      const isOvertaken = error instanceof ConflictError && error.reason === 'version';
      if (!isOvertaken || ifMatch !== undefined) throw error;
      if (tries >= maxTries)
        throw new ConflictError('state', 'The event type is being changed by too many at once.', {
          cause: error,
        });
      await delay(Math.random() * maxPauseMs);
    }
  }
}

const findBuiltIn = (name: string) => builtInEventTypes.find((type) => type.name === name);

/** What a request says about an event type. Throws InvalidInputError for what is missing, and for what cannot be said about a built-in one. */
export function definitionOf(
  name: string,
  { validation, label, group, description, schema, sample }: EventTypeInput,
): Pick<StoredEventType, 'validation' | 'custom'> {
  const builtIn = findBuiltIn(name);
  if (builtIn !== undefined) {
    const fixed = describeBuiltIn(builtIn, null);
    const changed = Object.entries({ label, group, description, schema, sample }).filter(
      ([field, value]) =>
        value !== undefined && !isDeepStrictEqual(value, fixed[field as keyof typeof fixed]),
    );
    if (changed.length === 0) return { validation, custom: null };
    throw new InvalidInputError(
      changed.map(([field]) => ({ field, message: `cannot be changed: ${name} is built in` })),
    );
  }
  const problem = nameProblem(name);
  if (problem !== null) throw new InvalidInputError([{ field: 'name', message: problem }]);
  if (label === undefined || schema === undefined || sample === undefined) {
    const missing = Object.entries({ label, schema, sample }).filter(([, value]) => value === undefined);
    throw new InvalidInputError(missing.map(([field]) => ({ field, message: 'is required' })));
  }
  const custom = {
    label,
    group: group ?? label.split(':')[0] ?? label,
    description: description ?? '',
    schema,
    sample,
  };
  requireSound(custom);
  return { validation, custom };
}

const nameProblem = (name: string): string | null =>
  name.startsWith('handoff.')
    ? 'names that begin with "handoff." are those of Handoff alone'
    : eventTypeProblem(name);

/** Throws InvalidInputError for a schema that cannot be used, and for a sample that is not what it says. */
function requireSound({ schema, sample }: CustomEventType): void {
  const problems = schemaProblems(schema);
  const sampleBytes = bytesOf(sample);
  if (sampleBytes > maxSampleBytes)
    problems.push({
      field: 'sample',
      message: `has ${sampleBytes} bytes; at most ${maxSampleBytes} are allowed`,
    });
  if (problems.length > 0) throw new InvalidInputError(problems);
  const unlike = compileJsonSchema(schema)(sample).map(({ path, message }) => ({
    field: path.length === 0 ? 'sample' : `sample.${fieldOf(path)}`,
    message: `${message}, as the schema says`,
  }));
  if (unlike.length > 0) throw new InvalidInputError(unlike);
}

const bytesOf = (value: object): number => Buffer.byteLength(JSON.stringify(value));
