import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import asyncapi30 from '@asyncapi/specs/schemas/3.0.0-without-$id.json' with { type: 'json' };
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { builtInEventTypes } from '../../../../shared/catalogue/catalogue.ts';
import { anEventTypeInput, startApi, type Api, type Body } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const read = async (): Promise<Body> => {
  const { status, body } = await api.request('GET', '/v1/asyncapi.json');
  expect(status).toBe(200);
  return body;
};
const own = [
  'handoff.execution.failed',
  'handoff.handler.disabled',
  'handoff.circuit.opened',
  'handoff.circuit.closed',
];

describe('GET /v1/asyncapi.json', () => {
  it('200: every event type, those of the deployer and those of Handoff too, as AsyncAPI 3.0', async () => {
    await api.request('PUT', '/v1/event-types/crm.merged', anEventTypeInput());
    const document = await read();
    const ajv = new Ajv({ strict: false, allErrors: true, logger: false, validateFormats: false });
    expect(ajv.validate(asyncapi30, document), JSON.stringify(ajv.errors)).toBe(true);
    const names = [...builtInEventTypes.map(({ name }) => name), 'crm.merged', ...own];
    expect(Object.keys(document.channels)).toEqual(names);
    expect(Object.keys(document.operations)).toEqual(names);
    expect(Object.keys(document.components.messages)).toEqual(names);
  });

  it('200: references lead somewhere, and each example is what its schema says', async () => {
    await api.request('PUT', '/v1/event-types/crm.merged', anEventTypeInput());
    const document = await read();
    const ajv = new Ajv2020({ strict: false, logger: false, validateFormats: false });
    ajv.addSchema({ $id: 'https://handoff.example/asyncapi.json', ...document });
    for (const [name, { payload, examples }] of Object.entries<Body>(document.components.messages)) {
      const pointer = `/components/messages/${name}/payload`;
      const isPayload = ajv.getSchema(`https://handoff.example/asyncapi.json#${pointer}`);
      expect(payload.allOf[1].properties['detail-type'].const).toBe(name);
      for (const { payload: example } of examples) {
        expect([name, isPayload?.(example), isPayload?.errors]).toEqual([name, true, null]);
        expect(isPayload?.({ ...example, detail: null })).toBe(false);
      }
    }
    for (const [name, { channel, messages }] of Object.entries<Body>(document.operations)) {
      expect(channel.$ref).toBe(`#/channels/${name}`);
      expect(messages[0].$ref).toBe(`#/channels/${name}/messages/${name}`);
      expect(document.channels[name].messages[name].$ref).toBe(`#/components/messages/${name}`);
    }
  });
});
