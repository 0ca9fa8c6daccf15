import { ResourceNotFoundException } from '@aws-sdk/client-lambda';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createLambda } from '../../../shared/aws/clients.ts';
import { createDeployedScripts } from '../../../shared/scripts/deployed.ts';
import { createClock } from '../../support/clock.ts';
import { startReceiver } from '../../support/http-server.ts';
import { startLambdaConfigurations } from '../../support/lambda-configurations.ts';

const functions = {
  'handoff-mail': { Runtime: 'nodejs24.x', Description: 'Sends a mail' },
  'handoff-sync': { Runtime: 'python3.14' },
};

let lambdas: Awaited<ReturnType<typeof startLambdaConfigurations>>;
let askedBefore = 0;
beforeAll(async () => {
  Object.assign(process.env, {
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  });
  lambdas = await startLambdaConfigurations(functions);
});
beforeEach(() => {
  lambdas.deploy(functions);
  askedBefore = lambdas.asked().length;
});
afterAll(() => lambdas[Symbol.asyncDispose]());

const asked = () => lambdas.asked().slice(askedBefore);

function open(names: readonly string[] = ['sync', 'mail'], lambda = createLambda()) {
  const clock = createClock('2026-11-23T10:00:00Z');
  return { clock, scripts: createDeployedScripts({ lambda, names, prefix: 'handoff-', now: clock.now }) };
}

const mail = { name: 'mail', language: 'typescript', description: 'Sends a mail' };
const sync = { name: 'sync', language: 'python', description: '' };

describe('createDeployedScripts', () => {
  it('has the names in order, each once, and asks nobody for them', () => {
    expect(open(['sync', 'mail', 'sync']).scripts.names).toEqual(['mail', 'sync']);
    expect(open([]).scripts.names).toEqual([]);
    expect(asked()).toEqual([]);
  });

  it('says of each what Lambda says, in the order in which they are wanted', async () => {
    const { scripts } = open();
    expect(await scripts.list(['sync', 'mail'])).toEqual([sync, mail]);
    expect(await scripts.list([])).toEqual([]);
    expect(asked().toSorted()).toEqual(['handoff-mail', 'handoff-sync']);
  });

  it('asks once a minute, also when several ask at once', async () => {
    const { scripts, clock } = open();
    await Promise.all([scripts.list(['mail']), scripts.list(['mail', 'sync']), scripts.list(['mail'])]);
    clock.advance(59_999);
    lambdas.deploy({ ...functions, 'handoff-mail': { Runtime: 'nodejs24.x', Description: 'new' } });
    expect(await scripts.list(['mail', 'sync'])).toEqual([mail, sync]);
    expect(asked()).toHaveLength(2);
    clock.advance(1);
    expect(await scripts.list(['mail'])).toEqual([{ ...mail, description: 'new' }]);
    expect(asked()).toHaveLength(3);
  });

  it('asks again when the clock was set back', async () => {
    const { scripts, clock } = open();
    await scripts.list(['mail']);
    clock.set('2026-11-23T09:00:00Z');
    await scripts.list(['mail']);
    expect(asked()).toHaveLength(2);
  });

  it('has an error of its own for a script without a Lambda, and asks again the next time', async () => {
    const { scripts } = open();
    lambdas.deploy({});
    const error: unknown = await scripts.list(['mail']).catch((problem: unknown) => problem);
    expect(error).toMatchObject({
      message: 'The script "mail" belongs to this deployment, but there is no Lambda "handoff-mail".',
    });
    expect((error as Error).cause).toBeInstanceOf(ResourceNotFoundException);
    lambdas.deploy(functions);
    expect(await scripts.list(['mail'])).toEqual([mail]);
  });

  it('refuses a Lambda that is neither Node nor Python', async () => {
    lambdas.deploy({ 'handoff-mail': { Runtime: 'java25' } });
    await expect(open().scripts.list(['mail'])).rejects.toThrow(
      'The Lambda "handoff-mail" of the script "mail" runs on "java25": neither Node nor Python.',
    );
  });

  it('tries again when Lambda has had too many calls, and hands on every other error at once', async () => {
    const { scripts } = open();
    lambdas.deploy({ 'handoff-mail': { status: 429, error: 'TooManyRequestsException' } });
    const listed = scripts.list(['mail']);
    await expect.poll(() => asked().length).toBe(2);
    lambdas.deploy(functions);
    expect(await listed).toEqual([mail]);

    lambdas.deploy({ 'handoff-sync': { status: 403, error: 'AccessDeniedException' } });
    await expect(scripts.list(['sync'])).rejects.toThrow('inner words about handoff-sync');
    expect(asked().filter((name) => name === 'handoff-sync')).toHaveLength(1);
  });

  it('asks about five at a time', async () => {
    const gate = Promise.withResolvers<void>();
    await using slow = await startReceiver(async (_, response) => {
      await gate.promise;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"Runtime":"nodejs24.x"}');
    });
    process.env['AWS_ENDPOINT_URL_LAMBDA'] = slow.url;
    const names = Array.from({ length: 12 }, (_, index) => `s${index}`);
    const listed = open(names).scripts.list(names);
    // Asked for after all the others, by somebody with a limit of its own: what is here before it was not held back.
    const probed = open(['probe']).scripts.list(['probe']);
    await expect.poll(() => slow.requests.some(({ path }) => path.includes('probe'))).toBe(true);
    await slow.waitForRequests(6);
    expect(slow.requests).toHaveLength(6);

    gate.resolve();
    expect(await listed).toHaveLength(12);
    expect(await probed).toHaveLength(1);
  });
});
