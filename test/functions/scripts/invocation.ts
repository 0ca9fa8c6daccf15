import type { ScriptInvocation } from '../../../shared/scripts/invocation.ts';
import { anEvent } from '../../support/builders.ts';

/** What a script is called with for an event of this type; only its id and time are the same for all. */
export const anInvocation = (type: string, detail: unknown): ScriptInvocation => ({
  event: JSON.parse(anEvent({ id: 'e-1', type, detail })) as ScriptInvocation['event'],
  handler: { id: 'h_1234567890abcdef', name: 'Balance guard' },
  execution: { id: 'x-1', attempt: 1 },
});
