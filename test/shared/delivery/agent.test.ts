import { once } from 'node:events';
import { lookup } from 'node:dns';
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { AddressRefusedError, createAddressGuard } from '../../../shared/delivery/address-guard.ts';
import { connectSignal, createAgent } from '../../../shared/delivery/agent.ts';
import { startRawServer, startReceiver } from '../../support/http-server.ts';

const open = createAddressGuard({ allowCidrs: ['127.0.0.0/8'], allowLoopback: true });
const strict = createAddressGuard({ allowCidrs: ['127.0.0.0/8'], allowLoopback: false });
/** A guard for which every name has this address. */
const resolving = (address: string, allowCidrs: string[] = []) =>
  createAddressGuard({ allowCidrs, allowLoopback: true }, (_host, _options, callback) =>
    callback(null, [{ address, family: 4 }]),
  );

const agents: ReturnType<typeof createAgent>[] = [];
function agentWith(guard: Parameters<typeof createAgent>[0]) {
  const agent = createAgent(guard);
  agents.push(agent);
  return agent;
}
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.destroy()));
});

const get = (origin: string) => ({ origin, path: '/', method: 'GET' as const });
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: unknown) => error,
  );

describe('createAgent', () => {
  it('refuses an address written as one without connecting to it', async () => {
    await using receiver = await startReceiver();
    const error = await failure(agentWith(strict).request(get(receiver.url)));
    expect(error).toBeInstanceOf(AddressRefusedError);
    expect(error).toMatchObject({
      host: '127.0.0.1',
      address: '127.0.0.1',
      message: '127.0.0.1 is a loopback address',
    });
    expect(receiver.connectionCount()).toBe(0);
  });

  it.each([
    'http://[::1]',
    'http://[::ffff:127.0.0.1]',
    'http://localhost',
    'http://0.0.0.0',
    'https://127.0.0.1',
  ])('refuses %s', async (host) => {
    await using receiver = await startReceiver();
    const error = await failure(agentWith(strict).request(get(`${host}:${receiver.port}`)));
    expect(error).toBeInstanceOf(AddressRefusedError);
    expect(receiver.connectionCount()).toBe(0);
  });

  it('refuses a name that resolves to a refused address without connecting to it', async () => {
    await using receiver = await startReceiver();
    const agent = agentWith(resolving('127.0.0.1'));
    const error = await failure(agent.request(get(`http://crm.example:${receiver.port}`)));
    expect(error).toMatchObject({ name: 'AddressRefusedError', host: 'crm.example', address: '127.0.0.1' });
    expect(receiver.connectionCount()).toBe(0);
  });

  it('judges the address once more that it is connected to, before it sends anything', async () => {
    await using receiver = await startReceiver();
    const agent = agentWith({
      hostProblem: () => null,
      lookup,
      addressProblem: (address) => `${address} is refused`,
    });
    const error = await failure(agent.request(get(receiver.url)));
    expect(error).toMatchObject({ name: 'AddressRefusedError', message: '127.0.0.1 is refused' });
    expect(receiver.connectionCount()).toBe(1);
    expect(receiver.requests).toEqual([]);
  });

  it('resolves a name anew for every connection, so that an allowed answer is not remembered', async () => {
    await using receiver = await startReceiver(
      (_, response) => void response.writeHead(204, { connection: 'close' }).end(),
    );
    const answers = ['127.0.0.1', '10.0.0.1'];
    const guard = createAddressGuard(
      { allowCidrs: ['127.0.0.0/8'], allowLoopback: true },
      (_host, _options, callback) => callback(null, [{ address: answers.shift() ?? '', family: 4 }]),
    );
    const agent = agentWith(guard);
    const first = await agent.request(get(`http://crm.example:${receiver.port}`));
    await first.body.dump();
    expect(first.statusCode).toBe(204);
    const error = await failure(agent.request(get(`http://crm.example:${receiver.port}`)));
    expect(error).toMatchObject({ address: '10.0.0.1' });
  });

  it('follows no redirect', async () => {
    await using receiver = await startReceiver(
      (_, response) => void response.writeHead(302, { location: '/elsewhere' }).end(),
    );
    const answer = await agentWith(open).request(get(receiver.url));
    await answer.body.dump();
    expect(answer.statusCode).toBe(302);
    expect(receiver.requests.map(({ path }) => path)).toEqual(['/']);
  });

  it('has as many requests under way at once as it is given', async () => {
    const count = 60;
    const waiting: (() => void)[] = [];
    await using receiver = await startReceiver((_, response) => {
      waiting.push(() => response.end('ok'));
      // Nobody is answered before all have arrived: a queue anywhere would never end.
      if (waiting.length === count) for (const answer of waiting) answer();
    });
    const agent = agentWith(open);
    const answers = await Promise.all(
      Array.from({ length: count }, async () => {
        const { statusCode, body } = await agent.request(get(receiver.url));
        await body.dump();
        return statusCode;
      }),
    );
    expect(answers).toEqual(Array.from({ length: count }, () => 200));
  });

  it('gives up a connection that is being opened when its signal fires', async () => {
    // Takes the TCP connection and never says a word of TLS.
    await using silent = await startRawServer(() => {});
    const deadline = new AbortController();
    const agent = agentWith(open);
    const request = failure(
      connectSignal.run(deadline.signal, () => agent.request(get(`https://127.0.0.1:${silent.port}`))),
    );
    const socket = await silent.firstSocket;
    deadline.abort();
    await once(socket, 'close');
    expect(await request).toBeInstanceOf(Error);
  });

  it('does not give up a connection that others use by now', async () => {
    await using receiver = await startReceiver();
    const deadline = new AbortController();
    const agent = agentWith(open);
    const first = await connectSignal.run(deadline.signal, () => agent.request(get(receiver.url)));
    await first.body.dump();
    deadline.abort();
    // undici takes a connection for free one turn of the event loop after its answer.
    await setImmediate();
    await setImmediate();
    const second = await agent.request(get(receiver.url));
    await second.body.dump();
    expect([second.statusCode, receiver.connectionCount()]).toEqual([204, 1]);
  });
});
