import { z } from '@hono/zod-openapi';
import { eventTypeForm, eventTypeProblem } from '../../shared/catalogue/catalogue.ts';
import { parseExact } from '../../shared/filters/exact-json.ts';

/** An event in a request of the API. */
export const NewEvent = z
  .strictObject({
    type: z
      .string()
      .superRefine((name, context) => {
        const problem = name.startsWith('handoff.')
          ? 'events that begin with "handoff." are emitted by Handoff alone'
          : eventTypeProblem(name);
        if (problem !== null) context.addIssue({ code: 'custom', message: problem });
      })
      .meta({ description: 'An event type', ...eventTypeForm }),
    objectId: z
      .union([z.string().max(256), z.number()], 'must be a number, null, or a text of at most 256 characters')
      .nullable()
      .default(null)
      .describe("The entity's own id"),
    data: z
      .record(z.string(), z.unknown(), 'must be an object')
      .default({})
      .describe('What the event tells, as its type has it'),
    changed: z
      .array(z.string().max(256))
      .max(1000)
      .optional()
      .describe('Of an update: the names of the changed fields. Stands beside the data'),
    previous: z
      .record(z.string(), z.unknown(), 'must be an object')
      .optional()
      .describe('Of an update: the changed fields as they were before. Stands beside the data'),
  })
  .openapi('NewEvent', {
    example: { type: 'client.create', objectId: 12, data: { id: 12, name: 'Northwind Telecom' } },
  });
export type NewEvent = z.output<typeof NewEvent>;

/**
 * The same event with its numbers as they were written, which JSON.parse has rounded (`parseExact`): for JSON.stringify, and for nothing that computes.
 *
 * @param body of the request, JSON text
 * @param member of the body that is the event; null when all of it is
 */
export function asWritten(event: NewEvent, body: string, member: 'event' | null): NewEvent {
  const json = parseExact(body) as Record<string, unknown>;
  const written = member === null ? json : (json[member] as Record<string, unknown>);
  const fields = Object.entries(event).map(([name, value]) => [name, written[name] ?? value] as const);
  return Object.fromEntries(fields) as NewEvent;
}
