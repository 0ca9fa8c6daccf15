import { z } from '@hono/zod-openapi';
import { decodeCursor, encodeCursor } from '../../shared/cursor.ts';
import type { Handler, HandlerStatus, Target } from '../../shared/handlers/handler.ts';
import { asksFor } from '../../shared/handlers/registry.ts';

/** Which handlers to list. What is left out takes all, but for `status`, which leaves out the archived ones. */
export type HandlerQuery = {
  /** Those that would run for this event type, wildcards too. */
  event?: string | undefined;
  type?: Target['type'] | undefined;
  status?: HandlerStatus | undefined;
  /** Contained in the name, the description, the URL or the script's name, whatever its case. */
  q?: string | undefined;
  limit: number;
  cursor?: string | undefined;
};

/**
 * A page of the handlers that are wanted, by priority, then name, then id. The cursor is a position in this order, so
 * it stays good when its handler is gone. Throws InvalidInputError when it is none.
 */
export function listHandlers(
  handlers: readonly Handler[],
  { limit, cursor, ...filter }: HandlerQuery,
): { items: Handler[]; nextCursor: string | null } {
  const after = cursor === undefined ? null : decodeCursor(cursor, Position);
  const rest = handlers
    .filter(isWantedBy(filter))
    .filter((handler) => after === null || comparePositions(positionOf(handler), after) > 0)
    .toSorted((a, b) => comparePositions(positionOf(a), positionOf(b)));
  const items = rest.slice(0, limit);
  const last = items.at(-1);
  const nextCursor = last !== undefined && rest.length > limit ? encodeCursor(positionOf(last)) : null;
  return { items, nextCursor };
}

/** Whether a handler is one of those that a query wants. */
export const isWantedBy =
  ({ event, type, status, q }: Omit<HandlerQuery, 'limit' | 'cursor'>) =>
  (handler: Handler): boolean =>
    (status === undefined ? handler.status !== 'archived' : handler.status === status) &&
    (type === undefined || handler.target.type === type) &&
    (event === undefined || asksFor(handler, { type: event })) &&
    (q === undefined || mentions(handler, q));

function mentions({ name, description, target }: Handler, text: string): boolean {
  const wanted = text.toLowerCase();
  return [name, description, placeOf(target)].some((field) => field.toLowerCase().includes(wanted));
}

function placeOf(target: Target): string {
  switch (target.type) {
    case 'http':
      return target.url;
    case 'script':
      return target.script;
    default:
      return target satisfies never;
  }
}

const Position = z.tuple([
  z.number().describe('priority'),
  z.string().describe('name'),
  z.string().describe('id'),
]);
type Position = z.output<typeof Position>;

const positionOf = ({ priority, name, id }: Handler): Position => [priority, name, id];

function comparePositions([priorityA, nameA, idA]: Position, [priorityB, nameB, idB]: Position): number {
  return priorityA - priorityB || compareText(nameA, nameB) || compareText(idA, idB);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
