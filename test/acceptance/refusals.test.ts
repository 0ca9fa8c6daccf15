import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { connect, lacks, type System } from './system.ts';

type Problem = { status: number; errors?: { field: string; message: string }[] };

let system: System;

beforeAll(() => {
  system = connect();
});

afterAll(() => system.close());

async function call(
  method: string,
  path: string,
  init: { body?: string; headers?: Record<string, string> } = {},
) {
  const response = await system.send(path, { method, ...init });
  const text = await response.text();
  return { response, problem: (text === '' ? {} : JSON.parse(text)) as Problem };
}

const handler = (changes: object) => ({
  name: 'refused',
  events: ['client.create'],
  target: { type: 'http', url: 'https://crm.example/hook' },
  ...changes,
});
const target = (changes: object) =>
  handler({ target: { type: 'http', url: 'https://crm.example/hook', ...changes } });

describe('a bad handler', () => {
  it.each<[string, object, string]>([
    ['an event name that cannot be', handler({ events: ['Client Create'] }), 'events.0'],
    ['an unknown built-in event', handler({ events: ['client.creat'] }), 'events.0'],
    ['a "before" event', handler({ events: ['before.client.create'] }), 'events.0'],
    ['no events', handler({ events: [] }), 'events'],
    ['ftp://', target({ url: 'ftp://crm.example/' }), 'target.url'],
    ['a URL without a scheme', target({ url: '120.0.0.1:5000/api' }), 'target.url'],
    ['priority 0', handler({ priority: 0 }), 'priority'],
    ['priority 1.5', handler({ priority: 1.5 }), 'priority'],
    ['a name of 300 characters', handler({ name: 'x'.repeat(300) }), 'name'],
    ['a description of 20 kB', handler({ description: 'x'.repeat(20_000) }), 'description'],
    ['an unknown field', handler({ colour: 'red' }), 'colour'],
    ['a line break in a header', target({ headers: { 'x-a': 'b\r\nc: d' } }), 'target.headers.x-a'],
    ['a metadata address', target({ url: 'https://169.254.169.254/latest' }), 'target.url'],
    ['a private IPv6 address', target({ url: 'https://[fd00::1]/' }), 'target.url'],
    ['a transform that is not JSONata', handler({ transform: 'detail.(' }), 'transform'],
  ])('with %s is a 400 that names the field', async (_, body, field) => {
    const { response, problem } = await call('POST', '/v1/handlers', { body: JSON.stringify(body) });

    expect(response.status).toBe(400);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(problem.errors?.map((error) => error.field)).toContain(field);
  });

  it('with a key that would reach a prototype is a 400', async () => {
    const body = JSON.stringify(handler({})).replace('"name"', '"__proto__":{"isAdmin":true},"name"');
    const { response, problem } = await call('POST', '/v1/handlers', { body });

    expect(response.status).toBe(400);
    expect(problem.errors?.map((error) => error.field)).toContain('__proto__');
  });
});

describe('the API', () => {
  it('lets nobody in without credentials', async () => {
    const response = await fetch(`${system.apiUrl}/v1/handlers`);

    expect(response.status).toBe(401);
  });

  it.each([
    ['another token', 'Bearer nobody'],
    ['another scheme', 'Basic dGVzdA=='],
  ])('lets nobody in with %s', async (_, authorization) => {
    const response = await fetch(`${system.apiUrl}/v1/handlers`, { headers: { authorization } });

    expect(response.status).toBe(401);
  });

  it('answers 400 to a body that is no JSON, 404 to an unknown id, 405 to a wrong method', async () => {
    expect((await call('POST', '/v1/handlers', { body: '{"name":' })).response.status).toBe(400);
    expect((await call('GET', '/v1/handlers/h_unknown')).response.status).toBe(404);
    expect((await call('GET', '/v1/executions/x_unknown')).response.status).toBe(404);
    const { response } = await call('DELETE', '/v1/handlers');
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toContain('GET');
  });

  it('lets one of two edits at once win', async () => {
    const { id } = await system.createHandler({ events: ['client.create'], url: 'https://crm.example/hook' });
    const edit = (name: string) =>
      call('PATCH', `/v1/handlers/${id}`, { body: JSON.stringify({ name }), headers: { 'if-match': '"1"' } });

    const answers = await Promise.all([edit('one'), edit('two')]);

    expect(answers.map(({ response }) => response.status).toSorted()).toEqual([200, 412]);
  });
});

describe('PutEvents', () => {
  it.skipIf(lacks('checks of PutEvents'))(
    'takes the good entries and answers an error code for each bad one',
    async () => {
      const good = {
        EventBusName: system.busName,
        Source: 'acceptance',
        DetailType: 'acceptance.entry',
        Detail: '{}',
      };

      const { FailedEntryCount, Entries } = await system.upstream.send(
        new PutEventsCommand({
          Entries: [
            good,
            { ...good, Detail: '[1]' },
            { ...good, Detail: '{"a":' },
            { ...good, DetailType: undefined },
          ],
        }),
      );

      expect(FailedEntryCount).toBe(3);
      expect(Entries?.map(({ EventId, ErrorCode }) => ErrorCode ?? typeof EventId)).toEqual([
        'string',
        'MalformedDetail',
        'MalformedDetail',
        'InvalidArgument',
      ]);
    },
  );

  it('refuses a call with more than ten entries', async () => {
    const entry = {
      EventBusName: system.busName,
      Source: 'acceptance',
      DetailType: 'acceptance.entry',
      Detail: '{}',
    };

    await expect(
      system.upstream.send(new PutEventsCommand({ Entries: Array.from({ length: 11 }, () => entry) })),
    ).rejects.toThrow(/10/u);
  });
});
