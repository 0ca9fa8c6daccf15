import { execFile } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  CreateEventBusCommand,
  DescribeEventBusCommand,
  EventBridgeClient,
  PutEventsCommand,
} from '@aws-sdk/client-eventbridge';
import { AwsClient } from 'aws4fetch';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Execution } from '../../shared/executions/execution.ts';
import { apiThrough, sendWithToken } from '../support/api.ts';
import { startReceiver, type Receiver } from '../support/http-server.ts';
import { startOidcIssuer, type OidcIssuer } from '../support/oidc-issuer.ts';
import { badTokens, life } from '../support/tokens.ts';
import {
  bootstrap,
  cdk,
  deploy,
  outsideAddress,
  receiverSettings,
  root,
  type Settings,
  type Stack,
} from './cdk.ts';
import { startEmulator, type Emulator } from './emulator.ts';
import { machineSettings, machineToken } from './tokens.ts';

const run = promisify(execFile);

// The stack as it was when it had no retries and no scripts yet, and took requests that were signed with credentials of AWS.
const olderCommit = 'ef1be6e4ad02fbcb1f392312731d082b55f23c21';

/** Settings that are no text, none of them at its default. */
const numbers: Settings = {
  batchWindowSeconds: 0,
  dispatcherMemoryMb: 1024,
  dispatcherConcurrency: 5,
  retrierConcurrency: 5,
  logShards: 4,
  retentionDays: 7,
  heldRetentionDays: 14,
  logRetentionDays: 7,
  executionsPointInTimeRecovery: true,
};

const patience = { timeout: 30_000, interval: 100 };
// A change of a handler works for events that are published this long after the answer.
const inForceAfterMs = 1000;

let emulator: Emulator;
let receiver: Receiver;
let settings: Settings;
let issuer: OidcIssuer;
beforeAll(async () => {
  const host = outsideAddress();
  settings = { ...receiverSettings(host), ...machineSettings };
  receiver = await startReceiver(undefined, { host });
  issuer = await startOidcIssuer();
  emulator = await startEmulator({ enforcePolicies: false, trusted: issuer.certificate });
  await bootstrap(emulator);
});
afterAll(async () => {
  await receiver.close();
  await emulator[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

const apiOf = ({ apiUrl, outputs }: Stack) => {
  const { credentials, region } = emulator;
  const signed = new AwsClient({ ...credentials, region, service: 'execute-api', retries: 0 });
  return apiThrough(async (path, init) =>
    outputs['UserPoolId'] === undefined
      ? signed.fetch(apiUrl + path, { ...init, headers: { 'content-type': 'application/json' } })
      : sendWithToken(apiUrl, await machineToken({ ...emulator, outputs }, 'admin'))(path, init),
  );
};

async function stackNames(): Promise<string[]> {
  const { credentials, region, endpoint } = emulator;
  const client = new AwsClient({ ...credentials, region, service: 'cloudformation' });
  const answer = await client.fetch(`${endpoint}/?Action=DescribeStacks&Version=2010-05-15`);
  const names = [...(await answer.text()).matchAll(/<StackName>(?<name>.*?)<\/StackName>/gu)];
  return names.map(({ groups }) => groups?.['name'] ?? '');
}

/** A handler that is in force. */
async function createHandler(stack: Stack, type: string): Promise<{ id: string }> {
  const handler = await apiOf(stack).post<{ id: string }>('/v1/handlers', {
    name: type,
    events: [type],
    target: { type: 'http', url: `${receiver.url}/${type}` },
  });
  await delay(inForceAfterMs);
  return handler;
}

/** Publishes an event through the API, and waits until its execution is in the log. */
const publishAndWait = async (stack: Stack, type: string, handlerId: string): Promise<Execution> => {
  const { id } = await apiOf(stack).post<{ id: string }>('/v1/events', { type, data: {} });
  return vi.waitUntil<Execution | null>(async () => {
    const { items } = await apiOf(stack).get<{ items: Execution[] }>(`/v1/executions?handlerId=${handlerId}`);
    return items.find(({ eventId, status }) => eventId === id && status === 'succeeded') ?? null;
  }, patience);
};

/** The project as it was at that commit, with the dependencies of today. */
async function checkOut(commit: string): Promise<string> {
  const folder = join(emulator.folder, 'older');
  await mkdir(folder);
  const archive = join(emulator.folder, 'older.tar');
  await run('git', ['archive', '--output', archive, commit], { cwd: root }).catch((cause: unknown) => {
    throw new Error(`Commit ${commit} is needed here: fetch the whole history (git fetch --unshallow).`, {
      cause,
    });
  });
  await run('tar', ['-xf', archive, '-C', folder]);
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

describe('deploying', () => {
  it('over an older version keeps handlers and executions, and what is new works', async () => {
    const { machineClients: _, ...known } = settings;
    const older = await deploy(emulator, known, await checkOut(olderCommit));
    const { id } = await createHandler(older, 'upgrade.before');
    const before = await publishAndWait(older, 'upgrade.before', id);

    const newer = await deploy(emulator, settings);

    expect(newer.apiUrl).toBe(older.apiUrl);
    expect(await apiOf(newer).get(`/v1/handlers/${id}`)).toMatchObject({ id, name: 'upgrade.before' });
    expect(await apiOf(newer).get(`/v1/executions/${before.id}`)).toMatchObject({
      id: before.id,
      status: 'succeeded',
      eventBody: { 'detail-type': 'upgrade.before' },
    });
    await publishAndWait(newer, 'upgrade.before', id);
    expect(await apiOf(newer).get('/v1/scripts')).toMatchObject({
      items: expect.arrayContaining([
        expect.objectContaining({ name: 'balance-guard' }),
        expect.objectContaining({ name: 'rates-handoff' }),
      ]) as unknown[],
    });
  });

  it('once more changes nothing', async () => {
    const { printed } = await deploy(emulator, settings);
    expect(printed).toContain('(no changes)');
    expect(await cdk(emulator, ['diff', '--fail'], { settings })).toContain('no differences');
  });

  it('in two stages keeps their events apart, one of them with all the settings that are numbers', async () => {
    const stages = new Map<string, Settings>([
      ['test', {}],
      ['live', numbers],
    ]);
    const settingsOf = (stage: string): Settings => ({
      ...settings,
      ...stages.get(stage),
      stackName: `Handoff-${stage}`,
      busName: `handoff-${stage}`,
    });
    const deployed = new Map<string, Stack>();
    for (const stage of stages.keys()) deployed.set(stage, await deploy(emulator, settingsOf(stage)));

    // Each stage would run for the events of both.
    const handlers = new Map<string, string>();
    for (const [stage, stack] of deployed) {
      for (const of of stages.keys()) {
        const { id } = await createHandler(stack, `stages.${of}`);
        if (of === stage) handlers.set(stage, id);
      }
    }
    for (const [stage, stack] of deployed) {
      await publishAndWait(stack, `stages.${stage}`, handlers.get(stage) ?? '');
    }
    for (const [stage, stack] of deployed) {
      const { items } = await apiOf(stack).get<{ items: Execution[] }>('/v1/executions');
      expect(items.map(({ event }) => event)).toEqual([`stages.${stage}`]);
    }
    for (const stage of stages.keys()) {
      await cdk(emulator, ['destroy', '--force'], { settings: settingsOf(stage) });
    }
    expect(await stackNames()).not.toContain('Handoff-live');
  });

  it('onto an existing bus takes the events of the sources that it is told, and leaves the bus where it is', async () => {
    const { endpoint, region, credentials } = emulator;
    const client = new EventBridgeClient({ endpoint, region, credentials });
    await client.send(new CreateEventBusCommand({ Name: 'everybody' }));
    const onBus = {
      ...settings,
      stackName: 'Handoff-guest',
      existingBusName: 'everybody',
      eventSources: 'billing,crm.*',
    };
    const stack = await deploy(emulator, onBus);
    const { id } = await createHandler(stack, 'bus.guest');
    await publishAndWait(stack, 'bus.guest', id);

    const sources = ['billing', 'billing.not', 'crm.sales', 'stranger'];
    await client.send(
      new PutEventsCommand({
        Entries: sources.map((Source) => ({
          EventBusName: 'everybody',
          Source,
          DetailType: 'bus.guest',
          Detail: JSON.stringify({ objectId: Source, data: {} }),
        })),
      }),
    );

    // One by one from here on, so what follows the last of them has come after all of them.
    await publishAndWait(stack, 'bus.guest', id);
    const { items } = await vi.waitUntil(async () => {
      const page = await apiOf(stack).get<{ items: Execution[] }>(`/v1/executions?handlerId=${id}`);
      return page.items.length >= 4 ? page : null;
    }, patience);
    expect(items.flatMap(({ objectId }) => objectId ?? []).toSorted()).toEqual(['billing', 'crm.sales']);
    await cdk(emulator, ['destroy', '--force'], { settings: onBus });
    await client.send(new DescribeEventBusCommand({ Name: 'everybody' }));
    client.destroy();
  });

  it('with another issuer makes no user pool, and takes the tokens of that issuer by their groups', async () => {
    const { machineClients: _, ...others } = settings;
    const rolesClaim = 'https://handoff.example/roles';
    const stack = await deploy(emulator, {
      ...others,
      stackName: 'Handoff-issuer',
      busName: 'handoff-issuer',
      oidcIssuer: issuer.issuer,
      oidcAudience: 'https://handoff.example',
      groupsClaim: rolesClaim,
    });
    expect(Object.keys(stack.outputs)).not.toContain('UserPoolId');
    const statusOf = async (token: string, method = 'GET', path = '/v1/handlers') =>
      (await sendWithToken(stack.apiUrl, token)(path, { method })).status;
    const ada = { sub: 'auth0|ada', azp: 'c1', aud: ['https://handoff.example', `${issuer.issuer}userinfo`] };
    const adaIn = (...groups: unknown[]) => issuer.give({ ...ada, [rolesClaim]: groups });

    expect(await statusOf('garbage')).toBe(401);
    const admin = { iss: issuer.issuer, ...life(), ...ada, [rolesClaim]: ['handoff/admin'] };
    for (const [what, token] of await badTokens(admin, issuer.signer, 'aud')) {
      expect(await statusOf(token), what).toBe(401);
    }
    expect(await statusOf(await issuer.give({ ...admin, at_hash: 'fPlsvVszI29LU2UhDyJ9vg' }))).toBe(401);

    expect(await statusOf(await adaIn('staff', 'handoff/admin'), 'DELETE', '/v1/handlers/h_none')).toBe(404);
    expect(await statusOf(await adaIn('staff', 'handoff/read'))).toBe(200);
    expect(await statusOf(await adaIn('staff', 'handoff/read'), 'DELETE', '/v1/handlers/h_none')).toBe(403);
    // One group that anybody may have made, which the gateway hands on as if it were two.
    expect(await statusOf(await adaIn('staff handoff/admin'))).toBe(403);
    for (const claims of [{}, { scope: 'handoff/admin' }, { 'cognito:groups': ['handoff/admin'] }]) {
      expect(await statusOf(await issuer.give({ ...ada, ...claims })), JSON.stringify(claims)).toBe(403);
    }
    const machine = { ...ada, sub: 'c1@clients', scope: 'handoff/operate' };
    expect(await statusOf(await issuer.give(machine), 'POST', '/v1/handlers/h_none/enable')).toBe(404);
    expect(await statusOf(await issuer.give(machine), 'DELETE', '/v1/handlers/h_none')).toBe(403);
  });

  it('without credentials fails before anything is created, and says so', async () => {
    const { AWS_ACCESS_KEY_ID: _id, AWS_SECRET_ACCESS_KEY: _secret, ...environment } = emulator.environment;
    const nobody = { ...emulator, environment };
    await expect(
      cdk(nobody, ['deploy', '--require-approval', 'never'], {
        settings: { ...settings, stackName: 'Never' },
      }),
    ).rejects.toThrow(/no AWS credentials that work/u);
    expect(await stackNames()).not.toContain('Never');
  });

  it('with a bad setting fails before anything is created, and names it', async () => {
    const bad = { ...settings, retentionDays: 0, stackName: 'Never' };
    await expect(cdk(emulator, ['deploy', '--require-approval', 'never'], { settings: bad })).rejects.toThrow(
      /retentionDays/u,
    );
    expect(await stackNames()).not.toContain('Never');
  });
});
