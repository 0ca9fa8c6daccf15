import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { maxTransformMs } from '../../shared/transforms/transform-limits.ts';
import type { Respond } from '../support/http-server.ts';
import { startApi, type Body } from './api/api.ts';
import { startLane } from './retrier/lane.ts';

const lane = await startLane('2026-11-23T10:00:01.000Z', { REDACT_PATHS: 'detail.data.iban' });
const api = await startApi(lane);
afterEach(() => lane.clear());
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await lane[Symbol.asyncDispose]();
});

const iban = 'DE02120300000000202051';
const detail = { objectId: 12, data: { id: 12, name: 'Ada', iban } };
const endless = '($f := function($x) { $f($x) }; $f(1))';
const timeOver = `transform: did not end within ${maxTransformMs} ms`;

const noContent: Respond = (_, response) => void response.writeHead(204).end();

const shown = async (handler: { id: string }): Promise<Body> => {
  const { items } = (await api.request('GET', `/v1/executions?handlerId=${handler.id}`)).body;
  return (await api.request('GET', `/v1/executions/${items[0].id}`)).body;
};

describe('a handler with a transform', () => {
  it('sends what its expression gives, signed, and shows it', async () => {
    const endpoint = await lane.startReceiver(noContent);
    const transform = '{ "who": detail.data.name, "type": `detail-type` }';
    const handler = await lane.register({ transform, target: { url: endpoint.url } });
    await lane.dispatch({ detail });
    const { headers = {}, body = '' } = endpoint.requests[0] ?? {};
    expect(body).toBe('{"who":"Ada","type":"client.create"}');
    expect(headers['content-type']).toBe('application/json');
    const sentAt = new Date(Number(headers['webhook-timestamp']) * 1000);
    expect(headers['webhook-signature']).toBe(
      new Webhook(handler.secret).sign(String(headers['webhook-id']), sentAt, body),
    );
    expect((await shown(handler)).request).toMatchObject({ transform, body, error: null });
  });

  it('has the content type of its format', async () => {
    const endpoint = await lane.startReceiver(noContent);
    const target = { url: endpoint.url, format: 'cloudevents' };
    await lane.register({ transform: '{ "specversion": "1.0" }', target });
    await lane.dispatch({ detail });
    expect(endpoint.requests[0]?.headers['content-type']).toBe('application/cloudevents+json; charset=UTF-8');
    expect(endpoint.requests[0]?.body).toBe('{"specversion":"1.0"}');
  });

  it('sends the same body on every attempt, with the values that are redacted, and never shows those', async () => {
    const statuses = [503, 200];
    const endpoint = await lane.startReceiver(({ body }, response) => {
      response.writeHead(statuses.shift() ?? 200).end(`got ${body}`);
    });
    const transform = '{ "iban": detail.data.iban, "now": $now(), "dice": $random() }';
    const handler = await lane.register({
      transform,
      target: { url: endpoint.url },
      retry: { schedule: [10] },
    });
    await lane.dispatch({ detail });
    lane.clock.advance(11_000);
    await lane.retryDue();
    expect(endpoint.requests).toHaveLength(2);
    expect(new Set(endpoint.requests.map(({ body }) => body)).size).toBe(1);
    expect(endpoint.requests[0]?.body).toContain(iban);
    const execution = await shown(handler);
    expect(execution.status).toBe('succeeded');
    expect(JSON.parse(execution.request.body as string)).toMatchObject({ iban: '***' });
    expect(JSON.stringify(execution)).not.toContain(iban);
  });

  it('shows its body by the expression that made it, whatever the handler has now', async () => {
    const endpoint = await lane.startReceiver(noContent);
    const handler = await lane.register({ transform: '"before"', target: { url: endpoint.url } });
    await lane.dispatch({ detail });
    await api.request('PATCH', `/v1/handlers/${handler.id}`, { transform: null });
    expect((await shown(handler)).request).toMatchObject({ transform: '"before"', body: '"before"' });
  });

  it.each([
    ['detail.nothing', 'transform: gave nothing'],
    ['$error("no rates")', 'transform: no rates (position 7, at "error")'],
    ['$error(detail.data.iban)', 'transform: *** (position 7, at "error")'],
    [
      '$number(detail.data.iban)',
      'transform: Unable to cast value to a number: *** (position 8, at "number")',
    ],
    ['$uppercase', 'transform: gave what is not JSON: a function'],
  ])('that gives no body has failed for good, and nothing was sent: %s', async (transform, error) => {
    const endpoint = await lane.startReceiver(noContent);
    const handler = await lane.register({ transform, target: { url: endpoint.url } });
    await lane.dispatch({ detail });
    const execution = await shown(handler);
    expect(execution).toMatchObject({ status: 'failed', error, attemptCount: 1, nextAttemptAt: null });
    expect(execution.request).toMatchObject({ transform, body: null });
    expect(execution.request.error).toMatch(/^transform: /u);
    expect(endpoint.connectionCount()).toBe(0);
    expect(JSON.stringify(execution)).not.toContain(iban);
  });

  it('that burns its time holds up no other handler of the batch', async () => {
    const ends: string[] = [];
    const other = await lane.startReceiver((_, response) => {
      ends.push('other');
      response.writeHead(204).end();
    });
    const others = await Promise.all(
      Array.from({ length: 3 }, () => lane.register({ target: { url: other.url } })),
    );
    const hostile = await lane.register({ transform: endless, target: { url: other.url } });
    const dispatched = lane.dispatchSome(4, { detail }).then((report) => {
      ends.push('batch');
      return report;
    });
    const report = await dispatched;
    // All others were called before the batch ended, and none of them waits.
    expect(ends).toEqual([...Array<string>(12).fill('other'), 'batch']);
    for (const handler of others) {
      expect((await lane.logOf(handler)).map(({ state }) => state.status)).toEqual(
        Array<string>(4).fill('succeeded'),
      );
    }
    expect(report.problems).toEqual([]);
    const records = await lane.logOf(hostile);
    expect(records).toHaveLength(4);
    expect(records.some(({ attempts }) => attempts.at(-1)?.error === timeOver)).toBe(true);
    for (const { state, attempts } of records) {
      if (state.status === 'failed') expect(attempts.at(-1)?.error).toBe(timeOver);
      else expect(state).toMatchObject({ status: 'waiting', reason: 'busy' });
    }
  });

  it('says nothing about its target: what fails by it neither opens a circuit nor closes one', async () => {
    const health = { up: false };
    const endpoint = await lane.startReceiver((_, response) => {
      response.writeHead(health.up ? 204 : 503).end();
    });
    const circuitOf = async () => (await lane.store.readAll()).health.get(handler.id)?.circuit ?? null;
    const transform = 'detail.data.id = 1 ? $error("not this one") : detail.data.id';
    const handler = await lane.register({ transform, target: { url: endpoint.url } });
    const event = (id: number) => ({ detail: { objectId: id, data: { id } } });
    await lane.dispatchSome(10, event(1));
    expect(await circuitOf()).toBeNull();
    await lane.dispatchSome(5, event(2));
    expect(await circuitOf()).not.toBeNull();
    // One is parked that its transform makes nothing of; the first probe is with it.
    await lane.dispatch(event(1));
    const calls = endpoint.requests.length;
    lane.clock.advance(66_000);
    await lane.sweep();
    await lane.retryDue();
    expect(endpoint.requests.length).toBe(calls);
    expect(await circuitOf()).not.toBeNull();
    const failed = (await lane.logOf(handler)).filter(({ state }) => state.status === 'failed');
    expect(failed).toHaveLength(11);
  });
});
