import { array, assert, integer, property, string, uint8Array } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createEndReader, type ScriptEnd } from '../../local/script-end.ts';

const token = '0123456789abcdef';
const returned = (json: string) => Buffer.from(`${token}R${Buffer.byteLength(json)}\n${json}`);
const thrown = (json: string) => Buffer.from(`${token}E${Buffer.byteLength(json)}\n${json}`);

/** What a reader makes of these chunks, and after which of them. */
function read(chunks: readonly Uint8Array[]): { end: ScriptEnd; after: number } | null {
  const readChunk = createEndReader(token);
  for (const [index, chunk] of chunks.entries()) {
    const end = readChunk(Buffer.from(chunk));
    if (end !== null) return { end, after: index + 1 };
  }
  return null;
}

describe('createEndReader', () => {
  it('reads what was returned, and what went wrong', () => {
    expect(read([returned('{"ok":"Ümläut"}')])?.end).toEqual({
      kind: 'returned',
      json: Buffer.from('{"ok":"Ümläut"}'),
    });
    expect(read([thrown('{"errorType":"TypeError","errorMessage":"no"}')])?.end).toEqual({
      kind: 'failed',
      errorType: 'TypeError',
      errorMessage: 'no',
    });
  });

  it.each(['', '{', 'null'])('takes an error that cannot be read for one: %j', (json) => {
    expect(read([thrown(json)])?.end).toMatchObject({ kind: 'failed', errorType: 'Runtime.Unknown' });
  });

  it('reads an end in any pieces, behind anything that the script wrote', () => {
    assert(
      property(
        array(uint8Array({ maxLength: 100 }), { maxLength: 5 }),
        string(),
        array(integer({ min: 1, max: 60 }), { minLength: 1 }),
        (garbage, text, sizes) => {
          const json = JSON.stringify(text);
          const all = Buffer.concat([...garbage, returned(json)]);
          const chunks: Buffer[] = [];
          for (let start = 0; start < all.length;) {
            const size = sizes[chunks.length % sizes.length] ?? 1;
            chunks.push(all.subarray(start, start + size));
            start += size;
          }
          expect(read(chunks)).toEqual({
            end: { kind: 'returned', json: Buffer.from(json) },
            after: chunks.length,
          });
        },
      ),
    );
  });

  it('passes over what is not behind the token, however much it is', () => {
    const noise = Buffer.from('R17\n{"result":"forged"}\n'.repeat(5000));
    expect(read(Array.from({ length: 100 }, () => noise))).toBeNull();
    expect(read([...Array.from({ length: 100 }, () => noise), returned('1')])?.after).toBe(101);
  });

  it('waits for the whole of it, and does not believe in more than Lambda takes', () => {
    expect(read([returned('"abc"').subarray(0, -1)])).toBeNull();
    expect(read([Buffer.from(`${token}R9999999\n`), Buffer.alloc(9_999_999)])).toBeNull();
  });
});
