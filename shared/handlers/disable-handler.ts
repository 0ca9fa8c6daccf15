import { isOwnEvent, type Announce } from '../events/own-events.ts';
import { log } from '../log.ts';
import type { Handler } from './handler.ts';
import type { DisabledBecause, HandlerStore } from './store.ts';

/**
 * Disables a handler for what came of calling it, unless it has been changed since it was read.
 *
 * @param event that it was called with
 */
export type DisableHandler = (
  handler: Handler,
  because: DisabledBecause,
  event: { source: string },
) => Promise<'changed' | 'disabled'>;

/** Disables handlers, and tells of it once. */
export const createDisabler =
  ({ store, announce }: { store: Pick<HandlerStore, 'disable'>; announce: Announce }): DisableHandler =>
  async ({ id, name, version }, because, event) => {
    const result = await store.disable({ id, version }, because);
    if (result === 'disabled' && !isOwnEvent(event)) {
      const data = { handlerId: id, handlerName: name, because };
      const problems = await announce([{ type: 'handoff.handler.disabled', objectId: id, data }]);
      for (const error of problems) log.error('handler.disabled-untold', { handlerId: id, error });
    }
    return result === 'changed' ? 'changed' : 'disabled';
  };
