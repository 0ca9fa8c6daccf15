import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScanCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { startApi, type Body } from './api/api.ts';
import { startLane } from './retrier/lane.ts';

const lane = await startLane('2026-11-23T10:00:01.000Z', {
  REDACT_PATHS: 'detail.data.iban,detail.data.cards[*].number',
});
afterEach(() => lane.clear());
afterAll(() => lane[Symbol.asyncDispose]());

const data = { iban: 'DE02120300000000202051', cards: [{ number: 4929123412341234, brand: 'visa' }], id: 12 };
const redacted = { iban: '***', cards: [{ number: '***', brand: 'visa' }], id: 12 };
const detail = { objectId: 12, data };

/** An endpoint that answers with what it got, in these ways, the last one for ever. */
async function startEndpoint(...statuses: number[]) {
  const left = [...statuses];
  return lane.startReceiver(({ body }, response) => {
    const status = (left.length > 1 ? left.shift() : left[0]) ?? 200;
    response.writeHead(status).end(`got ${body}`);
  });
}
const bodies = ({ requests }: { requests: readonly { body: string }[] }): unknown[] =>
  requests.map(({ body }) => (JSON.parse(body) as { data: unknown }).data);

/** Everything in the log, as text. */
async function stored(): Promise<string> {
  const { Items = [] } = await lane.dynamo.send(new ScanCommand({ TableName: lane.executionsTable }));
  return JSON.stringify(Items);
}

describe('an event with redacted values', () => {
  it('is sent whole, at once and later, and kept without them', async () => {
    const endpoint = await startEndpoint(503, 503, 200);
    const handler = await lane.register({ target: { url: endpoint.url }, retry: { schedule: [10, 10] } });
    await lane.dispatch({ detail });
    for (let retries = 0; retries < 2; retries++) {
      lane.clock.advance(11_000);
      await lane.retryDue();
    }
    expect(bodies(endpoint)).toEqual([data, data, data]);
    const [record] = await lane.logOf(handler);
    expect(record?.state.status).toBe('succeeded');
    expect(JSON.parse(record?.event.raw ?? '')).toMatchObject({ detail: { objectId: 12, data: redacted } });
    // Nor in what the endpoint answered.
    expect(record?.attempts.map(({ response }) => response)).toEqual(
      Array.from(
        { length: 3 },
        () => expect.stringContaining('"iban":"***","cards":[{"number":***,') as string,
      ),
    );
    const text = await stored();
    expect(text).toContain('visa');
    for (const secret of [data.iban, String(data.cards[0]?.number)]) expect(text).not.toContain(secret);
  });

  it.each([
    ['no longer', {}, { REDACT_PATHS: '' }],
    ['only now', { REDACT_PATHS: '' }, {}],
  ])(
    'is not told by what it is answered later, although the setting has its paths %s',
    async (_, at, later) => {
      const endpoint = await startEndpoint(503, 200);
      const handler = await lane.register({ target: { url: endpoint.url }, retry: { schedule: [10] } });
      await lane.dispatch({ detail: { objectId: 12, data: { iban: data.iban } } }, at);
      const [first] = await lane.logOf(handler);
      lane.clock.advance(11_000);
      await lane.retryDue(lane.coldRetrier(later));
      const [record] = await lane.logOf(handler);
      expect(record?.event).toEqual(first?.event);
      expect(record?.attempts[1]?.response).toContain('"iban":"***"');
    },
  );

  it('is sent on whole to those that waited behind a halting handler', async () => {
    const halting = await startEndpoint(503, 200);
    const next = await startEndpoint(200);
    const retry = { schedule: [10] };
    await lane.register({ onFailure: 'halt', priority: 1, target: { url: halting.url }, retry });
    await lane.register({ priority: 2, target: { url: next.url } });
    await lane.dispatch({ detail });
    lane.clock.advance(11_000);
    await lane.retryDue();
    await lane.dispatchSentAgain();
    expect(bodies(next)).toEqual([data]);
    expect(await stored()).not.toContain(data.iban);
  });

  it('is shown, found and tried again without them', async () => {
    await using api = await startApi(lane);
    const endpoint = await startEndpoint(404, 200);
    const handler = await lane.register({ target: { url: endpoint.url } });
    await lane.dispatch({ detail });
    const search = async (text: string): Promise<Body[]> =>
      (
        await api.request(
          'GET',
          `/v1/executions?handlerId=${handler.id}&from=2026-11-23T00:00:00Z&data=${text}`,
        )
      ).body.items;
    expect(await search(data.iban)).toEqual([]);
    const [found] = await search('visa');
    const { body } = await api.request('GET', `/v1/executions/${found.id}`);
    expect(body.eventBody.detail.data).toEqual(redacted);
    expect(JSON.parse(body.request.body)).toMatchObject({ data: redacted });
    expect((await api.request('POST', `/v1/executions/${found.id}/retry`)).status).toBe(202);
    lane.clock.reach(new Date(Date.now() + 5000));
    await lane.retryDue();
    expect(bodies(endpoint)).toEqual([data, data]);
  });

  it('is a dead letter without them, and goes back to the queue as it came', async () => {
    await using api = await startApi(lane);
    await lane.register({});
    // An event without a source is none.
    const body = JSON.stringify({ id: 'e-1', 'detail-type': 'a.b', detail });
    await lane.queues.eventsDeadLetters.send([{ body }]);
    await lane.sweep();
    const { items } = (await api.request('GET', '/v1/dead-letters')).body;
    expect(JSON.parse(items[0].body)).toMatchObject({ detail: { data: redacted } });
    expect(await stored()).not.toContain(data.iban);
    const answer = await api.request('POST', '/v1/dead-letters/redrive', { ids: [items[0].id] });
    expect(answer.body).toMatchObject({ redriven: 1 });
    expect(lane.queues.events.receive(10).map((message) => message.body)).toEqual([body]);
  });

  it('is a dead letter that keeps no other in the list, although it cannot be opened any more', async () => {
    await using api = await startApi(lane);
    await lane.register({});
    const letters = [JSON.stringify({ id: 'e-1', 'detail-type': 'a.b', detail }), 'no event'];
    await lane.queues.eventsDeadLetters.send(letters.map((body) => ({ body })));
    // It is sealed with a data key that the API does not have.
    const keyFile = join(await mkdtemp(join(tmpdir(), 'handoff-')), 'data-key');
    await writeFile(keyFile, randomBytes(32));
    await lane.sweep(lane.coldSweeper({ DATA_KEY: `file:${keyFile}` }));
    const { body } = await api.request('POST', '/v1/dead-letters/redrive', { all: true });
    expect(body).toMatchObject({ redriven: 1, remaining: false });
    expect(lane.queues.events.receive(10)).toMatchObject([{ body: 'no event' }]);
    const { items } = (await api.request('GET', '/v1/dead-letters')).body;
    expect((items as { id: string }[]).map(({ id }) => id)).toEqual(body.unsent);
  });

  it('that nobody asked for is nobody’s trouble, although there is no data key yet', async () => {
    const report = await lane.dispatchAll(
      [{ detail, type: `nobody.${randomUUID()}` }],
      lane.coldDispatcher({ DATA_KEY: 'file:/nowhere' }),
    );
    expect(report).toMatchObject({ failedMessageIds: [], problems: [] });
  });

  it('of a size at the limit fits into the log with what is sealed', async () => {
    const { register, dispatch, logOf } = lane;
    const endpoint = await startEndpoint(200);
    const handler = await register({ target: { url: endpoint.url } });
    const random = () => randomUUID().replaceAll('-', '');
    // As much in what is redacted as in what is not, and hardly to be compressed.
    const half = () => Array.from({ length: 6800 }, random).join('');
    const report = await dispatch({ detail: { objectId: 1, data: { iban: half(), text: half() } } });
    expect(report).toMatchObject({ failedMessageIds: [], deadLetters: 0 });
    expect(await logOf(handler)).toHaveLength(1);
  });
});
