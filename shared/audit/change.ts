import { z } from 'zod';

/** Everything that a caller of the API can do to Handoff; looking is none. */
export const AuditedAction = z.enum([
  'handler.create',
  'handler.edit',
  'handler.enable',
  'handler.disable',
  'handler.delete',
  'handler.rotate-secret',
  'handler.test',
  'handler.recover',
  'recovery.cancel',
  'execution.retry',
  'event.publish',
  'dead-letters.redrive',
  'event-type.put',
  'event-type.delete',
]);
export type AuditedAction = z.output<typeof AuditedAction>;

/** Who makes a change, and from where. */
export type Actor = {
  /** A person's user name, the id of a machine client, or `token:<role>` of the engine. */
  name: string;
  /** The address that the request came from. */
  ip: string;
};

/** A change as it is noted before it is made. Secrets are masked in it. */
export type Change = {
  action: AuditedAction;
  /** The id of what is changed; null where there is no one thing. */
  subject: string | null;
  /** What is there now; null when there is nothing yet. */
  before: object | null;
  /** What it is to become, or what was asked for; null when nothing is left. */
  after: object | null;
};

const noted = z.record(z.string(), z.unknown());

/** An entry of the audit trail. */
export const AuditEntry = z.object({
  id: z.string(),
  at: z.iso.datetime().describe('When the change was about to be made'),
  action: AuditedAction,
  subject: z.string().nullable().describe('The id of what was changed; null where there is no one thing'),
  by: z.string().describe('A user name, the id of a machine client, or token:<role> of the engine'),
  ip: z.string().describe('The address that the request came from'),
  before: noted.nullable().describe('Null when there was nothing; secrets are masked'),
  after: noted.nullable().describe('What it was to become, or what was asked for; secrets are masked'),
  outcome: z
    .enum(['done', 'refused', 'unconfirmed'])
    .describe(
      'unconfirmed: nobody has noted how it ended. It is under way, or the request died: then it may have been done or not',
    ),
  endedAt: z.iso.datetime().nullable().describe('When its outcome was noted'),
  result: z
    .union([z.string(), noted])
    .nullable()
    .describe('What came of it: the id of a new event, how many were redriven, why it was refused'),
});
export type AuditEntry = z.output<typeof AuditEntry>;
