// Pure: imports nothing but zod.
import { z } from 'zod';
import type { DescribedEvent } from './domain-events.ts';

const handler = { handlerId: z.string(), handlerName: z.string() };
const circuit = z.object({
  objectId: z.string().describe("The handler's id"),
  data: z.object({ ...handler, since: z.iso.datetime() }),
});

/**
 * What Handoff tells of itself (`own-events.ts`). These are no part of the catalogue that handlers choose from: `*` does not match them, and
 * nobody else may send them. The documents describe them beside it.
 */
export const handoffEvents: readonly DescribedEvent[] = [
  {
    name: 'handoff.execution.failed',
    label: 'Handoff: execution failed',
    oldId: null,
    description:
      'An execution has failed for good: no further attempt could mend it, or there is none left. The objectId is that of the event it was for.',
    detail: z.object({
      objectId: z.union([z.number(), z.string()]).nullable(),
      data: z.object({
        executionId: z.string(),
        ...handler,
        eventId: z.string(),
        event: z.string().describe('The event type'),
        attemptCount: z.int(),
        statusCode: z.int().nullable(),
        error: z.string().nullable(),
      }),
    }),
    sample: {
      objectId: 12,
      data: {
        executionId: 'x_aF8wYVhRbTFMclprOGNKdjNUIzAgMjAyNi0xMS0yM1QxMDowMDowMC4wMDBa',
        handlerId: 'h_0aXQm1LrZk8cJv3T',
        handlerName: 'CRM sync',
        eventId: '6f1e2c52-6b0e-4d3f-9a43-0c6a1f4b5d77',
        event: 'client.create',
        attemptCount: 10,
        statusCode: 500,
        error: 'http: status 500',
      },
    },
  },
  {
    name: 'handoff.handler.disabled',
    label: 'Handoff: handler disabled',
    oldId: null,
    description:
      'Handoff has disabled a handler: its endpoint has asked for that (gone), or nothing has arrived there for days (failing).',
    detail: z.object({
      objectId: z.string().describe("The handler's id"),
      data: z.object({ ...handler, because: z.enum(['gone', 'failing']) }),
    }),
    sample: {
      objectId: 'h_0aXQm1LrZk8cJv3T',
      data: { handlerId: 'h_0aXQm1LrZk8cJv3T', handlerName: 'CRM sync', because: 'gone' },
    },
  },
  {
    name: 'handoff.circuit.opened',
    label: 'Handoff: circuit opened',
    oldId: null,
    description:
      'The target of a handler is down: what comes for it is parked, and one probe at a time asks whether it is back.',
    detail: circuit,
    sample: {
      objectId: 'h_0aXQm1LrZk8cJv3T',
      data: { handlerId: 'h_0aXQm1LrZk8cJv3T', handlerName: 'CRM sync', since: '2026-11-23T10:00:00.000Z' },
    },
  },
  {
    name: 'handoff.circuit.closed',
    label: 'Handoff: circuit closed',
    oldId: null,
    description: 'The target of a handler answers again, and what was parked for it is released.',
    detail: circuit,
    sample: {
      objectId: 'h_0aXQm1LrZk8cJv3T',
      data: { handlerId: 'h_0aXQm1LrZk8cJv3T', handlerName: 'CRM sync', since: '2026-11-23T10:12:00.000Z' },
    },
  },
];
