import type { JsonSchema } from './json-schema.ts';

/** An event type as the document shows it. */
export type PublishedType = {
  name: string;
  label: string;
  description: string;
  /** Of a whole `Detail`. */
  schema: JsonSchema;
  sample: Readonly<Record<string, unknown>>;
  /** Whether Handoff puts it on the bus, or an upstream. */
  isOwn: boolean;
};

const envelopeName = 'EventBridgeEvent';

/**
 * An AsyncAPI 3.0 document of event types, as Handoff sees them: it receives those of the upstreams, and sends its own. Each has a channel, an
 * operation and a message by its name; the schema of its `Detail` is in `components.schemas`. https://www.asyncapi.com/docs/reference/specification/v3.0.0
 */
export function asyncApiDocument(version: string, types: readonly PublishedType[]) {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Handoff events',
      version,
      description:
        'The events on the bus that Handoff runs handlers for, and those that it tells of itself. A channel is a detail-type of EventBridge.',
    },
    defaultContentType: 'application/json',
    channels: byName(types, ({ name, label, description }) => ({
      address: name,
      title: label,
      description,
      messages: { [name]: { $ref: `#/components/messages/${name}` } },
    })),
    operations: byName(types, ({ name, label, isOwn }) => ({
      action: isOwn ? 'send' : 'receive',
      title: label,
      channel: { $ref: `#/channels/${name}` },
      messages: [{ $ref: `#/channels/${name}/messages/${name}` }],
    })),
    components: {
      messages: byName(types, ({ name, label, description, sample, isOwn }) => ({
        name,
        title: label,
        summary: description,
        payload: {
          allOf: [
            { $ref: `#/components/schemas/${envelopeName}` },
            {
              type: 'object',
              properties: {
                'detail-type': { const: name },
                detail: { $ref: `#/components/schemas/${name}` },
              },
            },
          ],
        },
        examples: [{ name: 'sample', payload: envelopeOf(name, sample, isOwn ? 'handoff' : 'billing') }],
      })),
      schemas: {
        [envelopeName]: envelopeSchema,
        ...byName(types, ({ name, schema }) => embed(schema, `#/components/schemas/${name}`)),
      } as Record<string, object>,
    },
  };
}

const byName = <Shown>(
  types: readonly PublishedType[],
  show: (type: PublishedType) => Shown,
): Record<string, Shown> => Object.fromEntries(types.map((type) => [type.name, show(type)]));

// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
const envelopeSchema = {
  type: 'object',
  required: ['id', 'detail-type', 'source', 'time', 'detail'],
  properties: {
    version: { type: 'string' },
    id: { type: 'string', description: 'Unique for each event' },
    'detail-type': { type: 'string', description: 'The event type' },
    source: { type: 'string', description: 'The service that emitted it' },
    account: { type: 'string' },
    time: { type: 'string', format: 'date-time' },
    region: { type: 'string' },
    resources: { type: 'array', items: { type: 'string' } },
    detail: { type: 'object' },
  },
};

const envelopeOf = (type: string, detail: object, source: string) => ({
  version: '0',
  id: '6f1e2c52-6b0e-4d3f-9a43-0c6a1f4b5d77',
  'detail-type': type,
  source,
  account: '123456789012',
  time: '2026-11-23T10:00:00Z',
  region: 'eu-central-1',
  resources: [],
  detail,
});

// They hold data, whatever it looks like.
const ofData = new Set(['const', 'enum', 'default', 'examples']);
// Their members have names of the deployer's choice.
const named = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions']);

/** A schema as a part of a larger document: what refers to its root refers to its place there. */
function embed({ $schema: _schema, $id: _id, ...schema }: JsonSchema, place: string): object {
  const rewrite = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(rewrite);
    if (typeof value !== 'object' || value === null) return value;
    return mapMembers(value, (member, key) => {
      if (key === '$ref' && typeof member === 'string') return member.replace(/^#/u, place);
      if (ofData.has(key)) return member;
      return named.has(key) && typeof member === 'object' && member !== null
        ? mapMembers(member, rewrite)
        : rewrite(member);
    });
  };
  return rewrite(schema) as object;
}

const mapMembers = (members: object, map: (member: unknown, key: string) => unknown): object =>
  Object.fromEntries(Object.entries(members).map(([key, member]) => [key, map(member, key)]));
