import type { HandlerStore, Settling } from '../../shared/handlers/store.ts';

/**
 * Finds the handlers that have been stopped and are not seen to yet. While nothing changes about handlers a look costs half a read unit,
 * however many there are.
 */
export function createSettlingWatch(store: HandlerStore): () => Promise<Settling[]> {
  let calmRevision = Number.NaN;

  return async () => {
    if ((await store.revision()) === calmRevision) return [];
    const { settling, revision } = await store.readAll();
    if (settling.length === 0) calmRevision = revision;
    return settling;
  };
}
