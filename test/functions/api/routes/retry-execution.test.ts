import { UpdateCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeExecutionId } from '../../../../shared/executions/key.ts';
import type { ExecutionState } from '../../../../shared/executions/life-cycle.ts';
import { anExecution } from '../../../support/builders.ts';
import { fieldsOf, startApi } from '../api.ts';
import { logExecutions } from '../execution-log.ts';

let api: Awaited<ReturnType<typeof startApi>>;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const attempt = {
  number: 1,
  at: '2026-11-23T10:00:00.000Z',
  durationMs: 9,
  statusCode: 500,
  error: 'http: status 500',
  response: null,
  output: null,
};
const waiting: ExecutionState = {
  status: 'waiting',
  reason: 'retry',
  nextAttemptAt: '2096-11-23T10:00:05.000Z',
  sweepAt: '2096-11-23T10:02:05.000Z',
};

/** An execution of a handler that is there. */
async function logOne(state: ExecutionState, input: Record<string, unknown> = {}) {
  const handler = await api.create(input);
  const execution = anExecution({ handlerId: handler.id, state, attempts: [attempt] });
  await logExecutions(api, [execution]);
  // What waits has sent its own call by now, which is far off.
  api.queues.retries.delete(api.queues.retries.receive(10).map(({ receiptHandle }) => receiptHandle));
  return { handler, execution, id: encodeExecutionId(execution.key) };
}

const retry = (id: string) => api.request('POST', `/v1/executions/${id}/retry`);
const calls = () => api.queues.retries.receive(10).map(({ body }) => JSON.parse(body) as unknown);

describe('POST /v1/executions/{id}/retry', () => {
  it.each([{ status: 'failed' }, { status: 'succeeded' }] as const)(
    'begins a new generation of one that has $status, and wakes the retrier',
    async (state) => {
      const { execution, id } = await logOne(state);
      const { status, body } = await retry(id);
      expect(status).toBe(202);
      expect(body).toMatchObject({ id, status: 'waiting', reason: 'retry', generation: 2, attemptCount: 1 });
      expect(Math.abs(Date.parse(body.nextAttemptAt) - Date.now())).toBeLessThan(10_000);
      expect(calls()).toEqual([{ ...execution.key, generation: 2 }]);
      expect((await api.request('GET', `/v1/executions/${id}`)).body).toMatchObject({
        status: 'waiting',
        generation: 2,
      });
    },
  );

  it.each([waiting, { status: 'held', reason: 'disabled' }] as const)(
    'makes the next attempt of one that is $status due now, within its generation',
    async (state) => {
      const { execution, id } = await logOne(state);
      const { status, body } = await retry(id);
      expect(status).toBe(202);
      expect(body).toMatchObject({ status: 'waiting', generation: 1 });
      expect(Date.parse(body.nextAttemptAt)).toBeLessThan(Date.now() + 10_000);
      expect(calls()).toEqual([{ ...execution.key, generation: 1 }]);
    },
  );

  it('answers 409 while an attempt is under way', async () => {
    const { execution, id } = await logOne(waiting);
    await api.dynamo.send(
      new UpdateCommand({
        TableName: api.executionsTable,
        Key: execution.key,
        UpdateExpression: 'SET claimedUntil = :until',
        ExpressionAttributeValues: { ':until': new Date(Date.now() + 60_000).toISOString() },
      }),
    );
    const answer = await retry(id);
    expect(fieldsOf(answer, 409)).toEqual([]);
    expect(answer.body.detail).toBe('An attempt of this execution is under way.');
  });

  it('wakes the retrier although it was not told that the write was done', async () => {
    const { execution, id } = await logOne({ status: 'failed' });
    let puts = 0;
    api.wire.interceptAnswer(({ operation, text }) =>
      operation === 'PutItem' && !text.includes('AUDIT#') && puts++ === 0
        ? { status: 500, body: { __type: 'InternalServerError' } }
        : null,
    );
    expect((await retry(id)).status).toBe(409);
    expect(puts).toBe(2);
    expect(calls()).toEqual([{ ...execution.key, generation: 2 }]);
  });

  it.each(['disabled', 'archived'])('answers 409 when the handler is %s', async (status) => {
    const { id } = await logOne({ status: 'failed' }, { status });
    const answer = await retry(id);
    expect(fieldsOf(answer, 409)).toEqual([]);
    expect(answer.body.detail).toContain(status);
    expect(calls()).toEqual([]);
  });

  it('answers 409 when the handler was deleted', async () => {
    const { handler, id } = await logOne({ status: 'failed' });
    await api.request('DELETE', `/v1/handlers/${handler.id}`);
    expect((await retry(id)).body.detail).toContain('deleted');
  });

  it('answers 404 for what is not there', async () => {
    for (const id of ['x_', 'nothing', encodeExecutionId(anExecution().key)]) {
      expect((await retry(id)).status).toBe(404);
    }
  });

  it('lets one of many at once through', async () => {
    const { id } = await logOne({ status: 'failed' });
    const answers = await Promise.all(Array.from({ length: 5 }, () => retry(id)));
    const begun = answers.filter(({ status, body }) => status === 202 && body.generation === 2);
    expect(begun.length).toBeGreaterThanOrEqual(1);
    const { body } = await api.request('GET', `/v1/executions/${id}`);
    expect(body).toMatchObject({ status: 'waiting', generation: 2 });
    for (const { status } of answers) expect([202, 409]).toContain(status);
  });
});
