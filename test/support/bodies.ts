import { builtInEventTypes, type BuiltInEventType } from '../../shared/catalogue/catalogue.ts';
import { parseEvent } from '../../shared/events/envelope.ts';
import { formatBody, type PayloadFormat } from '../../shared/events/format.ts';
import { anEvent } from './builders.ts';

/** Where the bodies are kept that each event type has in each format. */
export const bodiesFolder = new URL('../fixtures/bodies/', import.meta.url);

export const bodyFile = (format: PayloadFormat, type: string): string => `${format}/${type}.json`;

/** The body of the sample of an event type. */
export function bodyOf(format: PayloadFormat, { name, sample }: BuiltInEventType): string {
  const parsed = parseEvent(
    anEvent({ id: '6f1d4c1e-0b5e-4f5e-9c55-0d6a1c1b2a3f', type: name, detail: sample }),
  );
  if (!parsed.ok) throw new Error(parsed.reason);
  return formatBody(parsed.event, format);
}

export const everyType = builtInEventTypes;
