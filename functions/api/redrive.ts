import type { ListedDeadLetter } from '../../shared/dead-letters/dead-letters.ts';
import { UnreadableEventError } from '../../shared/events/keeping.ts';
import { log } from '../../shared/log.ts';
import type { Services } from './services.ts';

/** What became of the dead letters that a person wants to have tried again. */
export type Redriven = {
  redriven: number;
  /** Ids of letters that are not there, or not any more. */
  notFound: string[];
  /** Ids of letters that are still in the list. */
  unsent: string[];
  /** Where all that are older begin; null when none is left to be tried. */
  nextCursor: string | null;
};

type RedriveServices = Pick<Services, 'deadLetters' | 'requeue' | 'now'>;

// A letter can have 1 MB: as many as are sent at once are held at once.
const lettersAtOnce = 10;
const maxLetters = 500;
// API Gateway gives up after 30 s, and a queue that does not answer takes 20 of them.
const maxMs = 8000;

/** Puts the letters with these ids back on the events queue. What there was no time for is among the unsent. */
export async function redriveSome(services: RedriveServices, ids: readonly string[]): Promise<Redriven> {
  const until = services.now().getTime() + maxMs;
  const total = noneYet();
  const wanted = [...new Set(ids)];
  while (wanted.length > 0) {
    const chunk = wanted.splice(0, lettersAtOnce);
    const letters = await Promise.all(chunk.map(services.deadLetters.find));
    total.notFound.push(...chunk.filter((_, index) => letters[index] === null));
    const mayGoOn = await putBack(
      services,
      letters.filter((letter) => letter !== null),
      total,
    );
    if (!mayGoOn || services.now().getTime() > until) break;
  }
  total.unsent.push(...wanted);
  return { ...total, nextCursor: null };
}

/**
 * Puts all letters back on the events queue, newest first, or as many as one request can.
 *
 * @param cursor `nextCursor` of the request before. With it the work ends, although a letter that fails again comes back:
 *   it has the time when it was first received. Throws InvalidInputError when it is none
 */
export async function redriveAll(services: RedriveServices, cursor: string | undefined): Promise<Redriven> {
  const until = services.now().getTime() + maxMs;
  const total = noneYet();
  let nextCursor = cursor ?? null;
  for (let tried = 0; tried < maxLetters; tried += lettersAtOnce) {
    const page = await services.deadLetters.list(lettersAtOnce, nextCursor ?? undefined);
    nextCursor = page.nextCursor;
    const mayGoOn = await putBack(services, page.letters, total);
    if (!mayGoOn || nextCursor === null || services.now().getTime() > until) break;
  }
  return { ...total, nextCursor };
}

const noneYet = (): Omit<Redriven, 'nextCursor'> => ({ redriven: 0, notFound: [], unsent: [] });

/**
 * Sends letters and forgets those that the queue has then: a crash in between sends one twice, and loses none.
 *
 * @returns false when the queue took nothing: then it makes no sense to go on
 */
async function putBack(
  { deadLetters, requeue }: RedriveServices,
  letters: readonly ListedDeadLetter[],
  total: Omit<Redriven, 'nextCursor'>,
): Promise<boolean> {
  const bodies = await Promise.all(letters.map((letter) => deadLetters.readBody(letter).catch(ifUnreadable)));
  const whole = letters.flatMap((letter, index) => {
    const body = bodies[index] ?? null;
    return typeof body === 'string' ? [{ letter, body }] : [];
  });
  const isUnreadable = (_: ListedDeadLetter, index: number) => bodies[index] instanceof UnreadableEventError;
  total.unsent.push(...letters.filter(isUnreadable).map(({ id }) => id));
  total.notFound.push(...letters.filter((_, index) => bodies[index] === null).map(({ id }) => id));

  const { unsent } = await requeue(
    whole.map(({ letter, body }) => ({ body, sentAt: new Date(letter.receivedAt) })),
  );
  const unsentIndexes = new Set(unsent.map(({ index }) => index));
  const sent = whole.filter((_, index) => !unsentIndexes.has(index)).map(({ letter }) => letter);
  total.unsent.push(...whole.filter((_, index) => unsentIndexes.has(index)).map(({ letter }) => letter.id));
  if (unsent.length > 0) {
    log.error('dead-letters.unsent', { problems: [...new Set(unsent.map(({ error }) => error.message))] });
  }

  await Promise.all(sent.map(deadLetters.remove));
  total.redriven += sent.length;
  return sent.length > 0 || whole.length === 0;
}

// One that nobody can send any more keeps no other in the list.
function ifUnreadable(error: unknown): UnreadableEventError {
  if (error instanceof UnreadableEventError) return error;
  throw error;
}
