import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createLambda } from '../../../shared/aws/clients.ts';
import { createAddressGuard, type AddressGuard } from '../../../shared/delivery/address-guard.ts';
import { createAgent } from '../../../shared/delivery/agent.ts';
import { deliverHttp } from '../../../shared/delivery/http.ts';
import { invokeTarget } from '../../../shared/delivery/invoke.ts';
import { createTokens } from '../../../shared/delivery/oauth.ts';
import { newSigningSecret, signingKeyOf } from '../../../shared/delivery/signature.ts';
import { openTargets } from '../../../shared/delivery/targets.ts';
import type { Auth } from '../../../shared/handlers/auth.ts';
import { createTransforms } from '../../../shared/transforms/transform.ts';
import { aHandler } from '../../support/builders.ts';
import { closedPort, startRawServer, startReceiver } from '../../support/http-server.ts';
import { selfSigned } from '../../support/self-signed.ts';

const now = () => new Date('2026-11-23T10:00:00.000Z');

/** A guard for which the resolver answers this, question by question; the last answer stands. */
function resolving(answers: string[][], allowCidrs: string[], allowLoopback = true) {
  const questions: string[] = [];
  const guard = createAddressGuard({ allowCidrs, allowLoopback }, (hostname, _options, callback) => {
    const addresses = answers[Math.min(questions.length, answers.length - 1)] ?? [];
    questions.push(hostname);
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  });
  return { guard, questions };
}

const agents: ReturnType<typeof createAgent>[] = [];
function agentWith(guard: AddressGuard) {
  const agent = createAgent(guard);
  agents.push(agent);
  return agent;
}
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.destroy()));
});

const deliver = (agent: ReturnType<typeof createAgent>, url: string) =>
  deliverHttp(agent, { url, method: 'POST', headers: {}, body: '{}', timeoutMs: 10_000 });

/** One attempt of a whole delivery. */
function attempt(
  url: string,
  {
    guard,
    agent = agentWith(guard),
    auth = null,
  }: { guard: AddressGuard; agent?: ReturnType<typeof createAgent>; auth?: Auth | null },
) {
  const handler = aHandler({ id: 'h_1' });
  return invokeTarget(
    {
      agent,
      guard,
      tokens: createTokens({ agent, now }),
      transforms: createTransforms(),
      allowHttp: true,
      lambda: createLambda(),
      scripts: new Set(),
      scriptFunctionPrefix: '',
      now,
    },
    {
      handler: {
        ...handler,
        target: {
          type: 'http',
          url,
          method: 'POST',
          headers: {},
          auth,
          format: 'standard',
          timeoutMs: 10_000,
        },
      },
      signing: { keys: [signingKeyOf(newSigningSecret())] },
      auth,
      event: {
        id: 'e-1',
        type: 'client.create',
        source: 'x',
        time: now().toISOString(),
        objectId: 1,
        detail: {},
        json: {},
        raw: '',
      },
      execution: { id: 'x_1', attempt: 1 },
    },
  );
}

const refusedFor = (error: string) => ({
  kind: 'failed',
  retryable: false,
  statusCode: null,
  error,
  response: null,
});
const delivered = { kind: 'succeeded', statusCode: 204 };

describe('a name', () => {
  it('is resolved once for a connection: there is no second answer that could differ', async () => {
    await using receiver = await startReceiver();
    // The first answer may be called, every later one is loopback's other half.
    const { guard, questions } = resolving([['127.0.0.1'], ['127.0.0.2']], ['127.0.0.1/32']);
    expect(await attempt(`http://crm.example:${receiver.port}/`, { guard })).toMatchObject(delivered);
    expect(questions).toEqual(['crm.example']);
  });

  it('that has turned bad since the handler was saved fails the attempt for good', async () => {
    await using receiver = await startReceiver(
      (_, response) => void response.writeHead(204, { connection: 'close' }).end(),
    );
    const { guard } = resolving([['127.0.0.1'], ['127.0.0.2']], ['127.0.0.1/32']);
    const agent = agentWith(guard);
    const url = `http://crm.example:${receiver.port}/`;
    expect(await attempt(url, { guard, agent })).toMatchObject(delivered);
    expect(await attempt(url, { guard, agent })).toEqual(
      refusedFor('refused address: 127.0.0.2 is a loopback address (of crm.example)'),
    );
    expect(receiver.connectionCount()).toBe(1);
  });

  it.each([
    [['127.0.0.1', '127.0.0.2']],
    [['127.0.0.2', '127.0.0.1']],
    [['127.0.0.1', '::ffff:169.254.169.254']],
    [['127.0.0.1', '2a00:1450::5efe:7f00:1']],
    [['127.0.0.1', 'fe80::1%lo']],
    [['127.0.0.1', 'not an address']],
  ])('with one good and one bad address is not called at all: %j', async (addresses) => {
    await using receiver = await startReceiver();
    const { guard } = resolving([addresses], ['127.0.0.1/32']);
    expect(await attempt(`http://crm.example:${receiver.port}/`, { guard })).toMatchObject({
      kind: 'failed',
      retryable: false,
      error: expect.stringMatching(/^refused address: /u) as string,
    });
    expect(receiver.connectionCount()).toBe(0);
  });

  it.each([
    [['64:ff9b::7f00:1', '127.0.0.1']],
    [['127.0.0.1', '64:ff9b::127.0.0.1']],
    [['127.0.0.1', '64:FF9B:0:0:0:0:7F00:0001']],
  ])(
    'is called by its IPv4 address where DNS64 has made an IPv6 address of just that: %j',
    async (addresses) => {
      await using receiver = await startReceiver();
      const { guard } = resolving([addresses], ['127.0.0.1/32']);
      expect(await attempt(`http://crm.example:${receiver.port}/`, { guard })).toMatchObject(delivered);
    },
  );

  it.each([
    [['64:ff9b::7f00:1']],
    [['64:ff9b::7f00:1', '::ffff:127.0.0.1']],
    [['127.0.0.1', '64:ff9b::7f00:2']],
    [['127.0.0.1', '64:ff9b:1::7f00:1']],
    [['127.0.0.1', '2002:7f00:1::']],
  ])('is not called where an address is made of another one: %j', async (addresses) => {
    const { guard } = resolving([addresses], ['127.0.0.1/32']);
    expect(await attempt('http://crm.example:9/', { guard })).toMatchObject({
      kind: 'failed',
      retryable: false,
      error: expect.stringMatching(
        /is an IPv6 address with an IPv4 address inside \(of crm\.example\)$/u,
      ) as string,
    });
  });

  it('falls back from an address that does not answer to the next one, and both are judged', async () => {
    await using receiver = await startReceiver();
    // Nothing listens on the first of them.
    const { guard, questions } = resolving([['127.0.0.2', '127.0.0.1']], ['127.0.0.1/32', '127.0.0.2/32']);
    expect(await attempt(`http://crm.example:${receiver.port}/`, { guard })).toMatchObject(delivered);
    expect(questions).toEqual(['crm.example']);
  });

  it('whose fallback goes astray is left before anything is sent', async () => {
    await using receiver = await startReceiver();
    const { guard } = resolving([['127.0.0.2', '127.0.0.1']], ['127.0.0.0/8']);
    // As if the look-up had been told nothing but good addresses.
    const agent = agentWith({
      ...guard,
      addressProblem: (address) => (address === '127.0.0.1' ? '127.0.0.1 is elsewhere' : null),
    });
    expect(await deliver(agent, `http://crm.example:${receiver.port}/`)).toEqual(
      refusedFor('refused address: 127.0.0.1 is elsewhere (of crm.example)'),
    );
    expect(receiver.requests).toEqual([]);
  });

  it.each(['localhost.localdomain', 'ip6-localhost', 'metadata.google.internal'])(
    '%s is judged by what it resolves to',
    async (name) => {
      await using receiver = await startReceiver();
      const { guard } = resolving([['127.0.0.1']], []);
      expect(await attempt(`http://${name}:${receiver.port}/`, { guard })).toEqual(
        refusedFor(`refused address: 127.0.0.1 is a loopback address (of ${name})`),
      );
      expect(receiver.connectionCount()).toBe(0);
    },
  );
});

describe('a connection that is kept', () => {
  it('belongs to the name it was made for: another name at the same address gets one of its own, judged anew', async () => {
    await using receiver = await startReceiver();
    const { guard, questions } = resolving([['127.0.0.1']], ['127.0.0.1/32']);
    const agent = agentWith(guard);
    for (const name of ['crm.example', 'crm.example', 'billing.example']) {
      expect(await deliver(agent, `http://${name}:${receiver.port}/`)).toMatchObject(delivered);
      // undici takes a connection for free one turn of the event loop after its answer.
      await setImmediate();
      await setImmediate();
    }
    expect(questions).toEqual(['crm.example', 'billing.example']);
    expect(receiver.connectionCount()).toBe(2);
  });

  it('is no way around the settings: the URL is judged at every attempt', async () => {
    await using receiver = await startReceiver();
    const { guard } = resolving([], ['127.0.0.1/32']);
    const agent = agentWith(guard);
    expect(await attempt(receiver.url, { guard, agent })).toMatchObject(delivered);
    const strict = createAddressGuard({ allowCidrs: [], allowLoopback: true });
    expect(await attempt(receiver.url, { guard: strict, agent })).toEqual(
      refusedFor('refused target: 127.0.0.1 is a loopback address'),
    );
    expect(receiver.requests).toHaveLength(1);
  });
});

describe('the token URL of OAuth 2', () => {
  const oauth2 = (tokenUrl: string): Auth => ({
    type: 'oauth2',
    tokenUrl,
    clientId: 'me',
    clientSecret: 'secret',
  });

  it('that is a refused address fails the attempt for good, by its own name', async () => {
    await using receiver = await startReceiver();
    const { guard } = resolving([['127.0.0.1']], ['127.0.0.1/32']);
    for (const [host, problem] of [
      ['169.254.169.254', '169.254.169.254 is a link-local address'],
      ['127.0.0.2', '127.0.0.2 is a loopback address'],
      ['[::ffff:7f00:2]', '::ffff:7f00:2 is a loopback address'],
    ]) {
      expect(await attempt(receiver.url, { guard, auth: oauth2(`http://${host}/token`) })).toEqual(
        refusedFor(`refused target.auth.tokenUrl: ${problem}`),
      );
    }
    expect(receiver.connectionCount()).toBe(0);
  });

  it('whose name resolves to one fails the attempt for good, and neither of the two is called', async () => {
    await using receiver = await startReceiver();
    const { guard } = resolving([['127.0.0.2', '127.0.0.1']], ['127.0.0.1/32']);
    expect(
      await attempt(receiver.url, { guard, auth: oauth2(`http://login.example:${receiver.port}/token`) }),
    ).toEqual(
      refusedFor('auth: no token: refused address: 127.0.0.2 is a loopback address (of login.example)'),
    );
    expect(receiver.connectionCount()).toBe(0);
  });

  it('that redirects is not followed', async () => {
    await using elsewhere = await startReceiver();
    await using provider = await startReceiver(
      (_, response) => void response.writeHead(307, { location: `${elsewhere.url}/latest/meta-data/` }).end(),
    );
    const { guard } = resolving([], ['127.0.0.1/32']);
    expect(await attempt(elsewhere.url, { guard, auth: oauth2(`${provider.url}/token`) })).toMatchObject({
      kind: 'failed',
      error: 'auth: no token: http: status 307, redirects are not followed',
    });
    expect(elsewhere.connectionCount()).toBe(0);
  });
});

describe('what the environment says', () => {
  it('a proxy in it is not used, which would resolve and connect past the guard', async () => {
    await using proxy = await startRawServer((socket) =>
      socket.end('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'),
    );
    await using receiver = await startReceiver();
    const script = `
      const [{ createAddressGuard }, { createAgent }, { deliverHttp }] = await Promise.all(
        ['address-guard', 'agent', 'http'].map((name) => import(\`${new URL('../../../shared/delivery/', import.meta.url).href}\${name}.ts\`)),
      );
      const agent = createAgent(createAddressGuard({ allowCidrs: ['127.0.0.1/32'], allowLoopback: true }));
      const outcome = await deliverHttp(agent, { url: '${receiver.url}/direct', method: 'POST', headers: {}, body: '{}', timeoutMs: 10_000 });
      await agent.close();
      // What Node itself sends goes there, so that the settings are in force.
      await fetch('${receiver.url}/by-proxy').catch(() => {});
      console.log(outcome.kind);
    `;
    const proxies = ['http_proxy', 'https_proxy', 'all_proxy'].flatMap((name) => [name, name.toUpperCase()]);
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: {
        PATH: process.env['PATH'],
        NODE_USE_ENV_PROXY: '1',
        ...Object.fromEntries(proxies.map((name) => [name, proxy.url])),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output] = await Promise.all([text(child.stdout), once(child, 'close')]);
    expect(output).toBe('succeeded\n');
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/direct']);
    expect(proxy.sockets).toHaveLength(1);
  });

  it('cannot turn the check of certificates off', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    await using receiver = await startReceiver(undefined, { tls: selfSigned() });
    const { guard } = resolving([], ['127.0.0.1/32']);
    expect(await attempt(receiver.url, { guard })).toMatchObject({ error: 'tls: self-signed certificate' });
    expect(receiver.requests).toEqual([]);
  });

  it.each(['127.0.0.1:9001', '169.254.100.1:9001', ''])(
    'loopback stays closed where Lambda has set AWS_LAMBDA_RUNTIME_API to "%s"',
    async (runtimeApi) => {
      await using receiver = await startReceiver();
      const settings = {
        ALLOW_CIDRS: ['0.0.0.0/0', '127.0.0.0/8', '::/0'],
        ALLOW_HTTP: true,
        SCRIPTS: [],
        SCRIPT_FUNCTION_PREFIX: '',
      };
      const inLambda = openTargets({ ...settings, AWS_LAMBDA_RUNTIME_API: runtimeApi }, now);
      agents.push(inLambda.agent);
      expect(await attempt(receiver.url, inLambda)).toEqual(
        refusedFor('refused target: 127.0.0.1 is a loopback address'),
      );
      expect(await deliver(inLambda.agent, receiver.url)).toEqual(
        refusedFor('refused address: 127.0.0.1 is a loopback address'),
      );
      expect(receiver.connectionCount()).toBe(0);

      const elsewhere = openTargets(settings, now);
      agents.push(elsewhere.agent);
      expect(await attempt(receiver.url, elsewhere)).toMatchObject(delivered);
    },
  );

  it('says that a port is closed, not that it is refused, where the address may be called', async () => {
    const { guard } = resolving([], ['127.0.0.1/32']);
    expect(await attempt(`http://127.0.0.1:${await closedPort()}/`, { guard })).toMatchObject({
      retryable: true,
      error: 'connection: refused by the target',
    });
  });
});
