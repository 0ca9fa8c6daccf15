import { beforeEach, describe, expect, it, vi } from 'vitest';
import { handler } from '../../../functions/scripts/balance-guard/lambda.ts';
import { postDecision } from '../../../functions/scripts/balance-guard/post-decision.ts';
import { builtInEventTypes } from '../../../shared/catalogue/catalogue.ts';
import { closedPort, startRawServer, startReceiver } from '../../support/http-server.ts';
import { anInvocation } from './invocation.ts';

beforeEach(() => {
  vi.stubEnv('ENFORCEMENT_URL', undefined);
});

const nonpositive = 'client.balance.nonpositive';
const nonnegative = 'client.balance.nonnegative';
const aBalance = (data: object = {}) => ({
  objectId: 12,
  data: {
    id: 12,
    balance: '0.0000',
    previousBalance: '5.0000',
    currency: 'EUR',
    credit: '100.0000',
    ...data,
  },
});
const actionOf = async (type: string, data: object) => {
  const result = await handler(anInvocation(type, aBalance(data)));
  return 'decision' in result ? result.decision.action : result;
};

describe('balance-guard', () => {
  it.each(builtInEventTypes)('decides about the sample of $name, or ignores it', async ({ name, sample }) => {
    const facts = {
      clientId: 12,
      credit: '100.0000',
      currency: 'EUR',
      eventTime: '2026-11-23T10:00:00Z',
    };
    const decisions: Record<string, object> = {
      [nonpositive]: { action: 'warn', ...facts, balance: '0.0000', available: '100.0000' },
      [nonnegative]: { action: 'restore', ...facts, balance: '5.0000', available: '105.0000' },
    };
    const decision = decisions[name];

    expect(await handler(anInvocation(name, sample))).toEqual(
      decision === undefined
        ? { ignored: true, reason: `${name} is not about a balance that crossed zero` }
        : { decision, posted: false },
    );
  });

  it.each([
    ['0', '0', 'suspend'],
    ['-0.0000', '0.0000', 'suspend'],
    ['0.0000', '0.0001', 'warn'],
    ['-100.0000', '100.0000', 'suspend'],
    ['-99.9999', '100.0000', 'warn'],
    ['-100.0001', '100', 'suspend'],
    ['-0.30', '0.3', 'suspend'],
    // As numbers these two are the same.
    ['-9007199254740993.0000', '9007199254740992.0000', 'suspend'],
    ['-9007199254740992.0000', '9007199254740993.0000', 'warn'],
    ['0.0000', '-20.0000', 'suspend'],
  ])('with a balance of %s and a credit limit of %s says %s', async (balance, credit, action) => {
    expect(await actionOf(nonpositive, { balance, credit })).toBe(action);
  });

  it('restores a client whose balance is zero or above, whatever the credit limit', async () => {
    expect(await actionOf(nonnegative, { balance: '0.0000', credit: '0.0000' })).toBe('restore');
    expect(await actionOf(nonnegative, { balance: '5.0000', credit: '-20.0000' })).toBe('restore');
  });

  it('keeps an id that is text', async () => {
    expect(await handler(anInvocation(nonpositive, aBalance({ id: 'C-12' })))).toMatchObject({
      decision: { clientId: 'C-12' },
    });
  });

  describe('refuses for good, and names the field', () => {
    const money = 'must be a decimal string such as "12.5000"';

    it.each<[object, string]>([
      [{ data: undefined }, 'detail.data: must be an object'],
      [{ data: null }, 'detail.data: must be an object'],
      [{ data: [] }, 'detail.data: must be an object'],
      [aBalance({ id: null }), 'detail.data.id: must be an id'],
      [aBalance({ id: '' }), 'detail.data.id: must be an id'],
      [aBalance({ currency: '' }), 'detail.data.currency: must be a currency'],
      [aBalance({ currency: 978 }), 'detail.data.currency: must be a currency'],
      [aBalance({ credit: undefined }), `detail.data.credit: ${money}`],
      ...['', '1e3', '1,5', '+1', '.5', '5.', '1.2.3', ' 1', '1\n', '--1', '0x1f', '٣', '9'.repeat(31)].map(
        (balance): [object, string] => [aBalance({ balance }), `detail.data.balance: ${money}`],
      ),
      [aBalance({ balance: 12.5 }), `detail.data.balance: ${money}`],
      [aBalance({ balance: 0, credit: null }), `detail.data.balance: ${money}; detail.data.credit: ${money}`],
    ])('%j', async (detail, message) => {
      for (const type of [nonpositive, nonnegative]) {
        await expect(handler(anInvocation(type, detail))).rejects.toMatchObject({
          name: 'PermanentError',
          message,
        });
      }
    });

    it.each([
      [nonpositive, '0.0001', 'is above zero, and the event says that it is not'],
      [nonnegative, '-0.0001', 'is below zero, and the event says that it is not'],
    ])('%s with a balance of %s', async (type, balance, problem) => {
      await expect(handler(anInvocation(type, aBalance({ balance })))).rejects.toMatchObject({
        name: 'PermanentError',
        message: `detail.data.balance: ${problem}`,
      });
    });
  });
});

describe('balance-guard with an ENFORCEMENT_URL', () => {
  const call = () => handler(anInvocation(nonpositive, aBalance()));

  it('posts the decision, with the execution as its key', async () => {
    await using receiver = await startReceiver();
    vi.stubEnv('ENFORCEMENT_URL', `${receiver.url}/clients?from=handoff`);

    const result = await call();

    const [request, ...others] = receiver.requests;
    expect(others).toEqual([]);
    expect(request).toMatchObject({
      method: 'POST',
      path: '/clients?from=handoff',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'x-1' },
    });
    expect(result).toEqual({ decision: JSON.parse(request?.body ?? ''), posted: true });
  });

  it('posts nothing about other events', async () => {
    await using receiver = await startReceiver();
    vi.stubEnv('ENFORCEMENT_URL', receiver.url);

    expect(await handler(anInvocation('client.create', aBalance()))).toMatchObject({ ignored: true });
    expect(receiver.requests).toEqual([]);
  });

  it.each([
    [408, 'Error'],
    [429, 'Error'],
    [500, 'Error'],
    [503, 'Error'],
    [400, 'PermanentError'],
    [404, 'PermanentError'],
    [302, 'PermanentError'],
    [307, 'PermanentError'],
  ])('takes the answer %i for an error named %s', async (status, name) => {
    await using receiver = await startReceiver(
      (_, response) => void response.writeHead(status, { location: '/elsewhere' }).end('no'),
    );
    vi.stubEnv('ENFORCEMENT_URL', receiver.url);

    await expect(call()).rejects.toMatchObject({ name, message: `ENFORCEMENT_URL answered ${status}` });
    expect(receiver.requests).toHaveLength(1);
  });

  it('is tried again when nobody listens or the connection breaks', async () => {
    vi.stubEnv('ENFORCEMENT_URL', `http://127.0.0.1:${await closedPort()}`);
    await expect(call()).rejects.toMatchObject({
      name: 'Error',
      message: 'ENFORCEMENT_URL gave no answer: ECONNREFUSED',
    });

    await using server = await startRawServer((socket) => void socket.end());
    vi.stubEnv('ENFORCEMENT_URL', server.url);
    await expect(call()).rejects.toMatchObject({
      name: 'Error',
      message: 'ENFORCEMENT_URL gave no answer: UND_ERR_SOCKET',
    });
  });

  it('does not wait for ever', async () => {
    await using server = await startRawServer(() => {});
    const result = await handler(anInvocation(nonpositive, aBalance()));
    if (!('decision' in result)) expect.unreachable();

    await expect(
      postDecision(server.url, result.decision, { idempotencyKey: 'x-1', timeoutMs: 100 }),
    ).rejects.toMatchObject({
      name: 'Error',
      message: 'ENFORCEMENT_URL gave no answer: The operation was aborted due to timeout',
    });
  });

  it.each(['', 'enforce.example/clients', 'ftp://enforce.example'])(
    'names the setting that is no URL: %j',
    async (url) => {
      vi.stubEnv('ENFORCEMENT_URL', url);
      // Not a PermanentError: a deployment can mend it before the last attempt.
      await expect(call()).rejects.toMatchObject({
        name: 'Error',
        message: 'The environment is not usable. ENFORCEMENT_URL: must be an http:// or https:// URL',
      });
    },
  );
});
