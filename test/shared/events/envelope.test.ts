import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maxEventBytes, parseEvent, type DomainEvent } from '../../../shared/events/envelope.ts';
import { anEvent } from '../../support/builders.ts';

function parsed(body: string): DomainEvent {
  const result = parseEvent(body);
  if (!result.ok) throw new Error(result.reason);
  return result.event;
}
function reasonOf(body: string): string {
  const result = parseEvent(body);
  return result.ok ? 'none' : result.reason;
}
/** An event with some fields changed; one that is undefined is left out. */
const withFields = (changes: object) => JSON.stringify({ ...(JSON.parse(anEvent()) as object), ...changes });

describe('parseEvent', () => {
  it('reads what Handoff needs of an EventBridge event', () => {
    const raw = anEvent({ id: 'e1' });
    expect(parseEvent(raw)).toEqual({
      ok: true,
      event: {
        id: 'e1',
        type: 'client.create',
        source: 'billing',
        time: '2026-11-23T10:00:00.000Z',
        objectId: 12,
        detail: { objectId: 12, data: { id: 12, name: 'Ada' } },
        json: JSON.parse(raw) as unknown,
        raw,
      },
    });
  });

  it('keeps the text as it came, with fields, numbers and spaces that it does not know', () => {
    const raw = `  ${withFields({ 'replay-name': 'again', extra: { a: [1] } }).replace('12', '12345678901234567890')}\n`;
    expect(parsed(raw).raw).toBe(raw);
  });

  it.each([
    ['2026-11-23T10:00:00Z', '2026-11-23T10:00:00.000Z'],
    ['2026-11-23T12:30:00.5+02:30', '2026-11-23T10:00:00.500Z'],
    ['2026-11-23T10:00:00.123456789Z', '2026-11-23T10:00:00.123Z'],
  ])('reads the time %s in UTC with milliseconds', (time, expected) => {
    expect(parsed(anEvent({ time })).time).toBe(expected);
  });

  it.each([
    ['an integer', 12, 12],
    ['zero', 0, 0],
    ['a text', 'c_12', 'c_12'],
    ['an empty text', '', ''],
    ['null', null, null],
    ['absent', undefined, null],
    ['a switch', true, null],
    ['an object', { id: 12 }, null],
    ['a list', [12], null],
    ['a text of 256 characters', 'x'.repeat(256), 'x'.repeat(256)],
    ['a longer text than an id is', 'x'.repeat(257), null],
    ['a fraction', 1.5, '1.5'],
  ])('takes the object id that is %s', (_, objectId, expected) => {
    expect(parsed(anEvent({ detail: { objectId, data: {} } })).objectId).toBe(expected);
  });

  it.each(['12345678901234567890', '9007199254740993', '-9007199254740993', '1e400', '1e-200', '1.0e5000'])(
    'takes the object id %s, which no number of JavaScript holds, as it was written',
    (written) => {
      const body = `{"id":"e","detail-type":"t","source":"s","time":"2026-11-23T10:00:00Z","detail":{"data":{"objectId":1},"objectId":${written}}}`;
      expect(parsed(body).objectId).toBe(written);
    },
  );

  it.each([
    ['', 'The message is not JSON: '],
    ['{', 'The message is not JSON: '],
    ['<xml/>', 'The message is not JSON: '],
    ['null', 'Not an EventBridge event: the message is not a JSON object.'],
    ['"text"', 'Not an EventBridge event: the message is not a JSON object.'],
    ['[]', 'Not an EventBridge event: the message is not a JSON object.'],
    ['12', 'Not an EventBridge event: the message is not a JSON object.'],
  ])('says why "%s" is no event', (body, reason) => {
    expect(reasonOf(body)).toContain(reason);
  });

  it.each([
    [{ id: undefined }, 'id is missing or not a string'],
    [{ id: 12 }, 'id is missing or not a string'],
    [{ id: '' }, 'id must be 1 to 128 printable ASCII characters without spaces'],
    [{ id: 'a b' }, 'id must be 1 to 128 printable ASCII characters without spaces'],
    [{ id: 'a\r\nx-evil: 1' }, 'id must be 1 to 128 printable ASCII characters without spaces'],
    [{ id: 'ü' }, 'id must be 1 to 128 printable ASCII characters without spaces'],
    [{ id: 'x'.repeat(129) }, 'id must be 1 to 128 printable ASCII characters without spaces'],
    [{ 'detail-type': undefined }, 'detail-type is missing or not a string'],
    [{ 'detail-type': 1 }, 'detail-type is missing or not a string'],
    [{ 'detail-type': '' }, 'detail-type is empty'],
    [{ 'detail-type': 'x'.repeat(129) }, 'detail-type is longer than 128 characters'],
    [{ source: null }, 'source is missing or not a string'],
    [{ source: 'x'.repeat(257) }, 'source is longer than 256 characters'],
    [{ time: undefined }, 'time is not an ISO 8601 time'],
    [{ time: 'yesterday' }, 'time is not an ISO 8601 time'],
    [{ time: '2026-02-30T10:00:00Z' }, 'time is not an ISO 8601 time'],
    [{ time: '2026-11-23T10:00:00' }, 'time is not an ISO 8601 time'],
    [{ time: 1_764_000_000 }, 'time is not an ISO 8601 time'],
    [{ detail: undefined }, 'detail is not an object'],
    [{ detail: null }, 'detail is not an object'],
    [{ detail: '{}' }, 'detail is not an object'],
    [{ detail: [] }, 'detail is not an object'],
  ])('says what is wrong with %j', (changes, problem) => {
    expect(reasonOf(withFields(changes))).toBe(`Not an EventBridge event: ${problem}.`);
  });

  it('says everything that is wrong at once', () => {
    expect(reasonOf('{}')).toBe(
      'Not an EventBridge event: id is missing or not a string; detail-type is missing or not a string; source is missing or not a string; time is not an ISO 8601 time; detail is not an object.',
    );
  });

  it('takes 1 MB and refuses a byte more, counted in UTF-8', () => {
    const empty = anEvent({ detail: { data: '' } });
    const filled = (bytes: number) => empty.replace('"data":""', `"data":"${'x'.repeat(bytes)}"`);
    const room = maxEventBytes - empty.length;
    expect(parseEvent(filled(room)).ok).toBe(true);
    expect(reasonOf(filled(room + 1))).toBe('The event has 1048577 bytes; at most 1048576 are allowed.');
    expect(reasonOf(anEvent({ detail: { data: '漢'.repeat(350_000) } }))).toContain(
      'at most 1048576 are allowed',
    );
  });

  it('refuses what is nested so deeply that it could not be written as JSON again', () => {
    const nested = (depth: number) => anEvent().replace('"Ada"', '['.repeat(depth) + ']'.repeat(depth));
    expect(parseEvent(nested(500)).ok).toBe(true);
    expect(reasonOf(nested(100_000))).toBe('The event is nested more than 1000 levels deep.');
    // Anywhere in the event, not in its detail alone.
    const beside = anEvent({ detail: { objectId: 1.5 } }).replace(
      '{',
      `{"x":${'['.repeat(20_000)}${']'.repeat(20_000)},`,
    );
    expect(reasonOf(beside)).toBe('The event is nested more than 1000 levels deep.');
  });

  it('leaves objects alone that a field of the event is named after', () => {
    const body = anEvent().replace('"name":"Ada"', '"__proto__":{"polluted":true}');
    expect(parsed(body).raw).toBe(body);
    expect({}).not.toHaveProperty('polluted');
  });

  it('reads every event of an upstream, whatever its detail is, and never throws', () => {
    const anyDetail = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(anyDetail, (detail) => {
        const body = anEvent({ detail });
        expect(parsed(body).raw).toBe(body);
      }),
    );
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (body) => {
        expect(() => parseEvent(body)).not.toThrow();
      }),
    );
  });
});
