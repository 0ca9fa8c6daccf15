import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Execution, ExecutionDetail } from '../../shared/executions/execution.ts';
import type { Receiver } from '../support/http-server.ts';
import { connect, type System } from './system.ts';

let system: System;
let receiver: Receiver;

beforeAll(async () => {
  system = connect();
  receiver = await system.startReceiver((_, response) => void response.writeHead(204).end());
});

afterAll(async () => {
  await system.close();
  await receiver.close();
});

const perSecond = 5;
// A call may come a quarter of a second after its slot (docs/deliveries.md), and a later one is claimed before that.
const lateMs = 400;

describe('a handler with a rate limit', () => {
  it('gets ten events over about two seconds, never more than the limit allows, and each of them once', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/limited`,
      rateLimit: { perSecond },
    });
    expect(handler).toMatchObject({ rateLimit: { perSecond } });

    await system.putEvents(...Array.from({ length: 10 }, () => ({ type })));

    const { items } = await vi.waitFor(
      async () => {
        const page = await system.api.get<{ items: Execution[] }>(
          `/v1/executions?handlerId=${handler.id}&status=succeeded`,
        );
        expect(page.items).toHaveLength(10);
        return page;
      },
      { timeout: 30_000, interval: 100 },
    );
    const details = await Promise.all(
      items.map(({ id }) => system.api.get<ExecutionDetail>(`/v1/executions/${id}`)),
    );
    expect(details.map(({ attemptCount }) => attemptCount)).toEqual(Array.from({ length: 10 }, () => 1));
    const times = details.map(({ attempts }) => Date.parse(attempts[0]?.at ?? '')).toSorted((a, b) => a - b);
    // From any call to the n-th after it there are n waits, less what the first of them was late.
    for (const [index, from] of times.entries()) {
      for (const [later, to] of times.slice(index + 1).entries()) {
        expect(to - from).toBeGreaterThanOrEqual(((later + 1) / perSecond) * 1000 - lateMs);
      }
    }
    expect(receiver.requests).toHaveLength(10);
    expect(new Set(receiver.requests.map(({ headers }) => headers['webhook-id'])).size).toBe(10);
  });

  it('is refused a limit that cannot be', async () => {
    const answer = await system.api.request('POST', '/v1/handlers', {
      name: 'acceptance',
      events: [system.newType()],
      target: { type: 'http', url: receiver.url },
      rateLimit: { perSecond: 0 },
    });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ field: 'rateLimit.perSecond' }] } });
  });
});
