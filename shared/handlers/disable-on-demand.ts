import { log } from '../log.ts';
import { isOwnEvent, type Announce } from '../events/own-events.ts';
import type { DomainEvent } from '../events/envelope.ts';
import type { Handler } from './handler.ts';
import type { HandlerStore } from './store.ts';

/** Disables a handler whose endpoint has asked for it, unless it has been changed since it was read. */
export type DisableOnDemand = (
  handler: Handler,
  event: Pick<DomainEvent, 'source'>,
) => Promise<'changed' | 'disabled'>;

/** Disables handlers, and tells of it once. */
export const createDisabler =
  ({ store, announce }: { store: Pick<HandlerStore, 'disable'>; announce: Announce }): DisableOnDemand =>
  async ({ id, name, version }, event) => {
    const result = await store.disable({ id, version }, 'gone');
    if (result === 'disabled' && !isOwnEvent(event)) {
      const data = { handlerId: id, handlerName: name, because: 'gone' } as const;
      const problems = await announce([{ type: 'handoff.handler.disabled', objectId: id, data }]);
      for (const error of problems) log.error('handler.disabled-untold', { handlerId: id, error });
    }
    return result === 'changed' ? 'changed' : 'disabled';
  };
