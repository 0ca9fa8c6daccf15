import { ConflictError } from '../../shared/errors.ts';
import type { HandlerStatus } from '../../shared/handlers/handler.ts';

/** What ran for a handler may be run again only while that runs: what is held waits for it to be enabled. */
export function requireEnabled(id: string, status: HandlerStatus | 'deleted'): void {
  if (status !== 'enabled') {
    throw new ConflictError('state', `The handler ${id} is ${status}; only one that is enabled is run.`);
  }
}
