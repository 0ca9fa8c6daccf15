import { z } from '@hono/zod-openapi';
import { Handler, HandlerInput } from '../../shared/handlers/handler.ts';
import { answerOf, patchOf } from './schema-forms.ts';

const example = {
  name: 'CRM sync',
  events: ['client.create', 'client.balance.*'],
  target: {
    type: 'http',
    url: 'https://crm.example/hook',
    auth: { type: 'bearer', token: 'b7Jx2kQ9' },
  },
  priority: 10,
  retry: { schedule: [5, 60, 600] },
  rateLimit: { perSecond: 20 },
} satisfies z.input<typeof HandlerInput>;

const id = 'h_Sm2pX0vTq4c7YdKe';
const seen = { id, version: 3, createdAt: '2026-11-23T10:00:00.000Z', updatedAt: '2026-11-23T10:07:12.345Z' };
const answer: z.output<typeof Handler> = {
  ...HandlerInput.parse(example),
  target: {
    ...HandlerInput.parse(example).target,
    auth: { type: 'bearer', token: '***' },
  } as Handler['target'],
  ...seen,
};

/** The id of a handler in a path. */
export const HandlerId = z.string().max(64).describe('The id of a handler').openapi({ example: id });

// Only what is made here, behind the import above, can say something to the generator.
/** A handler to be. */
export const NewHandler = HandlerInput.extend({}).openapi('HandlerInput', { example });

// What was read can be sent back whole: the fields that only Handoff sets are accepted and have no effect.
const ignored = 'Taken, so that what was read can be sent back; has no effect';
export const HandlerReplacement = HandlerInput.extend({
  id: z.string().optional().describe(ignored),
  version: z.int().optional().describe(ignored),
  createdAt: z.string().optional().describe(ignored),
  updatedAt: z.string().optional().describe(ignored),
  health: z.unknown().optional().describe(ignored),
}).openapi('HandlerReplacement', { example });

const { properties } = z.toJSONSchema(patchOf(HandlerInput), { unrepresentable: 'any' });
/** Some fields of a handler, as a JSON Merge Patch. What it makes of the handler is validated, not the patch itself. */
export const HandlerPatch = z.looseObject({}).openapi('HandlerPatch', {
  // What is used of JSON Schema is the same in OpenAPI 3.1.
  ...({ properties, additionalProperties: false } as object),
  example: { priority: 20, target: { timeoutMs: 5000 } },
});

/** A handler as it is shown. */
export const HandlerAnswer = answerOf(Handler).openapi('Handler', { example: answer });
