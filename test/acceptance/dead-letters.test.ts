import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { connect, type System } from './system.ts';

type Letter = { id: string; reason: string; body: string };

let system: System;
beforeAll(() => {
  system = connect();
});
afterAll(() => system.close());

/** The dead letter of an event, as soon as there is one. */
const waitForLetter = (type: string): Promise<Letter> =>
  vi.waitUntil<Letter | null>(
    async () => {
      const { items } = await system.api.get<{ items: Letter[] }>('/v1/dead-letters?limit=100');
      return items.find(({ body }) => body.includes(type)) ?? null;
    },
    { timeout: 20_000, interval: 50 },
  );

it('keeps an event that is too large for the log as a dead letter, and tries it again when a person asks', async () => {
  const type = system.newType();
  // What is random does not get smaller than its bytes by being compressed.
  const large = randomBytes(300 * 1024).toString('base64');
  await system.putEvents({ type, detail: { data: { large } } });
  const letter = await waitForLetter(type);
  expect(letter.reason).toMatch(/bytes compressed/u);

  const answer = await system.api.post('/v1/dead-letters/redrive', { ids: [letter.id] });

  expect(answer).toEqual({ redriven: 1, notFound: [], unsent: [], remaining: false, nextCursor: null });
  expect(await waitForLetter(type)).toMatchObject({ reason: letter.reason });
});
