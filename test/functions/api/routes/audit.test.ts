import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AuditEntry } from '../../../../shared/audit/change.ts';
import { encodeExecutionId } from '../../../../shared/executions/key.ts';
import { anExecution } from '../../../support/builders.ts';
import { startReceiver } from '../../../support/http-server.ts';
import { logExecutions } from '../execution-log.ts';
import { machine, sourceIp } from '../authorized.ts';
import {
  aHandlerInput,
  anEventTypeInput,
  fieldsOf,
  startApi,
  type Answer,
  type Api,
  type Body,
} from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const readAudit = async (query = 'limit=100'): Promise<AuditEntry[]> => {
  const { status, body } = await api.request('GET', `/v1/audit?${query}`);
  expect(status).toBe(200);
  return body.items as AuditEntry[];
};
const range = () => ({ from: '2026-11-23T00:00:00Z', to: '2026-11-24T00:00:00Z' });

async function aFailedExecution(): Promise<string> {
  const { id: handlerId } = await api.create();
  const record = anExecution({ handlerId, state: { status: 'failed' } });
  await logExecutions(api, [record]);
  return encodeExecutionId(record.key);
}

/** They change nothing and tell nobody, although they are no GET: a filter and an event do not fit into a URL. */
const lookingRoutes = ['POST /v1/filters/test'];

/** For each route that does something: how to do it, and what the trail says of it then. */
const changes: Record<string, () => Promise<{ answer: Answer; entry: Body }>> = {
  'POST /v1/handlers': async () => {
    const answer = await api.request('POST', '/v1/handlers', aHandlerInput());
    const { secret: _, ...after } = answer.body;
    return { answer, entry: { action: 'handler.create', subject: after.id, before: null, after } };
  },
  'PUT /v1/handlers/{id}': async () => {
    const before = await api.create();
    const answer = await api.request('PUT', `/v1/handlers/${before.id}`, { ...aHandlerInput(), name: 'ERP' });
    return { answer, entry: { action: 'handler.edit', subject: before.id, before, after: answer.body } };
  },
  'PATCH /v1/handlers/{id}': async () => {
    const before = await api.create();
    const answer = await api.request('PATCH', `/v1/handlers/${before.id}`, { priority: 7 });
    return { answer, entry: { action: 'handler.edit', subject: before.id, before, after: answer.body } };
  },
  'DELETE /v1/handlers/{id}': async () => {
    const before = await api.create();
    const answer = await api.request('DELETE', `/v1/handlers/${before.id}`);
    return { answer, entry: { action: 'handler.delete', subject: before.id, before, after: null } };
  },
  'POST /v1/handlers/{id}/enable': async () => {
    const { id } = await api.create({ status: 'disabled' });
    const answer = await api.request('POST', `/v1/handlers/${id}/enable`);
    const [before, after] = [{ status: 'disabled' }, { status: 'enabled' }];
    return { answer, entry: { action: 'handler.enable', subject: id, before, after } };
  },
  'POST /v1/handlers/{id}/disable': async () => {
    const { id } = await api.create();
    const answer = await api.request('POST', `/v1/handlers/${id}/disable`);
    const [before, after] = [{ status: 'enabled' }, { status: 'disabled' }];
    return { answer, entry: { action: 'handler.disable', subject: id, before, after } };
  },
  'POST /v1/handlers/{id}/rotate-secret': async () => {
    const { id } = await api.create();
    const answer = await api.request('POST', `/v1/handlers/${id}/rotate-secret`);
    const [before, after] = [{ version: 1 }, { version: 2 }];
    return { answer, entry: { action: 'handler.rotate-secret', subject: id, before, after } };
  },
  'POST /v1/handlers/{id}/test': async () => {
    await using receiver = await startReceiver();
    const { id } = await api.create({ target: { type: 'http', url: receiver.url } });
    const answer = await api.request('POST', `/v1/handlers/${id}/test`, {});
    return { answer, entry: { action: 'handler.test', subject: id, result: { status: 'succeeded' } } };
  },
  'POST /v1/handlers/test': async () => {
    await using receiver = await startReceiver();
    const auth = { type: 'bearer', token: 'abc.def' };
    const handler = { ...aHandlerInput(), target: { type: 'http', url: receiver.url, auth } };
    const answer = await api.request('POST', '/v1/handlers/test', { handler });
    const after = { target: { url: receiver.url, auth: { type: 'bearer', token: '***' } } };
    return {
      answer,
      entry: { action: 'handler.test', subject: null, after, result: { status: 'succeeded' } },
    };
  },
  'POST /v1/handlers/{id}/recover': async () => {
    const { id } = await api.create();
    const answer = await api.request('POST', `/v1/handlers/${id}/recover`, range());
    const after = { from: '2026-11-23T00:00:00.000Z', statuses: ['failed', 'held'] };
    const result = { recoveryId: answer.body.id };
    return { answer, entry: { action: 'handler.recover', subject: id, before: null, after, result } };
  },
  'POST /v1/recoveries/{id}/cancel': async () => {
    const handler = await api.create();
    const { body: begun } = await api.request('POST', `/v1/handlers/${handler.id}/recover`, range());
    const answer = await api.request('POST', `/v1/recoveries/${begun.id}/cancel`);
    const before = { status: 'running', found: 0, released: 0 };
    return { answer, entry: { action: 'recovery.cancel', subject: begun.id, before } };
  },
  'POST /v1/executions/{id}/retry': async () => {
    const id = await aFailedExecution();
    const answer = await api.request('POST', `/v1/executions/${id}/retry`);
    const [before, result] = [{ status: 'failed' }, { generation: answer.body.generation }];
    return { answer, entry: { action: 'execution.retry', subject: id, before, result } };
  },
  'POST /v1/events': async () => {
    const answer = await api.request('POST', '/v1/events', {
      type: 'client.create',
      objectId: 12,
      data: { iban: 'DE02120300000000202051' },
    });
    const after = { type: 'client.create', objectId: 12 };
    return { answer, entry: { action: 'event.publish', after, result: { eventId: answer.body.id } } };
  },
  'PUT /v1/event-types/{name}': async () => {
    const answer = await api.request('PUT', '/v1/event-types/crm.merged', anEventTypeInput());
    const after = { name: 'crm.merged', version: 1, validation: 'warn', custom: { label: 'CRM: merged' } };
    return { answer, entry: { action: 'event-type.put', subject: 'crm.merged', before: null, after } };
  },
  'DELETE /v1/event-types/{name}': async () => {
    await api.request('PUT', '/v1/event-types/client.create', { validation: 'strict' });
    const answer = await api.request('DELETE', '/v1/event-types/client.create');
    const before = { validation: 'strict', custom: null };
    return { answer, entry: { action: 'event-type.delete', subject: 'client.create', before, after: null } };
  },
  'POST /v1/dead-letters/redrive': async () => {
    const id = randomUUID();
    const answer = await api.request('POST', '/v1/dead-letters/redrive', { ids: [id] });
    const result = { redriven: 0, notFound: [id], unsent: [] };
    return { answer, entry: { action: 'dead-letters.redrive', after: { ids: [id] }, result } };
  },
};

describe('the audit trail', () => {
  it('knows every route that does something', async () => {
    const { body } = await api.request('GET', '/v1/openapi.json');
    const routes = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods)
        .filter((method) => method !== 'get')
        .map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.toSorted()).toEqual([...lookingRoutes, ...Object.keys(changes)].toSorted());
  });

  it.each(Object.entries(changes))('has what %s did, by whom and from where', async (_, make) => {
    const { answer, entry } = await make();
    expect(answer.status).toBeLessThan(300);
    expect((await readAudit())[0]).toMatchObject({
      ...entry,
      by: machine('')['sub'],
      ip: sourceIp,
      outcome: 'done',
    });
  });

  it('has what was refused', async () => {
    const { id } = await api.create({ status: 'archived' });
    await api.request('POST', `/v1/executions/${await aFailedExecution()}/retry`);
    const before = await readAudit();
    const conflict = await api.request(
      'POST',
      '/v1/events',
      { type: 'a.b' },
      {
        headers: { 'idempotency-key': 'k1' },
      },
    );
    expect(conflict.status).toBe(202);
    expect((await readAudit()).length).toBe(before.length + 1);
    // What is not even a request for a change is none.
    fieldsOf(await api.request('POST', `/v1/handlers/${id}/enable`), 409);
    fieldsOf(await api.request('PATCH', `/v1/handlers/${id}`, { name: '' }), 400);
    fieldsOf(await api.request('DELETE', '/v1/handlers/h_nobody'), 404);
    expect((await readAudit()).length).toBe(before.length + 1);
  });

  it('has a repeat of a request once', async () => {
    const send = () =>
      api.request('POST', '/v1/events', { type: 'a.b' }, { headers: { 'idempotency-key': 'k2' } });
    await send();
    const { headers } = await send();
    expect(headers.get('idempotency-replayed')).toBe('true');
    expect((await readAudit()).filter(({ action }) => action === 'event.publish')).toHaveLength(1);
  });

  // DynamoDB refuses these as numbers; the request ended with 500.
  it.each([2 ** 64, 1e-200, 1e300, 0.1])('has an event about the object %d', async (objectId) => {
    const { status } = await api.request('POST', '/v1/events', { type: 'a.b', objectId });
    expect(status).toBe(202);
    expect((await readAudit())[0]?.after).toEqual({ type: 'a.b', objectId: String(objectId) });
  });

  it('has nothing of what only looks', async () => {
    const { id } = await api.create();
    const before = await readAudit();
    await api.request('POST', `/v1/handlers/${id}/recover`, { ...range(), dryRun: true });
    await api.request('POST', '/v1/handlers/test', { handler: aHandlerInput(), send: false });
    await api.request('POST', '/v1/filters/test', { filter: { a: [1] }, event: { a: 1 } });
    await api.request('GET', `/v1/handlers/${id}`);
    expect(await readAudit()).toEqual(before);
  });

  it('is read a page at a time', async () => {
    for (let index = 0; index < 5; index++) await api.create({ name: `n${index}` });
    const names: unknown[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const { body }: Answer = await api.request(
        'GET',
        `/v1/audit?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
      );
      names.push(...(body.items as { after: { name: string } }[]).map(({ after }) => after.name));
      cursor = body.nextCursor as string | null;
    }
    expect(names).toEqual(['n4', 'n3', 'n2', 'n1', 'n0']);
    expect(fieldsOf(await api.request('GET', '/v1/audit?cursor=x'), 400)).toEqual(['cursor']);
  });
});
