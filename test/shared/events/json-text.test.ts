import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { endOfValue, membersAt, objectOf, readArray, startOf } from '../../../shared/events/json-text.ts';
import { aJsonText, anObjectText } from '../../support/json-texts.ts';

const membersIn = (text: string) => membersAt(text, startOf(text)).members;

describe('endOfValue', () => {
  it('finds the end of any value, whatever follows', () => {
    fc.assert(
      fc.property(aJsonText, fc.constantFrom('', ',1', '}', ']', ' ', '\n'), (text, behind) => {
        expect(endOfValue(text + behind, 0)).toBe(text.length);
      }),
    );
  });

  it.each(['', '"', '"a\\"', '{', '{"a"', '{"a":', '[', '[1,'])('ends with %j, which is none', (text) => {
    expect(endOfValue(text, 0)).toBe(text.length);
  });
});

describe('membersAt', () => {
  it('has the names and values that JSON.parse finds, and each value as it was written', () => {
    fc.assert(
      fc.property(anObjectText, (text) => {
        const parsed = JSON.parse(text) as Record<string, unknown>;
        const members = membersIn(text);
        expect([...members.keys()].toSorted()).toEqual(Object.keys(parsed).toSorted());
        for (const [name, value] of members) {
          expect(text).toContain(value);
          expect(JSON.parse(value)).toEqual(Object.getOwnPropertyDescriptor(parsed, name)?.value);
        }
      }),
    );
  });

  it('keeps the order of the text, of names that are numbers too', () => {
    expect([...membersIn('{"b":1,"10":2,"9":3,"a":4}').keys()]).toEqual(['b', '10', '9', 'a']);
  });

  it('takes the last value of a name that stands there twice, however it is written', () => {
    expect([...membersIn(String.raw`{"a":1,"b":2,"\u0061":3}`)]).toEqual([
      ['a', '3'],
      ['b', '2'],
    ]);
  });

  it.each(['{', '{"a"', '{"a":', '{"a":1', ''])('ends with %j, which is no object', (text) => {
    expect([...membersIn(text).keys()].length).toBeLessThanOrEqual(1);
  });
});

describe('readArray', () => {
  it('goes through the elements', () => {
    fc.assert(
      fc.property(fc.array(aJsonText), (elements) => {
        const text = `[ ${elements.join(' ,\n')} ]`;
        const found: string[] = [];
        const end = readArray(text, 0, (start) => {
          const endOfElement = endOfValue(text, start);
          found.push(text.slice(start, endOfElement));
          return endOfElement;
        });
        expect(found).toEqual(elements);
        expect(end).toBe(text.length);
      }),
    );
  });
});

describe('objectOf', () => {
  it('undoes membersAt, but for space between', () => {
    fc.assert(
      fc.property(anObjectText, (text) => {
        const members = membersIn(text);
        expect([...membersIn(objectOf(members))]).toEqual([...members]);
      }),
    );
  });
});
