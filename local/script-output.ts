import type { Readable } from 'node:stream';

// A script that prints more than this takes is read at intervals: it has to wait, its lines come together in few reads,
// and however much it prints takes a few percent of a processor.
const readsAtFullSpeed = 32;
const pauseMs = 5;

export type Tail = {
  /** The last bytes of all that came so far. */
  bytes: () => Buffer;
  /** Reads what is left, now without intervals. Resolves when nothing more can come. */
  finish: () => Promise<unknown>;
};

/** Reads streams, keeps the last `maxBytes` of them all in the order of arrival and drops the rest. */
export function keepTail(streams: readonly Readable[], maxBytes: number): Tail {
  let tail = Buffer.alloc(0);
  let isFinishing = false;
  const ends = streams.map((stream) => {
    let reads = 0;
    stream.on('data', (chunk: Buffer) => {
      // Copied, because a chunk is a view into a buffer of 64 KB.
      tail = Buffer.concat([tail, chunk.subarray(-maxBytes)]);
      if (tail.length > maxBytes) tail = Buffer.from(tail.subarray(-maxBytes));
      reads += 1;
      if (reads <= readsAtFullSpeed || isFinishing) return;
      stream.pause();
      setTimeout(() => stream.resume(), pauseMs);
    });
    // What breaks the stream ends it too.
    stream.on('error', () => undefined);
    return new Promise((resolve) => stream.once('close', resolve));
  });
  return {
    bytes: () => tail,
    finish() {
      isFinishing = true;
      return Promise.all(ends);
    },
  };
}
