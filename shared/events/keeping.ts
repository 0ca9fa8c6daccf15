import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { openBytes, sealBytes } from '../secrets/secret-envelope.ts';
import type { DataKey } from '../secrets/data-key.ts';
import { redact, restore, wordsIn, type Cut, type RedactedPath } from './redaction.ts';

/** The text of an event as it is stored. */
export type KeptText = {
  /** With `"***"` in the place of each redacted value. */
  raw: string;
  /** The redacted values, encrypted; absent when there are none. */
  sealed?: Uint8Array;
};

/** A text that was kept, or is to be, and the texts and numbers in it that nobody may read. */
export type Kept = KeptText & { values: readonly string[] };

/** An event cannot be had as it came, now or another time. */
export class UnreadableEventError extends Error {
  override name = 'UnreadableEventError';
}

/** How events are kept that have redacted values: readable without them, and whole for whoever has the data key. */
export type Keeping = ReturnType<typeof createKeeping>;

const context = 'handoff/event';

/** @param paths of the values that are redacted */
export function createKeeping({ paths, dataKey }: { paths: readonly RedactedPath[]; dataKey: DataKey }) {
  /**
   * The text as it is to be stored. Rejects when there is something to redact and the deployment has no data key yet, which comes with its
   * first handler.
   */
  async function keep(text: string): Promise<Kept> {
    const redacted = redact(text, paths);
    if (redacted === null) return { raw: text, values: [] };
    return {
      raw: redacted.text,
      sealed: await sealCuts(redacted.cuts),
      values: wordsIn(redacted.cuts),
    };
  }

  /**
   * The text as it came, and what nobody may read of it: by the paths of the day it came, and by those of today. Rejects with an
   * UnreadableEventError when it cannot be opened, and otherwise when there is no data key now.
   */
  async function reveal({ raw, sealed }: KeptText): Promise<{ text: string; values: readonly string[] }> {
    const cuts = sealed === undefined ? [] : await openCuts(sealed);
    const text = restore(raw, cuts);
    return { text, values: wordsIn([...cuts, ...(redact(text, paths)?.cuts ?? [])]) };
  }

  async function sealCuts(cuts: readonly Cut[]): Promise<Uint8Array> {
    return sealBytes(await dataKey(), context, deflateRawSync(JSON.stringify(cuts)));
  }

  async function openCuts(sealed: Uint8Array): Promise<Cut[]> {
    const key = await dataKey();
    try {
      const values = inflateRawSync(openBytes(key, context, sealed));
      return JSON.parse(values.toString('utf8')) as Cut[];
    } catch (cause) {
      throw new UnreadableEventError(
        'What is redacted of it cannot be opened: it was sealed with another data key, or was changed.',
        { cause },
      );
    }
  }

  return { keep, reveal };
}
