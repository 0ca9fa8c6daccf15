import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseEvent, type DomainEvent } from '../../../shared/events/envelope.ts';
import { contentTypeOf, formatBody, payloadFormats } from '../../../shared/events/format.ts';
import { membersAt, startOf } from '../../../shared/events/json-text.ts';
import { aJsonText, anObjectText } from '../../support/json-texts.ts';

const membersIn = (text: string) => membersAt(text, startOf(text)).members;

/** As it comes from the queue. */
function eventWith(
  detailJson: string,
  { type = 'client.create', source = 'billing', time = '2026-11-23T10:00:00Z' } = {},
): DomainEvent {
  const parsed = parseEvent(
    `{"id":"e-1","detail-type":${JSON.stringify(type)},"source":${JSON.stringify(source)},"time":"${time}","detail":${detailJson}}`,
  );
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.event;
}

// JSON has them, and JavaScript would write other digits, or null.
const numbers = '[12345678901234567890,1.50,1e400,-0.0,3.0e2,0.1e-7]';

describe('formatBody', () => {
  it.each(payloadFormats)('copies numbers as they were written: %s', (format) => {
    expect(formatBody(eventWith(`{"objectId":1,"data":{"n":${numbers}}}`), format)).toContain(numbers);
  });

  it.each(['standard', 'eventbridge', 'cloudevents'] as const)(
    'copies the data character by character, unknown fields and all: %s',
    (format) => {
      fc.assert(
        fc.property(aJsonText, (data) => {
          expect(formatBody(eventWith(`{"data":${data}}`), format)).toContain(`"data":${data}`);
        }),
      );
    },
  );

  it.each(payloadFormats)('gives a JSON object, of any detail: %s', (format) => {
    fc.assert(
      fc.property(anObjectText, (detail) => {
        expect(JSON.parse(formatBody(eventWith(detail), format))).toBeTypeOf('object');
      }),
    );
  });

  it.each(payloadFormats)('takes a detail of 1 MB with a thousand levels: %s', (format) => {
    const levels = 990;
    const deep = `${'{"aB":['.repeat(levels / 2)}${'1,'.repeat(400_000)}1${']}'.repeat(levels / 2)}`;
    const body = formatBody(eventWith(`{"data":${deep}}`), format);
    expect(body.length).toBeGreaterThan(800_000);
    expect(body).toContain('1,1]}');
  });
});

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

  it('does not let the detail replace the type or the timestamp, however their names are written', () => {
    const body = JSON.parse(
      standard(String.raw`{"type":"account.delete","\u0074imestamp":"1970-01-01","data":1}`),
    );
    expect(body).toEqual({ type: 'client.create', timestamp: '2026-11-23T10:00:00.000Z', data: 1 });
  });

  it('carries a field named __proto__ like any other, at every depth', () => {
    const body = standard('{"__proto__":{"admin":true},"data":{"__proto__":{"admin":true},"n":1}}');
    expect(body).toBe(
      '{"type":"client.create","timestamp":"2026-11-23T10:00:00.000Z","data":{"__proto__":{"admin":true},"n":1},"__proto__":{"admin":true}}',
    );
  });

  it('keeps every field of any detail as it was written', () => {
    fc.assert(
      fc.property(anObjectText, (detail) => {
        const body = membersIn(standard(detail));
        for (const [name, value] of membersIn(detail)) {
          if (name !== 'type' && name !== 'timestamp') expect(body.get(name)).toBe(value);
        }
      }),
    );
  });

  it('sends a field that stands twice in the detail once, with its last value', () => {
    expect(standard('{"data":1,"a":1,"data":2,"a":3}')).toMatch(/"data":2,"a":3\}$/u);
  });
});

describe('formatBody, eventbridge', () => {
  it('is the event as it came, with its spaces', () => {
    const event = eventWith('{ "data" : [ 1.0 ] }');
    expect(formatBody(event, 'eventbridge')).toBe(event.raw);
  });
});

describe('formatBody, cloudevents', () => {
  const cloudEvent = (...given: Parameters<typeof eventWith>) =>
    JSON.parse(formatBody(eventWith(...given), 'cloudevents')) as Record<string, unknown>;

  it('has the attributes of version 1.0, and the whole detail as its data', () => {
    expect(formatBody(eventWith('{"objectId":12,"data":{"id":12},"changed":["name"]}'), 'cloudevents')).toBe(
      '{"specversion":"1.0","id":"e-1","source":"billing","type":"client.create","subject":"12","time":"2026-11-23T10:00:00.000Z","datacontenttype":"application/json","data":{"objectId":12,"data":{"id":12},"changed":["name"]}}',
    );
    expect(contentTypeOf('cloudevents')).toBe('application/cloudevents+json; charset=UTF-8');
  });

  it.each([
    ['{}', undefined],
    ['{"objectId":""}', undefined],
    ['{"objectId":"a-1"}', 'a-1'],
    ['{"objectId":12345678901234567890}', '12345678901234567890'],
    [String.raw`{"objectId":"a\u0000\ud800b"}`, 'a\uFFFD\uFFFDb'],
  ])('of %s has the subject %s', (detail, subject) => {
    expect(cloudEvent(detail)['subject']).toBe(subject);
  });

  it.each([
    ['crm.example/orders?a=b#c', 'crm.example/orders?a=b#c'],
    ['urn:billing:1', 'urn:billing:1'],
    ['', 'unknown'],
    ['my source', 'my%20source'],
    ['12:30', '12%3A30'],
    ['100%', '100%25'],
    ['a#b#c', 'a%23b%23c'],
    ['Łódź', '%C5%81%C3%B3d%C5%BA'],
    ['\ud800', '%EF%BF%BD'],
  ])('has of the source "%s" the URI reference %s', (source, reference) => {
    expect(cloudEvent('{}', { source })['source']).toBe(reference);
  });
});

describe('formatBody, provisioning', () => {
  const old = (...given: Parameters<typeof eventWith>) => formatBody(eventWith(...given), 'provisioning');
  const oldData = (...given: Parameters<typeof eventWith>) =>
    (JSON.parse(old(...given)) as { data: unknown }).data;

  it('is the body that the old system sent', () => {
    expect(
      old('{"objectId":12,"data":{"id":12,"credit":"250.0000"},"changed":["credit"],"previous":{}}', {
        type: 'client.update',
      }),
    ).toBe(
      '{"event":{"dt":"2026-11-23T10:00:00+00:00","events_id":"clients.update","object_id":12},"data":{"id":12,"credit":"250.0000"}}',
    );
    expect(contentTypeOf('provisioning')).toBe('application/json');
  });

  it('has whole seconds, in UTC, with an offset in digits', () => {
    expect(old('{}', { time: '2026-11-23T12:30:00.999+02:30' })).toContain(
      '"dt":"2026-11-23T10:00:00+00:00"',
    );
  });

  it('has our name of an event type that it never had', () => {
    expect(old('{"objectId":"n-1","data":{"noteId":1}}', { type: 'crm.note' })).toBe(
      '{"event":{"dt":"2026-11-23T10:00:00+00:00","events_id":"crm.note","object_id":"n-1"},"data":{"note_id":1}}',
    );
  });

  it.each([
    ['{"objectId":12345678901234567890}', '12345678901234567890'],
    ['{"objectId":1.50}', '1.50'],
    ['{"objectId":"12"}', '"12"'],
    ['{"objectId":"007"}', '"007"'],
    ['{"objectId":null}', 'null'],
    ['{"objectId":{}}', 'null'],
    ['{}', 'null'],
  ])('of %s has the object id %s', (detail, id) => {
    expect(old(detail)).toContain(`"object_id":${id}}`);
  });

  it.each([
    'client.delete',
    'client.archive',
    'client.balance.nonnegative',
    'client.balance.nonpositive',
    'account.delete',
  ])('has no data of %s', (type) => {
    expect(old('{"objectId":12,"data":{"id":12}}', { type })).toMatch(/,"data":\{\}\}$/u);
  });

  it('has of an account that was changed the client only when that is another one', () => {
    const update = (changed: string) =>
      oldData(`{"data":{"id":1,"clientId":12,"techPrefix":"7"}${changed}}`, { type: 'account.update' });
    expect(update(',"changed":["techPrefix"]')).toEqual({ id: 1, tech_prefix: '7' });
    expect(update('')).toEqual({ id: 1, tech_prefix: '7' });
    expect(update(',"changed":["techPrefix","clientId"]')).toEqual({
      id: 1,
      clients_id: 12,
      tech_prefix: '7',
    });
  });

  it('has the old names, and snake case for all others, at every depth', () => {
    const data = {
      companyId: 1,
      clientId: 2,
      packageId: 3,
      accountId: 4,
      rateTableIds: [5],
      contacts: { billingEmail: 'a@b.example' },
      rows: [{ clientId: 6, sha256: 'x', someURLValue: 7 }],
      createdAT: 8,
    };
    expect(oldData(JSON.stringify({ data }))).toEqual({
      companies_id: 1,
      clients_id: 2,
      packages_id: 3,
      accounts_id: 4,
      rate_table_ids: [5],
      contacts: { billing_email: 'a@b.example' },
      rows: [{ clients_id: 6, sha256: 'x', some_url_value: 7 }],
      created_at: 8,
    });
  });

  it('leaves the names of fields that admins made, and those that are not in camel case', () => {
    const data = {
      customFields: { crmId: 1, nested: { clientId: 2 } },
      custom_fields: { crmId: 1 },
      DE: 1,
      'Some key': 1,
      _privateThing: 1,
      tags: ['clientId'],
    };
    expect(oldData(JSON.stringify({ data: { customFields: data.customFields } }))).toEqual({
      custom_fields: data.customFields,
    });
    const { customFields: _customFields, ...others } = data;
    expect(oldData(JSON.stringify({ data: others }))).toEqual(others);
  });

  it('sends names that become one once, with the later value', () => {
    expect(old('{"data":{"clientId":1,"a":2,"clients_id":3}}')).toContain('"data":{"clients_id":3,"a":2}}');
  });

  it('keeps every value of any data, and all but the names', () => {
    fc.assert(
      fc.property(aJsonText, (data) => {
        const numbersIn = (text: string) =>
          text.replaceAll(/"(?:[^"\\]|\\.)*"/gu, '').match(/-?\d[\d.eE+-]*/gu) ?? [];
        const sent = membersIn(old(`{"data":${data}}`)).get('data') ?? '';
        // A name that stands twice is the one thing that is lost, with its value.
        const written = numbersIn(data);
        for (const number of numbersIn(sent)) expect(written).toContain(number);
        if (!/"[^"]*"\s*:/u.test(data)) expect(JSON.parse(sent)).toEqual(JSON.parse(data));
      }),
    );
  });
});
