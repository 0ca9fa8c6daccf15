import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ExecutionRecord } from '../../../../shared/executions/execution.ts';
import { createHourlyCounts } from '../../../../shared/executions/hours.ts';
import { anExecution } from '../../../support/builders.ts';
import { fieldsOf, startApi, type Api } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

/** Counts executions as the dispatcher would, all of them at once. */
const count = (records: readonly ExecutionRecord[]): Promise<void> =>
  createHourlyCounts({
    dynamo: api.dynamo,
    tableName: api.executionsTable,
    retention: { endedDays: 30, heldDays: 90 },
    now: () => new Date(),
  }).count(records);

const none = { succeeded: 0, failed: 0, waiting: 0, held: 0 };

describe('GET /v1/stats', () => {
  it('200: what ran in the last 24 hours, with the names of the handlers that are there', async () => {
    const handler = await api.create({ name: 'Ledger' });
    const time = new Date().toISOString();
    const ofHandler = { handlerId: handler.id, time };
    await count([
      anExecution(ofHandler),
      anExecution({ ...ofHandler, state: { status: 'failed' } }),
      anExecution({ handlerId: 'h_gone', time }),
      anExecution({ ...ofHandler, time: new Date(Date.now() - 26 * 3_600_000).toISOString() }),
    ]);
    const { status, body } = await api.request('GET', '/v1/stats');
    expect(status).toBe(200);
    const durationMs = { p50: 47.9, p95: 47.9 };
    expect(body).toEqual({
      from: expect.stringMatching(/^2\d{3}-\d\d-\d\dT\d\d:00:00\.000Z$/u) as string,
      to: expect.stringMatching(/^2\d{3}-\d\d-\d\dT\d\d:00:00\.000Z$/u) as string,
      counts: { ...none, succeeded: 2, failed: 1 },
      successRate: 2 / 3,
      durationMs,
      handlers: [
        {
          handlerId: handler.id,
          handlerName: 'Ledger',
          counts: { ...none, succeeded: 1, failed: 1 },
          successRate: 0.5,
          durationMs,
        },
        {
          handlerId: 'h_gone',
          handlerName: null,
          counts: { ...none, succeeded: 1 },
          successRate: 1,
          durationMs,
        },
      ],
      hours: expect.any(Array) as unknown[],
    });
    expect(body.hours).toHaveLength(24);
  });

  it('200: of a time that is told, with any offset', async () => {
    await count([
      anExecution({ time: '2026-11-20T10:30:00.000Z' }),
      anExecution({ time: '2026-11-20T11:30:00.000Z' }),
    ]);
    const query = 'from=2026-11-20T12:00:00%2B02:00&to=2026-11-20T11:00:00Z';
    const { body } = await api.request('GET', `/v1/stats?${query}`);
    expect(body).toMatchObject({
      from: '2026-11-20T10:00:00.000Z',
      to: '2026-11-20T11:00:00.000Z',
      counts: { ...none, succeeded: 1 },
      hours: [{ hour: '2026-11-20T10:00:00.000Z', counts: { ...none, succeeded: 1 } }],
    });
  });

  it.each([
    ['from=yesterday', 'from'],
    ['to=2026-11-20', 'to'],
    ['from=2026-11-20T10:00:00Z&to=2026-11-20T10:00:00Z', 'from'],
    ['from=2026-10-01T10:00:00Z&to=2026-11-20T10:00:00Z', 'from'],
    ['from=9000-01-01T00:00:00Z', 'from'],
    ['hours=24', 'hours'],
  ])('400: for %s', async (query, field) => {
    expect(fieldsOf(await api.request('GET', `/v1/stats?${query}`), 400)).toEqual([field]);
  });

  it.each(['to=0000-01-01T00:00:00Z', 'to=9999-12-31T23:59:59Z'])(
    'never breaks at the ends of time: %s',
    async (query) => {
      const { status, body } = await api.request('GET', `/v1/stats?${query}`);
      expect(status).toBe(200);
      expect(body).toMatchObject({ counts: none, handlers: [] });
    },
  );
});
