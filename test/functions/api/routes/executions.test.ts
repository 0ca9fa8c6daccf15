import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import packageJson from '../../../../package.json' with { type: 'json' };
import { encodeExecutionId } from '../../../../shared/executions/key.ts';
import { anEvent, anExecution } from '../../../support/builders.ts';
import { startReceiver } from '../../../support/http-server.ts';
import { aMessage, startDispatcher } from '../../dispatcher/dispatcher.ts';
import { fieldsOf, startApi, type Api, type Body } from '../api.ts';
import { logExecutions } from '../execution-log.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
let api: Api;
beforeAll(async () => {
  dispatcher = await startDispatcher();
  api = await startApi(dispatcher);
});
afterEach(async () => {
  await api.clear();
  await dispatcher.clear();
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await dispatcher[Symbol.asyncDispose]();
});

const list = async (query: string): Promise<Body> => {
  const { status, body } = await api.request('GET', `/v1/executions${query}`);
  expect(status).toBe(200);
  return body;
};
const only = async (query = ''): Promise<Body> => {
  const { items } = await list(query);
  expect(items).toHaveLength(1);
  return items[0];
};

describe('GET /v1/executions/{id}', () => {
  it('200: shows the numbers of the event as they came', async () => {
    await api.create();
    const data = '{"big":12345678901234567890,"rate":1.50,"most":1e400}';
    const event = anEvent({ detail: { objectId: 12, data: 'here' } }).replace('"here"', data);
    await dispatcher.dispatch([aMessage({ body: event })]);
    const { id } = await only();
    expect((await api.request('GET', `/v1/executions/${id}`)).text).toContain(`"eventBody":${event}`);
  });

  it('200: shows a delivery as it was made, all but its signature', async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(500).end('broken'));
    const handler = await api.create({
      name: 'Ledger',
      target: { type: 'http', url: `${receiver.url}/hook?a=1`, method: 'PUT', headers: { 'X-Tenant': '7' } },
    });
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const event = anEvent({ id: 'e-1', detail: { objectId: 'c-12', data: { name: 'Ädä' }, traceparent } });
    await dispatcher.dispatch([aMessage({ body: event })]);

    const summary = await only();
    const { status, body } = await api.request('GET', `/v1/executions/${summary.id}`);
    expect(status).toBe(200);
    const { startedAt, durationMs, nextAttemptAt } = body;
    expect(body).toEqual({
      id: summary.id,
      handlerId: handler.id,
      handlerName: 'Ledger',
      eventId: 'e-1',
      event: 'client.create',
      eventTime: '2026-11-23T10:00:00.000Z',
      objectId: 'c-12',
      warnings: expect.arrayContaining(['data.id is missing', 'and 2 more']) as string[],
      status: 'waiting',
      reason: 'retry',
      generation: 1,
      attemptCount: 1,
      nextAttemptAt,
      startedAt,
      durationMs,
      statusCode: 500,
      error: 'http: status 500',
      eventBody: JSON.parse(event) as unknown,
      request: {
        type: 'http',
        method: 'PUT',
        url: `${receiver.url}/hook?a=1`,
        headers: {
          'X-Tenant': '7',
          'content-type': 'application/json',
          'user-agent': `Handoff/${packageJson.version}`,
          'webhook-id': `e-1_${handler.id}`,
          'webhook-timestamp': String(Math.floor(Date.parse(startedAt as string) / 1000)),
          'webhook-signature': '***',
          traceparent,
        },
        format: 'standard',
        transform: null,
        body: receiver.requests[0]?.body,
        error: null,
      },
      attempts: [
        {
          number: 1,
          at: startedAt,
          durationMs,
          statusCode: 500,
          error: 'http: status 500',
          response: 'broken',
          output: null,
        },
      ],
    });
    const { eventBody: _, request: _request, attempts: _attempts, ...common } = body;
    expect(common).toEqual(summary);
  });

  it('200: shows no request where no call was made', async () => {
    await api.create({ status: 'disabled' });
    await dispatcher.dispatch([aMessage()]);
    const { body } = await api.request('GET', `/v1/executions/${(await only()).id}`);
    expect(body).toMatchObject({
      status: 'held',
      reason: 'disabled',
      attemptCount: 0,
      attempts: [],
      request: null,
      durationMs: null,
      statusCode: null,
      error: null,
      nextAttemptAt: null,
    });
  });

  it('404: for one that is not there, and for what is no id', async () => {
    const absent = encodeExecutionId({ pk: 'h_1234567890abcdef#0', sk: '2026-11-23T10:00:00.000Z#e-1' });
    const texts = ['HOURS#0#2026-11-23T10', 'DEAD_LETTER#1#2026-11-23T10:00:00.000Z#m', '#', ''];
    const forged = texts.map((text) => `x_${Buffer.from(text).toString('base64url')}`);
    for (const id of [absent, ...forged, 'nonsense', 'x_', 'x_%00', 'h_1234567890abcdef']) {
      fieldsOf(await api.request('GET', `/v1/executions/${id}`), 404);
    }
  });

  it('400: for an id that is longer than any', async () => {
    expect(fieldsOf(await api.request('GET', `/v1/executions/x_${'A'.repeat(3000)}`), 400)).toEqual(['id']);
  });
});

describe('GET /v1/executions', () => {
  const at = (minute: number) => `2026-11-23T10:${String(minute).padStart(2, '0')}:00.000Z`;
  const eventIdsOf = ({ items }: Body) => (items as { eventId: string }[]).map(({ eventId }) => eventId);

  it('200: newest first, over all handlers and over one', async () => {
    const handlerIds = ['h_aaaaaaaaaaaaaaaa', 'h_bbbbbbbbbbbbbbbb'];
    const records = Array.from({ length: 30 }, (_, index) =>
      anExecution({
        handlerId: handlerIds[index % 2] ?? '',
        eventId: `e-${index}`,
        time: at(index),
      }),
    );
    await logExecutions(api, records);
    const newestFirst = Array.from({ length: 30 }, (_, index) => `e-${29 - index}`);

    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page: Body = await list(`?limit=7${cursor === null ? '' : `&cursor=${cursor}`}`);
      seen.push(...eventIdsOf(page));
      cursor = page.nextCursor as string | null;
    } while (cursor !== null);
    expect(seen).toEqual(newestFirst);
    expect(eventIdsOf(await list(`?handlerId=${handlerIds[0]}&limit=100`))).toEqual(
      newestFirst.filter((_, index) => index % 2 === 1),
    );
    expect(eventIdsOf(await list(''))).toHaveLength(20);
  });

  it('200: filtered by status, event, event id and time', async () => {
    const common = { handlerId: 'h_aaaaaaaaaaaaaaaa' };
    await logExecutions(api, [
      anExecution({ ...common, eventId: 'a', time: at(1) }),
      anExecution({ ...common, eventId: 'b', time: at(2), type: 'client.update' }),
      anExecution({ ...common, eventId: 'c', time: at(3), state: { status: 'failed' } }),
      anExecution({ ...common, eventId: 'd', time: at(4), state: { status: 'held', reason: 'disabled' } }),
      anExecution({ ...common, eventId: 'e', time: at(5), state: { status: 'waiting', reason: 'circuit' } }),
    ]);
    const lists = {
      'status=failed': ['c'],
      'status=held': ['d'],
      'status=waiting': ['e'],
      'reason=disabled': ['d'],
      'reason=circuit': ['e'],
      'reason=retry': [],
      'status=waiting&reason=circuit': ['e'],
      'status=held&reason=circuit': [],
      'event=client.update': ['b'],
      'eventId=a': ['a'],
      'eventId=zzz': [],
      [`from=${at(3)}`]: ['e', 'd', 'c'],
      [`to=${at(2)}`]: ['b', 'a'],
      [`from=${at(2)}&to=${at(3)}`]: ['c', 'b'],
      'from=2026-11-23T12:02:00%2B02:00&to=2026-11-23T10:03:00Z': ['c', 'b'],
      'from=2031-01-01T00:00:00Z': [],
      'handlerId=h_bbbbbbbbbbbbbbbb': [],
      'handlerId=': [],
      'event=': [],
      'eventId=b&status=succeeded': ['b'],
      'eventId=b&status=failed': [],
    };
    for (const [query, eventIds] of Object.entries(lists)) {
      const page = await list(`?${query}`);
      expect([query, eventIdsOf(page)]).toEqual([query, eventIds]);
      expect(page.nextCursor).toBe(null);
      if (query.startsWith('handlerId')) continue;
      expect(eventIdsOf(await list(`?handlerId=${common.handlerId}&${query}`))).toEqual(eventIds);
    }
  });

  /** Executions one minute apart, newest first: `a` is the last minute's. */
  async function logBodies(bodies: Record<string, { detail: unknown; error?: string; raw?: string }>) {
    const newest = Date.now() - 60_000;
    const records = Object.entries(bodies).map(([eventId, { detail, error = null, raw }], index) => {
      const time = new Date(newest - index * 60_000).toISOString();
      const record = anExecution({
        eventId,
        time,
        ...(error !== null && { state: { status: 'failed' } }),
        attempts: anExecution().attempts.map((attempt) => ({ ...attempt, error })),
      });
      const event = anEvent({ id: eventId, time, detail });
      const { objectId = null } = detail as { objectId?: string | number | null };
      return { ...record, event: { ...record.event, objectId, raw: raw ?? event } };
    });
    await logExecutions(api, records);
  }

  it('200: those of one object, be its id a number or text', async () => {
    await logBodies({
      a: { detail: { objectId: 12 } },
      b: { detail: { objectId: '12' } },
      c: { detail: { objectId: 'client 12' } },
      d: { detail: { objectId: 120 } },
      e: { detail: { objectId: '9007199254740993' } },
      f: { detail: {} },
    });
    const lists = {
      '12': ['a', 'b'],
      'client+12': ['c'],
      '120': ['d'],
      '9007199254740993': ['e'],
      '012': [],
      '12.0': [],
      null: [],
      NaN: [],
    };
    for (const [objectId, eventIds] of Object.entries(lists)) {
      const page = await list(`?objectId=${objectId}`);
      expect([objectId, eventIdsOf(page)]).toEqual([objectId, eventIds]);
      expect(page).not.toHaveProperty('searchedBackTo');
    }
  });

  it('200: those whose last error contains a text, in any case', async () => {
    await logBodies({
      a: { detail: {}, error: 'tls: certificate has expired' },
      b: { detail: {}, error: 'timeout: NO answer in 10000 ms' },
      c: { detail: { note: 'certificate has expired' } },
    });
    const lists = {
      CERTIFICATE: ['a'],
      'no+answer': ['b'],
      ':+': ['a', 'b'],
      note: [],
      'no+answer&status=failed': ['b'],
      'no+answer&status=succeeded': [],
      'no+answer&handlerId=h_none': [],
    };
    for (const [query, eventIds] of Object.entries(lists)) {
      expect([query, eventIdsOf(await list(`?error=${query}`))]).toEqual([query, eventIds]);
    }
  });

  it('200: those whose detail contains a text, in any case and however it was written', async () => {
    const name = 'Ädä "the first" O\\Neil';
    // As an upstream that escapes all that it may would write it.
    const escaped = JSON.stringify({ name }).replace('Ädä', '\\u00c4d\\u00e4');
    const raw = anEvent({ id: 'b', detail: 0 }).replace('"detail":0', `"detail" : ${escaped}`);
    await logBodies({
      a: { detail: { name, filler: 'x'.repeat(20_000) } },
      b: { detail: { name }, raw },
      c: { detail: { data: { balance: '12.5000', tags: ['VIP'] } } },
      d: { detail: { line: 'one\ntwo' }, error: 'vip' },
    });
    const lists: [text: string, eventIds: string[]][] = [
      ['ÄDÄ', ['a', 'b']],
      ['the first" o\\neil', ['a', 'b']],
      ['"name":"Ädä', ['a', 'b']],
      ['x'.repeat(200), ['a']],
      ['"12.5000"', ['c']],
      ['vip', ['c']],
      ['["VIP"]', ['c']],
      ['one\ntwo', ['d']],
      // Not in the detail: the envelope's.
      ['detail-type', []],
      ['client.create', []],
    ];
    for (const [text, eventIds] of lists) {
      expect([text, eventIdsOf(await list(`?data=${encodeURIComponent(text)}`))]).toEqual([text, eventIds]);
    }
    expect(eventIdsOf(await list('?data=vip&objectId=12'))).toEqual([]);
    expect(eventIdsOf(await list('?data=one&error=vip'))).toEqual(['d']);
  });

  it('200: searches in texts go back a day, and say so, unless they are told how far', async () => {
    const hour = 3_600_000;
    const ago = (hours: number) => new Date(Date.now() - hours * hour).toISOString();
    await logExecutions(api, [
      anExecution({ eventId: 'new', time: ago(1) }),
      anExecution({ eventId: 'old', time: ago(25) }),
    ]);
    const back = async (query: string) => {
      const page = await list(`?data=Ada${query}`);
      const { searchedBackTo } = page as { searchedBackTo?: string };
      return {
        found: eventIdsOf(page),
        hours: searchedBackTo && Math.round((Date.now() - Date.parse(searchedBackTo)) / hour),
        nextCursor: page.nextCursor as unknown,
      };
    };
    const end = { nextCursor: null };
    expect(await back('')).toEqual({ found: ['new'], hours: 24, ...end });
    expect(await back(`&to=${ago(-5)}`)).toEqual({ found: ['new'], hours: 24, ...end });
    expect(await back(`&to=${ago(2)}`)).toEqual({ found: ['old'], hours: 26, ...end });
    expect(await back(`&from=${ago(30)}`)).toEqual({ found: ['new', 'old'], hours: undefined, ...end });
    expect(await back('&handlerId=h_1234567890abcdef')).toEqual({ found: ['new'], hours: 24, ...end });
    expect(await back('&status=waiting')).toEqual({ found: [], hours: 24, ...end });
  });

  const cursorOf = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

  it.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=abc', 'limit'],
    ['status=gone', 'status'],
    ['reason=gone', 'reason'],
    ['from=yesterday', 'from'],
    ['to=2026-11-23', 'to'],
    ['from=9999-12-31T23:59:59-10:00', 'from'],
    ['to=0000-01-01T00:00:00%2B10:00', 'to'],
    [`from=${at(3)}&to=${at(2)}`, 'from'],
    ['cursor=nonsense', 'cursor'],
    [`cursor=${cursorOf(null)}`, 'cursor'],
    [`cursor=${cursorOf(['a'])}`, 'cursor'],
    [`handlerId=${'x'.repeat(3000)}`, 'handlerId'],
    [`event=${'x'.repeat(3000)}`, 'event'],
    [`eventId=${'x'.repeat(3000)}`, 'eventId'],
    ['objectid=12', 'objectid'],
    ['objectId=', 'objectId'],
    [`objectId=${'x'.repeat(257)}`, 'objectId'],
    ['error=', 'error'],
    [`error=${'x'.repeat(201)}`, 'error'],
    ['data=', 'data'],
    [`data=${'x'.repeat(201)}`, 'data'],
    ['data=a&data=b', 'data'],
  ])('400: for %s', async (query, field) => {
    await logExecutions(api, [anExecution()]);
    expect(fieldsOf(await api.request('GET', `/v1/executions?${query}`), 400)).toEqual([field]);
  });

  it.each([
    cursorOf(['', '']),
    cursorOf(['', '2026-11-23T10:30:00.000Z#e']),
    cursorOf(['h_1234567890abcdef#0', 'zzz']),
    cursorOf(['h_1234567890abcdef#0', `2026-11-23T10:30:00.000Z#${'e'.repeat(1400)}`]),
    cursorOf([`h_${'x'.repeat(1400)}`, '2026-11-23T10:30:00.000Z#e']),
  ])('never breaks on a forged cursor: %s', async (cursor) => {
    const handlerId = 'h_1234567890abcdef';
    await logExecutions(api, [anExecution({ handlerId })]);
    for (const filter of [
      '',
      `handlerId=${handlerId}&`,
      'status=held&',
      `handlerId=${handlerId}&status=held&`,
    ]) {
      const query = `${filter}cursor=${cursor}`;
      expect([200, 400]).toContain((await api.request('GET', `/v1/executions?${query}`)).status);
    }
  });
});
