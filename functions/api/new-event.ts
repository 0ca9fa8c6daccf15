import { z } from '@hono/zod-openapi';
import { eventTypeProblem } from '../../shared/events/catalogue.ts';

/** An event in a request of the API. */
export const NewEvent = z
  .strictObject({
    type: z.string().superRefine((name, context) => {
      const problem = name.startsWith('handoff.')
        ? 'events that begin with "handoff." are emitted by Handoff alone'
        : eventTypeProblem(name);
      if (problem !== null) context.addIssue({ code: 'custom', message: problem });
    }),
    objectId: z
      .union([z.string().max(256), z.number()])
      .nullable()
      .default(null)
      .describe("The entity's own id"),
    data: z.record(z.string(), z.unknown()).default({}),
  })
  .openapi('NewEvent');
export type NewEvent = z.output<typeof NewEvent>;
