// Pure core: imports nothing but the core.
import type { DomainEvent } from './envelope.ts';
import { endOfValue, membersAt, objectOf, readObject, startOf } from './json-text.ts';
import { provisioningBody } from './provisioning.ts';

/** How a handler wants the event: the `format` of its target. */
export const payloadFormats = ['standard', 'eventbridge', 'cloudevents', 'provisioning'] as const;
export type PayloadFormat = (typeof payloadFormats)[number];

/** The `content-type` of a delivery. */
export const contentTypeOf = (format: PayloadFormat): string =>
  // CloudEvents 1.0.2, HTTP Protocol Binding, 3.2.1.
  format === 'cloudevents' ? 'application/cloudevents+json; charset=UTF-8' : 'application/json';

/**
 * The body of a delivery, as JSON text. The same event and format always give the same text. What the event's own values are is not read but copied
 * as it was written, so that every number keeps its digits.
 */
export function formatBody(event: DomainEvent, format: PayloadFormat): string {
  switch (format) {
    case 'standard':
      return standardBody(event, detailOf(event));
    case 'eventbridge':
      return event.raw;
    case 'cloudevents':
      return cloudEvent(event);
    case 'provisioning':
      return provisioningBody(event, detailOf(event));
    default:
      return format satisfies never;
  }
}

/** The members of the detail, as they were written. */
function detailOf({ raw }: DomainEvent): Map<string, string> {
  let detail = new Map<string, string>();
  readObject(raw, startOf(raw), (name, start) => {
    if (name !== 'detail') return endOfValue(raw, start);
    const { members, end } = membersAt(raw, start);
    detail = members;
    return end;
  });
  return detail;
}

/**
 * Standard Webhooks: `type`, `timestamp`, `data`; every other field of the detail stands beside them. A field of
 * the detail that is named `type` or `timestamp` is not sent: a receiver must be able to trust those two.
 */
function standardBody({ type, time }: DomainEvent, detail: Map<string, string>): string {
  const data = detail.get('data') ?? 'null';
  for (const name of ['type', 'timestamp', 'data']) detail.delete(name);
  return objectOf([
    ['type', JSON.stringify(type)],
    ['timestamp', JSON.stringify(time)],
    ['data', data],
    ...detail,
  ]);
}

/**
 * CloudEvents 1.0, structured, in JSON. `data` is the whole detail: what stands beside the detail's own data (`changed`, `previous`) would find no
 * place among the attributes, which are texts and numbers with names in lower case.
 */
function cloudEvent({ id, source, type, time, objectId, raw }: DomainEvent): string {
  return objectOf([
    ['specversion', '"1.0"'],
    ['id', JSON.stringify(id)],
    ['source', JSON.stringify(uriReferenceOf(source))],
    ['type', JSON.stringify(attributeOf(type))],
    // The attribute must not be empty where it is there.
    ...(objectId === null || objectId === ''
      ? []
      : [['subject', JSON.stringify(attributeOf(String(objectId)))] as const]),
    ['time', JSON.stringify(time)],
    ['datacontenttype', '"application/json"'],
    ['data', membersAt(raw, startOf(raw)).members.get('detail') ?? '{}'],
  ]);
}

/** CloudEvents 1.0.2, "Type System": a String has no control characters, half surrogates or noncharacters. */
const attributeOf = (text: string): string =>
  text.replaceAll(/[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/gu, '\uFFFD');

// RFC 3986, 4.1, without the brackets of IPv6 addresses. What stands before a colon in the first segment is a scheme.
const uriReference =
  /^(?:[a-z][\d+.a-z-]*:|(?![^#/?]*:))(?:[\w!$&'()*+,./:;=?@~-]|%[\da-f]{2})*(?:#(?:[\w!$&'()*+,./:;=?@~-]|%[\da-f]{2})*)?$/iu;

/** A source that is no URI reference is made one: `source` has to be, and must not be empty. */
const uriReferenceOf = (source: string): string => {
  if (source === '') return 'unknown';
  return uriReference.test(source) ? source : encodeURIComponent(source.toWellFormed());
};
