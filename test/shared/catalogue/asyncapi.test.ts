import { Ajv } from 'ajv';
import asyncapi30 from '@asyncapi/specs/schemas/3.0.0-without-$id.json' with { type: 'json' };
import { describe, expect, it } from 'vitest';
import { asyncApiDocument, type PublishedType } from '../../../shared/catalogue/asyncapi.ts';

// The official schema of AsyncAPI 3.0 documents.
const ajv = new Ajv({ strict: false, allErrors: true, logger: false, validateFormats: false });
const isAsyncApi = ajv.compile(asyncapi30);
const problemsOf = (document: unknown) =>
  isAsyncApi(JSON.parse(JSON.stringify(document))) ? [] : (isAsyncApi.errors ?? []);

const aType = (parts: Partial<PublishedType> = {}): PublishedType => ({
  name: 'crm.merged',
  label: 'CRM: merged',
  description: 'Two contacts became one.',
  schema: { $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object' },
  sample: { objectId: 1, data: {} },
  isOwn: false,
  ...parts,
});

describe('asyncApiDocument', () => {
  it('is an AsyncAPI 3.0 document, with a channel, an operation and a message for each type', () => {
    const document = asyncApiDocument('1.2.3', [
      aType(),
      aType({ name: 'handoff.circuit.opened', isOwn: true }),
    ]);
    expect(problemsOf(document)).toEqual([]);
    expect(problemsOf({ ...document, channels: { a: { addres: 'a' } } })).not.toEqual([]);
    expect(Object.keys(document.channels)).toEqual(['crm.merged', 'handoff.circuit.opened']);
    // As Handoff sees it.
    expect(document.operations['crm.merged']?.action).toBe('receive');
    expect(document.operations['handoff.circuit.opened']?.action).toBe('send');
    expect(document.components.messages['crm.merged']?.examples[0]?.payload).toMatchObject({
      'detail-type': 'crm.merged',
      detail: { objectId: 1, data: {} },
    });
  });

  it('has the references of a schema lead to where they led', () => {
    const schema = {
      $id: 'https://x.example/merged',
      $defs: { id: { type: 'string' }, default: { $ref: '#/$defs/id' } },
      properties: {
        a: { $ref: '#/$defs/id' },
        whole: { $ref: '#' },
        default: { $ref: '#/$defs/default' },
        $ref: { items: [{ $ref: '#/$defs/id' }] },
      },
      default: { $ref: '#/not-a-reference' },
      enum: [{ $ref: '#' }],
    };
    const document = asyncApiDocument('1.2.3', [aType({ schema })]);
    const place = '#/components/schemas/crm.merged';
    expect(document.components.schemas['crm.merged']).toEqual({
      $defs: { id: { type: 'string' }, default: { $ref: `${place}/$defs/id` } },
      properties: {
        a: { $ref: `${place}/$defs/id` },
        whole: { $ref: place },
        default: { $ref: `${place}/$defs/default` },
        $ref: { items: [{ $ref: `${place}/$defs/id` }] },
      },
      default: { $ref: '#/not-a-reference' },
      enum: [{ $ref: '#' }],
    });
  });
});
