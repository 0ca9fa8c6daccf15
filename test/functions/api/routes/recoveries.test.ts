import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ExecutionRecord } from '../../../../shared/executions/execution.ts';
import { anExecution } from '../../../support/builders.ts';
import { writeExecutions } from '../../../support/write-executions.ts';
import { aLargeExecution } from '../../../shared/executions/a-log.ts';
import { fieldsOf, messageOf, startApi, type Api, type Body } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(async () => {
  vi.useRealTimers();
  await api.clear();
});
afterAll(() => api[Symbol.asyncDispose]());

const hourMs = 3_600_000;
const ago = (ms: number) => new Date(Date.now() - ms).toISOString();
const lastDay = () => ({ from: ago(24 * hourMs), to: ago(0) });

/** Executions of an hour ago. They are small: what counts here is how many there are. */
async function log(
  { id }: Body,
  count: number,
  state: ExecutionRecord['state'],
  parts: Parameters<typeof anExecution>[0] = {},
): Promise<void> {
  const records = Array.from({ length: count }, (_, index): ExecutionRecord => {
    const record = anExecution({ handlerId: id, time: ago(hourMs + index), state, ...parts });
    return { ...record, attempts: [], request: null, event: { ...record.event, raw: '{"detail":{}}' } };
  });
  await writeExecutions(
    { dynamo: api.dynamo, tableName: api.executionsTable, now: () => new Date() },
    records,
  );
}

const recover = (handler: Body, body: object = lastDay(), app = api.router) =>
  api.request('POST', `/v1/handlers/${handler.id}/recover`, body, { app });
const count = async (handler: Body, body: object = {}, app = api.router) =>
  (await recover(handler, { ...lastDay(), dryRun: true, ...body }, app)).body;

describe('POST /v1/handlers/{id}/recover', () => {
  it('202: begins a recovery of what failed and what is held', async () => {
    const handler = await api.create();
    const range = lastDay();
    const { status, headers, body } = await recover(handler, range);
    expect(status).toBe(202);
    expect(body).toEqual({
      id: expect.stringMatching(/^r_/u),
      handlerId: handler.id,
      status: 'running',
      reason: null,
      found: 0,
      released: 0,
      ...range,
      statuses: ['failed', 'held'],
      createdAt: expect.any(String),
      endedAt: null,
    });
    expect(headers.get('location')).toBe(`/v1/recoveries/${body.id}`);
    expect((await api.request('GET', `/v1/recoveries/${body.id}`)).body).toEqual(body);
  });

  it('202: takes each status once, and times with any offset', async () => {
    const { body } = await recover(await api.create(), {
      from: '2026-11-23T10:00:00+02:00',
      to: '2026-11-23T10:00:00Z',
      statuses: ['succeeded', 'failed', 'failed'],
    });
    expect(body).toMatchObject({
      from: '2026-11-23T08:00:00.000Z',
      to: '2026-11-23T10:00:00.000Z',
      statuses: ['failed', 'succeeded'],
    });
  });

  it('200: with dryRun counts, and begins nothing', async () => {
    const [handler, other] = [await api.create(), await api.create()];
    await log(handler, 30, { status: 'failed' });
    await log(handler, 20, { status: 'held', reason: 'disabled' });
    await log(handler, 10, { status: 'succeeded' }, { shards: 4 });
    await log(other, 5, { status: 'failed' });
    const withShards = api.open({ LOG_SHARDS: '4' });
    expect(await count(handler)).toEqual({ count: 50, exact: true });
    expect(await count(handler, { statuses: ['held'] })).toEqual({ count: 20, exact: true });
    expect(await count(handler, { statuses: ['succeeded'] }, withShards)).toEqual({ count: 10, exact: true });
    expect(await count(handler, { to: ago(2 * hourMs) })).toEqual({ count: 0, exact: true });
    expect((await api.request('GET', '/v1/recoveries')).body.items).toEqual([]);
  });

  it('200: counts 10,000 exactly, and no more than that', async () => {
    // However long it takes on a busy machine: a request stops after two seconds, too.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
    const handler = await api.create();
    await log(handler, 10_000, { status: 'failed' });
    api.wire.reset();
    expect(await count(handler)).toEqual({ count: 10_000, exact: true });
    const readBytes = api.wire.calls().reduce((sum, { capacityUnits }) => sum + capacityUnits, 0) * 8192;
    expect(readBytes).toBeLessThan(4 * 1024 * 1024);
    await log(handler, 1, { status: 'held', reason: 'disabled' });
    expect(await count(handler)).toEqual({ count: 10_000, exact: false });
  }, 60_000);

  it('200: stops counting what succeeded when that is too much to read', async () => {
    const handler = await api.create();
    // Two hundred of 50 KB are more than a request may read.
    const large = Array.from({ length: 200 }, (_, index) =>
      aLargeExecution(50_000, { handlerId: handler.id, time: ago(hourMs + index) }),
    );
    await writeExecutions(
      { dynamo: api.dynamo, tableName: api.executionsTable, now: () => new Date() },
      large,
    );
    const answer = await count(handler, { statuses: ['succeeded', 'failed'] });
    expect(answer.exact).toBe(false);
    expect(answer.count).toBeLessThan(200);
    expect(answer.count).toBeGreaterThan(0);
  });

  it('200: does not vouch for what may have expired', async () => {
    const handler = await api.create();
    await log(handler, 1, { status: 'failed' }, { time: ago(31 * 24 * hourMs) });
    const range = { from: ago(40 * 24 * hourMs) };
    expect(await count(handler, range)).toEqual({ count: 1, exact: false });
    expect(await count(handler, { ...range, statuses: ['held'] })).toEqual({ count: 0, exact: true });
  });

  it.each([
    ['nothing', {}, ['from', 'to']],
    ['no end', { from: '2026-11-23T10:00:00Z' }, ['to']],
    ['times that are none', { from: 'now', to: '2026-11-23' }, ['from', 'to']],
    ['ends that are the same', { from: '2026-11-23T10:00:00Z', to: '2026-11-23T10:00:00Z' }, ['from']],
    ['the end before the beginning', { from: '2026-11-23T10:00:00Z', to: '2026-11-22T10:00:00Z' }, ['from']],
    ['another status', { ...lastDay(), statuses: ['waiting'] }, ['statuses.0']],
    ['no status', { ...lastDay(), statuses: [] }, ['statuses']],
    ['dryRun as a word', { ...lastDay(), dryRun: 'yes' }, ['dryRun']],
    ['an unknown field', { ...lastDay(), limit: 3 }, ['limit']],
  ])('400: %s', async (_, body, fields) => {
    expect(fieldsOf(await recover(await api.create(), body), 400)).toEqual(fields);
  });

  it('400: says what is wrong with a range', async () => {
    const answer = await recover(await api.create(), { from: ago(0), to: ago(hourMs) });
    expect(messageOf(answer, 'from')).toBe('must be earlier than "to"');
  });

  it('404: there is no such handler', async () => {
    expect(fieldsOf(await recover({ id: 'h_gone' }), 404)).toEqual([]);
  });

  it.each(['disabled', 'archived'])('409: the handler is %s', async (status) => {
    const handler = await api.create({ status });
    await log(handler, 3, { status: 'failed' });
    const answer = await recover(handler, lastDay());
    expect(fieldsOf(answer, 409)).toEqual([]);
    expect(answer.body.detail).toContain(status);
    // How much it would be is told all the same.
    expect(await count(handler)).toEqual({ count: 3, exact: true });
    expect((await api.request('GET', '/v1/recoveries')).body.items).toEqual([]);
  });
});

describe('GET /v1/recoveries', () => {
  it('200: newest first, in pages', async () => {
    const handler = await api.create();
    const ids: string[] = [];
    for (let index = 0; index < 5; index++) ids.unshift((await recover(handler)).body.id);
    const listed: string[] = [];
    let cursor = '';
    do {
      const { body } = await api.request('GET', `/v1/recoveries?limit=2${cursor}`);
      expect(body.items.length).toBeLessThanOrEqual(2);
      listed.push(...body.items.map(({ id }: Body) => id));
      cursor = body.nextCursor === null ? '' : `&cursor=${body.nextCursor}`;
    } while (cursor !== '');
    // Two of the same millisecond are in any order.
    expect(listed.toSorted()).toEqual(ids.toSorted());
    expect(listed).toEqual(listed.toSorted().toReversed());
  });

  it('400: a cursor of another list', async () => {
    const cursor = Buffer.from('"#TURN"').toString('base64url');
    expect(fieldsOf(await api.request('GET', `/v1/recoveries?cursor=${cursor}`), 400)).toEqual(['cursor']);
  });
});

describe('GET /v1/recoveries/{id}', () => {
  it.each(['r_gone', 'nothing', encodeURIComponent('#TURN'), 'r_0mb9x0000abcdefabcdef'])(
    '404: %s',
    async (id) => {
      expect(fieldsOf(await api.request('GET', `/v1/recoveries/${id}`), 404)).toEqual([]);
    },
  );
});

describe('POST /v1/recoveries/{id}/cancel', () => {
  const cancel = (id: string) => api.request('POST', `/v1/recoveries/${id}/cancel`);

  it('200: ends it', async () => {
    const { body: begun } = await recover(await api.create());
    const { status, body } = await cancel(begun.id);
    expect(status).toBe(200);
    expect(body).toEqual({ ...begun, status: 'cancelled', endedAt: expect.any(String) });
    expect((await api.request('GET', `/v1/recoveries/${begun.id}`)).body).toEqual(body);
  });

  it('409: it has ended', async () => {
    const { body: begun } = await recover(await api.create());
    await cancel(begun.id);
    const answer = await cancel(begun.id);
    expect(fieldsOf(answer, 409)).toEqual([]);
    expect(answer.body.detail).toContain('cancelled');
  });

  it('404: there is none', async () => {
    expect(fieldsOf(await cancel('r_gone'), 404)).toEqual([]);
  });
});
