import type { Respond } from '../../support/http-server.ts';

/**
 * Answers as soon as so many requests wait, all at once; then as soon as the next number does, and so on from the first
 * number again. One that never comes shows as a timeout of the others.
 */
export function answerTogether(...counts: number[]): Respond {
  const held: (() => void)[] = [];
  let crowd = 0;
  return (_, response) => {
    held.push(() => void response.writeHead(204).end());
    if (held.length !== counts[crowd % counts.length]) return;
    crowd += 1;
    for (const answer of held.splice(0)) answer();
  };
}

/** As many of 100 calls as a target gets at once that was not called before: each success makes room for eight more. */
export const crowdsOf100 = [1, 9, 81, 9] as const;

/** A way there and back through the network stack, in which whatever else was sent at the same time arrives. */
async function roundTrip(url: string): Promise<void> {
  const answer = await fetch(`${url}/round-trip`);
  await answer.arrayBuffer();
}

/**
 * Notes when each request arrives and when it is answered, as `> /path` and `< /path`. Before it answers it
 * gives others the time to arrive.
 */
export function noteTimes(notes: string[]): Respond {
  return async ({ path, headers }, response) => {
    if (path === '/round-trip') {
      response.writeHead(204).end();
      return;
    }
    notes.push(`> ${path}`);
    for (let trips = 0; trips < 3; trips++) await roundTrip(`http://${headers.host}`);
    notes.push(`< ${path}`);
    response.writeHead(204).end();
  };
}

/** Holds requests until `count` of them are under way, and then answers these; keeps the most that ever were. */
export function answerInCrowds(count: number) {
  const seen = { most: 0 };
  let held: (() => void)[] = [];
  const respond: Respond = async ({ path, headers }, response) => {
    if (path === '/round-trip') {
      response.writeHead(204).end();
      return;
    }
    held.push(() => void response.writeHead(204).end());
    seen.most = Math.max(seen.most, held.length);
    if (held.length !== count) return;
    for (let trips = 0; trips < 3; trips++) await roundTrip(`http://${headers.host}`);
    for (const answer of held.splice(0)) answer();
    held = [];
  };
  return { seen, respond };
}
