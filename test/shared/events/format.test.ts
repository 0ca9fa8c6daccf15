import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseEvent, type DomainEvent } from '../../../shared/events/envelope.ts';
import { formatBody } from '../../../shared/events/format.ts';

/** As it comes from the queue: through the parser, so that own `__proto__` keys are real ones. */
function eventWith(detailJson: string): DomainEvent {
  const parsed = parseEvent(
    `{"id":"e-1","detail-type":"client.create","source":"billing","time":"2026-11-23T10:00:00Z","detail":${detailJson}}`,
  );
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.event;
}

const standard = (detailJson: string) => formatBody(eventWith(detailJson), 'standard');

describe('formatBody, standard', () => {
  it('has type, timestamp and data, and every other field of the detail beside them', () => {
    expect(standard('{"objectId":12,"data":{"name":"Ann"},"actor":"admin"}')).toBe(
      '{"type":"client.create","timestamp":"2026-11-23T10:00:00.000Z","data":{"name":"Ann"},"objectId":12,"actor":"admin"}',
    );
  });

  it('sends null as data when the detail has none', () => {
    expect(JSON.parse(standard('{}'))).toEqual({
      type: 'client.create',
      timestamp: '2026-11-23T10:00:00.000Z',
      data: null,
    });
  });

  it('does not let the detail replace the type or the timestamp', () => {
    const body = JSON.parse(standard('{"type":"account.delete","timestamp":"1970-01-01","data":1}'));
    expect(body).toEqual({ type: 'client.create', timestamp: '2026-11-23T10:00:00.000Z', data: 1 });
  });

  it('carries a field named __proto__ like any other, at every depth', () => {
    const body = standard('{"__proto__":{"admin":true},"data":{"__proto__":{"admin":true},"n":1}}');
    expect(body).toBe(
      '{"type":"client.create","timestamp":"2026-11-23T10:00:00.000Z","data":{"__proto__":{"admin":true},"n":1},"__proto__":{"admin":true}}',
    );
  });

  it('keeps every field of any detail', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (detail) => {
        const body = JSON.parse(standard(JSON.stringify(detail))) as Record<string, unknown>;
        const sent = { ...JSON.parse(JSON.stringify(detail)) } as Record<string, unknown>;
        delete sent['type'];
        delete sent['timestamp'];
        for (const [name, value] of Object.entries(sent)) {
          expect(Object.getOwnPropertyDescriptor(body, name)?.value).toEqual(value);
        }
        const added = ['type', 'timestamp', ...(Object.hasOwn(sent, 'data') ? [] : ['data'])];
        expect(Object.keys(body).toSorted()).toEqual([...Object.keys(sent), ...added].toSorted());
      }),
    );
  });
});
