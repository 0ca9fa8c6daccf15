// Pure core: imports nothing but zod and node:crypto.
import type { DomainEvent } from './envelope.ts';

/** How a handler wants the event: the `format` of its target. */
export type PayloadFormat = 'standard';

/** The body of a delivery, as JSON text. The same event and format always give the same text. */
export function formatBody(event: DomainEvent, format: PayloadFormat): string {
  switch (format) {
    case 'standard':
      return JSON.stringify(standardBody(event));
    default:
      return format satisfies never;
  }
}

/**
 * Standard Webhooks: `type`, `timestamp`, `data`; every other field of the detail stands beside them. A field of
 * the detail that is named `type` or `timestamp` is not sent: a receiver must be able to trust those two.
 */
function standardBody({ type, time, detail }: DomainEvent): Record<string, unknown> {
  const { data = null, type: _type, timestamp: _timestamp, ...others } = detail;
  // Spreads define properties and never assign, so a field named __proto__ is carried like any other.
  return { type, timestamp: time, data, ...others };
}
