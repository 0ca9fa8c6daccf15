import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutEventsCommand, EventBridgeClient } from '@aws-sdk/client-eventbridge';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { parseConfig } from '../../local/config.ts';
import { type Engine, startEngine } from '../../local/engine.ts';
import type { Functions } from '../../local/functions.ts';

const before = { ...process.env };
const home = mkdtempSync(join(tmpdir(), 'handoff-engine-'));
const engines: Engine[] = [];

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop();
});
afterAll(() => {
  rmSync(home, { recursive: true });
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, before);
});

async function start(settings: Record<string, string>, functions: Partial<Functions> = {}): Promise<Engine> {
  const engine = await startEngine(
    parseConfig({ PORT: '0', HANDOFF_DATA: 'memory', ...settings }),
    async () => ({
      dispatcher: async () => ({ batchItemFailures: [] }),
      retrier: async () => ({ batchItemFailures: [] }),
      sweeper: async () => undefined,
      api: async () => ({ statusCode: 200, body: 'ok' }),
      ...functions,
    }),
  );
  engines.push(engine);
  return engine;
}

const anyKeys = { accessKeyId: 'any', secretAccessKey: 'any' };
const publish = (endpoint: string, objectId: number, credentials = anyKeys) =>
  new EventBridgeClient({ endpoint, region: 'us-east-1', credentials }).send(
    new PutEventsCommand({
      Entries: [
        {
          EventBusName: 'handoff',
          Source: 'billing',
          DetailType: 'client.create',
          Detail: JSON.stringify({ objectId }),
        },
      ],
    }),
  );

describe('startEngine', () => {
  it('serves the API and the AWS endpoint on one port, and hands events to the dispatcher', async () => {
    const bodies: string[] = [];
    const engine = await start(
      { HANDOFF_TOKEN: 'given' },
      {
        dispatcher: async ({ Records }) => {
          bodies.push(...Records.map(({ body }) => body));
          return { batchItemFailures: [] };
        },
      },
    );
    expect(engine.token).toBe('given');
    const answer = await fetch(`${engine.url}/v1/handlers`, { headers: { authorization: 'Bearer given' } });
    expect(await answer.text()).toBe('ok');
    expect((await fetch(`${engine.url}/v1/handlers`)).status).toBe(401);

    await publish(engine.url, 7);

    await vi.waitFor(() => expect(bodies).toHaveLength(1));
    expect(JSON.parse(bodies[0] ?? '')).toMatchObject({ detail: { objectId: 7 } });
  });

  it('gives the functions alone an endpoint to publish on, and upstreams one that checks their signatures on more than loopback', async () => {
    const dispatcher = vi.fn<Functions['dispatcher']>().mockResolvedValue({ batchItemFailures: [] });
    const engine = await start({ HOST: '0.0.0.0' }, { dispatcher });
    await expect(publish(engine.url, 1)).rejects.toMatchObject({ name: 'UnrecognizedClientException' });
    expect(dispatcher).not.toHaveBeenCalled();
    await publish(engine.url, 1, engine.awsKeys ?? undefined);
    await vi.waitFor(() => expect(dispatcher).toHaveBeenCalledTimes(1));
    const {
      AWS_ENDPOINT_URL_EVENTBRIDGE: ofFunctions = '',
      AWS_ACCESS_KEY_ID: accessKeyId = '',
      AWS_SECRET_ACCESS_KEY: secretAccessKey = '',
    } = process.env;
    await expect(publish(ofFunctions, 1)).rejects.toMatchObject({ name: 'UnrecognizedClientException' });
    await publish(ofFunctions, 1, { accessKeyId, secretAccessKey });
    await vi.waitFor(() => expect(dispatcher).toHaveBeenCalledTimes(2));
  });

  it('goes on after a stop with what was accepted and not finished, and keeps its token', async () => {
    const HANDOFF_DATA = join(home, 'kept');
    const hanging = await start(
      { HANDOFF_DATA },
      { dispatcher: () => new Promise(() => undefined), api: async () => ({ statusCode: 200 }) },
    );
    await publish(hanging.url, 1);
    const stoppedAt = performance.now();
    await hanging.stop();
    expect(performance.now() - stoppedAt).toBeLessThan(5000);

    const counts: string[] = [];
    const next = await start(
      { HANDOFF_DATA },
      {
        dispatcher: async ({ Records }) => {
          counts.push(...Records.map(({ attributes }) => attributes.ApproximateReceiveCount));
          return { batchItemFailures: [] };
        },
      },
    );

    await vi.waitFor(() => expect(counts).toEqual(['2']));
    expect(next.token).toBe(hanging.token);
    expect(statSync(HANDOFF_DATA).mode & 0o777).toBe(0o700);
    expect(
      readdirSync(HANDOFF_DATA)
        .filter((name) => !name.startsWith('queues'))
        .sort(),
    ).toEqual(['data-key', 'dynamodb', 'scripts', 'token']);
  });

  it('says so when another engine uses the folder, and leaves that one alone', async () => {
    const HANDOFF_DATA = join(home, 'shared');
    const first = await start({ HANDOFF_DATA });
    await expect(start({ HANDOFF_DATA })).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining('Another engine') as string,
    });
    expect((await publish(first.url, 1)).FailedEntryCount).toBe(0);
  });

  it('says which setting to change when the port is in use, and lets go of the folder', async () => {
    const first = await start({});
    const HANDOFF_DATA = join(home, 'free');
    await expect(start({ HANDOFF_DATA, PORT: new URL(first.url).port })).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining('set PORT') as string,
    });
    await start({ HANDOFF_DATA });
  });

  it.each([
    ['an address of another machine', { HOST: '192.0.2.1' }, 'set HOST'],
    ['a folder that cannot be made', { HANDOFF_DATA: '/dev/null/x' }, 'HANDOFF_DATA'],
  ])('says what is wrong with %s', async (_, settings, words) => {
    await expect(start(settings)).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringContaining(words) as string,
    });
  });
});
