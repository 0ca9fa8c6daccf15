import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { apiOf } from '../support/api.ts';
import { startEngineProcess, upstreamClient, type EngineProcess } from '../support/engine.ts';
import { startReceiver, type ReceivedRequest } from '../support/http-server.ts';

/*
 * A limit on the size of each file stands for the full disk: it needs no rights and works on every Unix. A write beyond it fails with
 * EFBIG where a full disk says ENOSPC; SQLite and LevelDB take both for what they are, a write that cannot be done.
 */
const hasLimit = process.platform !== 'win32';
/** Of util-linux: lifts the limit of a process that runs. */
const canLift = hasLimit && spawnSync('prlimit', ['--version']).status === 0;

/** Enough for an engine that has little to do. */
const smallDisk = 1024;

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-full-disk-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

async function start(folder: string, maxFileBlocks?: number): Promise<EngineProcess> {
  const engine = await startEngineProcess(folder, {
    env: { HANDOFF_RETRY_SCALE: '0.1' },
    ...(maxFileBlocks !== undefined && { maxFileBlocks }),
  });
  onTestFinished(async () => void (await engine.end('SIGKILL')));
  return engine;
}

/** Publishes one event, without trying again, and answers its id. */
async function publish(url: string, text = ''): Promise<string> {
  const upstream = upstreamClient(url, { maxAttempts: 1 });
  try {
    const { Entries } = await upstream.send(
      new PutEventsCommand({
        Entries: [
          {
            EventBusName: 'handoff',
            Source: 'test',
            DetailType: 'disk.test',
            Detail: JSON.stringify({ data: { text } }),
          },
        ],
      }),
    );
    return String(Entries?.[0]?.EventId);
  } finally {
    upstream.destroy();
  }
}

/** Does something again and again until it is refused. */
async function untilRefused<Result>(
  work: () => Promise<Result>,
): Promise<{ done: Result[]; refusal: unknown }> {
  const done: Result[] = [];
  try {
    while (done.length < 1000) done.push(await work());
  } catch (refusal) {
    return { done, refusal };
  }
  throw new Error('It was never refused.');
}

const deliveredIds = (requests: readonly ReceivedRequest[]): string[] => [
  ...new Set(requests.map(({ headers }) => String(headers['webhook-id']).replace(/_.*$/u, ''))),
];

const aHandler = (url: string) => ({
  name: 'disk',
  events: ['disk.test'],
  target: { type: 'http', url },
  retry: { schedule: [10, 10, 10, 10, 10] },
});

describe('an engine whose disk is full', () => {
  it.skipIf(!canLift)(
    'refuses events and says why, can be read, and goes on when there is room (where there is prlimit)',
    async () => {
      const engine = await start(await temporaryFolder(), smallDisk);
      const api = apiOf(engine.url);
      await using receiver = await startReceiver();
      await api.post('/v1/handlers', aHandler(receiver.url));

      const { done: accepted, refusal } = await untilRefused(() => publish(engine.url, 'y'.repeat(30_000)));
      expect(refusal).toMatchObject({
        name: 'InternalException',
        message: 'The event could not be stored: disk I/O error.',
      });
      expect(await api.get('/v1/executions')).toMatchObject({ items: expect.any(Array) as unknown });
      expect(await api.get('/v1/handlers')).toMatchObject({ items: [{ name: 'disk' }] });

      const { pid } = engine.process;
      expect(spawnSync('prlimit', ['--pid', String(pid), '--fsize=unlimited:']).status).toBe(0);
      accepted.push(await publish(engine.url, 'there is room'));
      await vi.waitFor(() => expect(deliveredIds(receiver.requests)).toHaveLength(accepted.length), 20_000);
      expect(deliveredIds(receiver.requests).toSorted()).toEqual(accepted.toSorted());
      expect(await engine.end('SIGTERM')).toBe(0);
    },
    60_000,
  );

  it.skipIf(!hasLimit)(
    'ends with a sentence when the tables cannot be written, and has all that it had accepted when there is room',
    async () => {
      const folder = await temporaryFolder();
      const first = await start(folder, smallDisk);
      const api = apiOf(first.url);
      let isUp = false;
      await using receiver = await startReceiver(
        (_, response) => void response.writeHead(isUp ? 204 : 503).end(),
      );
      await api.post('/v1/handlers', aHandler(receiver.url));
      const accepted = [await publish(first.url), await publish(first.url)];
      await receiver.waitForRequests(2);

      const another = {
        ...aHandler(`https://crm.example/${'p'.repeat(1500)}`),
        description: 'd'.repeat(900),
      };
      const { done: created } = await untilRefused(() =>
        api.post<{ id: string }>('/v1/handlers', { ...another, events: ['other.test'] }),
      );
      expect(await first.exited).toBe(1);
      expect(first.lines).toContainEqual(
        expect.stringMatching(
          /^Handoff ends\. The tables cannot be written: IO error: \S+: .+\. Start it again when there is room: it goes on where it was\.$/u,
        ),
      );

      await expect(start(folder, 64)).rejects.toThrow(
        /\(1\) before it was ready:\nHandoff cannot start\. The tables in .+ or the disk is full\.$/u,
      );

      isUp = true;
      const second = await start(folder);
      const found = await Promise.all(
        created.map(({ id }) => apiOf(second.url).request('GET', `/v1/handlers/${id}`)),
      );
      expect(found.filter(({ status }) => status !== 200)).toEqual([]);
      await vi.waitFor(async () => {
        const { items: executions } = await apiOf(second.url).get<{
          items: { eventId: string; status: string }[];
        }>('/v1/executions?status=succeeded');
        expect(executions.map(({ eventId }) => eventId).toSorted()).toEqual(accepted.toSorted());
      }, 30_000);
    },
    90_000,
  );

  it.skipIf(!hasLimit)('does not start, and says why in a sentence', async () => {
    await expect(start(await temporaryFolder(), 1)).rejects.toThrow(
      /\(1\) before it was ready:\nHandoff cannot start\. The queues in .+ cannot be opened: .+\.$/u,
    );
  });
});
