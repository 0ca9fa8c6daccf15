import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { apiOf } from '../../test/support/api.ts';
import { startEngineProcess, upstreamClient } from '../../test/support/engine.ts';
import { startReceiver } from '../../test/support/http-server.ts';

/** What is published, every second for so many seconds. */
export type Load = {
  seconds: number;
  /** Spread over 49 endpoints that answer at once. */
  goodPerSecond: number;
  /** To one more, which never answers or does so at once as the others. */
  neighbourPerSecond: number;
  neighbourHangs: boolean;
  circuitBreaker: boolean;
};

/** From the call of PutEvents to the arrival at a good endpoint. */
export type Delays = { p50Ms: number; p99Ms: number; undelivered: number };

const goodEndpoints = 49;
const ticksPerSecond = 10;
const patienceMs = 60_000;

/** Puts a load on an engine of its own. */
export async function runLoad({
  seconds,
  goodPerSecond,
  neighbourPerSecond,
  neighbourHangs,
  circuitBreaker,
}: Load): Promise<Delays> {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-neighbour-'));
  const publishedAt = new Map<string, number>();
  const delays: number[] = [];
  await using receiver = await startReceiver(({ path, body }, response) => {
    if (path === '/neighbour') {
      if (!neighbourHangs) response.writeHead(204).end();
      return;
    }
    const { data } = JSON.parse(body) as { data: { ref: string } };
    const at = publishedAt.get(data.ref);
    if (at !== undefined) delays.push(performance.now() - at);
    publishedAt.delete(data.ref);
    response.writeHead(204).end();
  });
  const engine = await startEngineProcess(folder, {
    env: { HANDOFF_CIRCUIT_BREAKER: String(circuitBreaker) },
  });
  const upstream = upstreamClient(engine.url);
  try {
    const api = apiOf(engine.url);
    const register = (name: string) =>
      api.post('/v1/handlers', {
        name,
        events: [`neighbour.${name}`],
        target: { type: 'http', url: `${receiver.url}/${name}` },
      });
    for (let index = 0; index < goodEndpoints; index += 1) await register(`good${index}`);
    await register('neighbour');
    await delay(1000);

    const publish = async (names: readonly string[]): Promise<void> => {
      if (names.length === 0) return;
      await upstream.send(
        new PutEventsCommand({
          Entries: names.map((name) => {
            const ref = randomUUID();
            if (name !== 'neighbour') publishedAt.set(ref, performance.now());
            return {
              EventBusName: 'handoff',
              Source: 'bench',
              DetailType: `neighbour.${name}`,
              Detail: JSON.stringify({ data: { ref } }),
            };
          }),
        }),
      );
    };
    let next = 0;
    const goodNames = (count: number) => Array.from({ length: count }, () => `good${next++ % goodEndpoints}`);
    const startedAt = performance.now();
    for (let tick = 0; tick < seconds * ticksPerSecond; tick += 1) {
      const names = [
        ...goodNames(goodPerSecond / ticksPerSecond),
        ...Array.from({ length: neighbourPerSecond / ticksPerSecond }, () => 'neighbour'),
      ];
      await publish(names);
      await delay(Math.max(0, startedAt + ((tick + 1) * 1000) / ticksPerSecond - performance.now()));
    }
    const deadline = performance.now() + patienceMs;
    while (publishedAt.size > 0 && performance.now() < deadline) await delay(50);
    const sorted = delays.toSorted((a, b) => a - b);
    const at = (share: number) =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
    return { p50Ms: at(0.5), p99Ms: at(0.99), undelivered: publishedAt.size };
  } finally {
    upstream.destroy();
    await engine.end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}
