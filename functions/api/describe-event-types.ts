import { builtInEventTypes, type BuiltInEventType } from '../../shared/catalogue/catalogue.ts';
import { toJsonSchema } from '../../shared/catalogue/catalogue-schema.ts';
import type { StoredEventType, Validation } from '../../shared/catalogue/event-types.ts';
import type { JsonSchema } from '../../shared/catalogue/json-schema.ts';

/** An event type as the API shows it, whoever has described it. */
export type DescribedEventType = {
  name: string;
  label: string;
  group: string;
  oldId: string | null;
  description: string;
  schema: JsonSchema;
  sample: Record<string, unknown>;
  builtIn: boolean;
  validation: Validation;
  version: number;
};

const schemas = new Map<string, JsonSchema>();

/** A built-in event type, with what is stored of it. */
export function describeBuiltIn(
  { name, label, group, oldId, description, detail, sample }: BuiltInEventType,
  stored: Pick<StoredEventType, 'validation' | 'version'> | null,
): DescribedEventType {
  const schema = schemas.get(name) ?? toJsonSchema(detail);
  schemas.set(name, schema);
  const { validation = 'warn', version = 0 } = stored ?? {};
  return { name, label, group, oldId, description, schema, sample, builtIn: true, validation, version };
}

/** An event type of the deployer's; null for what was set of a built-in one. */
export function describeCustom({
  name,
  version,
  validation,
  custom,
}: StoredEventType): DescribedEventType | null {
  if (custom === null) return null;
  const { label, group, description, schema, sample } = custom;
  return {
    name,
    label,
    group,
    oldId: null,
    description,
    schema,
    sample,
    builtIn: false,
    validation,
    version,
  };
}

/** All event types: the built-in ones in the order of the catalogue, then those of the deployer by name. */
export function describeAll(stored: readonly StoredEventType[]): DescribedEventType[] {
  const byName = new Map(stored.map((type) => [type.name, type]));
  return [
    ...builtInEventTypes.map((type) => describeBuiltIn(type, byName.get(type.name) ?? null)),
    ...stored.flatMap((type) => describeCustom(type) ?? []).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  ];
}
