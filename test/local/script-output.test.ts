import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { keepTail } from '../../local/script-output.ts';

describe('keepTail', () => {
  it('keeps what came, in the order in which it came', async () => {
    const [out, err] = [new PassThrough(), new PassThrough()];
    const tail = keepTail([out, err], 100);
    for (const [stream, text] of [
      [out, 'one '],
      [err, 'two '],
      [out, 'three'],
    ] as const) {
      stream.write(text);
      await vi.waitFor(() => expect(tail.bytes().toString()).toMatch(new RegExp(`${text}$`, 'u')));
    }
    expect(tail.bytes().toString()).toBe('one two three');
    out.end();
    err.end();
    await tail.finish();
  });

  it('keeps the last bytes of any amount', async () => {
    const stream = new PassThrough();
    const tail = keepTail([stream], 1000);
    const lines = Array.from({ length: 50_000 }, (_, line) => `line ${line}\n`);
    for (const chunk of [lines.slice(0, 49_900).join(''), ...lines.slice(49_900)]) {
      if (!stream.write(chunk)) await once(stream, 'drain');
    }
    stream.end();
    await tail.finish();
    expect(tail.bytes().toString()).toBe(lines.join('').slice(-1000));
  });

  it('lets whoever prints without end wait', async () => {
    const stream = new PassThrough();
    const tail = keepTail([stream], 1000);
    let pauses = 0;
    stream.on('pause', () => (pauses += 1));
    for (let chunk = 0; chunk < 100; chunk += 1) {
      if (!stream.write(Buffer.alloc(65_536))) await once(stream, 'drain');
    }
    expect(pauses).toBeGreaterThan(50);
    stream.end();
    await tail.finish();
  });

  it('takes a broken stream for one that has ended', async () => {
    const stream = new PassThrough();
    const tail = keepTail([stream], 1000);
    stream.write('so far');
    await vi.waitFor(() => expect(tail.bytes().toString()).toBe('so far'));
    stream.destroy(new Error('broken'));
    await tail.finish();
    expect(tail.bytes().toString()).toBe('so far');
  });
});
