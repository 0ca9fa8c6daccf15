import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createDeadLetters, type DeadLetter } from '../../../../shared/dead-letters/dead-letters.ts';
import { drainDeadLetters } from '../../../../shared/dead-letters/drain.ts';
import { createSqs } from '../../../../shared/aws/clients.ts';
import { startDispatcher } from '../../dispatcher/dispatcher.ts';
import { captureLog } from '../../log-lines.ts';
import { aKeeping } from '../../../support/keeping.ts';
import { fieldsOf, messageOf, startApi, type Api } from '../api.ts';
import { messageFrom } from '../../message.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
let api: Api;
beforeAll(async () => {
  dispatcher = await startDispatcher();
  api = await startApi(dispatcher);
});
// A request ends after some seconds: on a slow machine that must not be here.
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: new Date() }));
afterEach(async () => {
  vi.useRealTimers();
  await dispatcher.clear();
  await api.clear();
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await dispatcher[Symbol.asyncDispose]();
});

/** Stores letters as the dispatcher would, each received a second after the one before. */
async function record(...letters: Partial<DeadLetter>[]): Promise<void> {
  const deadLetters = createDeadLetters({
    dynamo: api.dynamo,
    tableName: api.executionsTable,
    keeping: aKeeping(),
    keptDays: 90,
    now: () => new Date(),
  });
  await Promise.all(
    letters.map((letter, index) =>
      deadLetters.record({
        id: `m${index}`,
        receivedAt: new Date(Date.parse('2026-11-23T10:00:00Z') + index * 1000),
        reason: 'unreadable',
        body: `body ${index}`,
        ...letter,
      }),
    ),
  );
}
const many = (count: number): Partial<DeadLetter>[] => Array.from({ length: count }, () => ({}));

const list = (query = '') => api.request('GET', `/v1/dead-letters${query}`);
const redrive = (body: unknown, app = api.router) =>
  api.request('POST', '/v1/dead-letters/redrive', body, { app });
const listedIds = async (): Promise<string[]> =>
  ((await list('?limit=100')).body.items as { id: string }[]).map(({ id }) => id);
const queued = () => api.queues.events.receive(1000);

describe('GET /v1/dead-letters', () => {
  it('200: newest first, with the reason and the beginning of the body, page by page', async () => {
    await record({}, { body: 'é'.repeat(3000) }, {});
    const first = await list('?limit=2');
    expect(first.status).toBe(200);
    expect(first.body.items).toEqual([
      {
        id: 'm2',
        receivedAt: '2026-11-23T10:00:02.000Z',
        reason: 'unreadable',
        body: 'body 2',
        bodyBytes: 6,
      },
      {
        id: 'm1',
        receivedAt: '2026-11-23T10:00:01.000Z',
        reason: 'unreadable',
        body: 'é'.repeat(2048),
        bodyBytes: 6000,
      },
    ]);
    const second = await list(`?limit=2&cursor=${first.body.nextCursor}`);
    expect(second.body).toMatchObject({ items: [{ id: 'm0' }], nextCursor: null });
  });

  it('200: empty', async () => {
    expect((await list()).body).toEqual({ items: [], nextCursor: null });
  });

  it.each([
    ['?limit=0', ['limit']],
    ['?limit=101', ['limit']],
    ['?limit=x', ['limit']],
    ['?cursor=nonsense', ['cursor']],
    [`?cursor=${'x'.repeat(2049)}`, ['cursor']],
    ['?status=failed', ['status']],
  ])('400: %s', async (query, fields) => {
    expect(fieldsOf(await list(query), 400)).toEqual(fields);
  });
});

describe('POST /v1/dead-letters/redrive', () => {
  it('200: puts those with the ids back on the queue, as they came, and takes them off the list', async () => {
    const large = `"${'é'.repeat(500_000)}`;
    await record({}, { body: large }, {}, {});
    const answer = await redrive({ ids: ['m1', 'm3', 'm1'] });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      redriven: 2,
      notFound: [],
      unsent: [],
      remaining: false,
      nextCursor: null,
    });
    // Said without the bodies: a difference would be printed whole.
    expect(queued().map(({ body, attributes }) => [body === large || body, attributes])).toEqual([
      [true, { sentAt: '2026-11-23T10:00:01.000Z' }],
      ['body 3', { sentAt: '2026-11-23T10:00:03.000Z' }],
    ]);
    expect(await listedIds()).toEqual(['m2', 'm0']);
  });

  it('200: names the ids that it does not know, those that were redriven before too', async () => {
    await record({}, {});
    await redrive({ ids: ['m0'] });
    const unknown = ['m0', 'x'.repeat(128), 'a#b', '\u0000'];
    expect((await redrive({ ids: [...unknown, 'm1'] })).body).toMatchObject({
      redriven: 1,
      notFound: unknown,
    });
    expect(queued()).toHaveLength(2);
  });

  it('200: does not find what has expired', async () => {
    await record({});
    vi.advanceTimersByTime(91 * 86_400_000);
    expect((await redrive({ ids: ['m0'] })).body).toMatchObject({ redriven: 0, notFound: ['m0'] });
    expect((await redrive({ all: true })).body).toMatchObject({ redriven: 0, remaining: false });
    expect(queued()).toEqual([]);
  });

  it('200: takes 100 ids at once', async () => {
    await record(...many(12));
    const ids = Array.from({ length: 100 }, (_, index) => `m${index}`);
    expect((await redrive({ ids })).body).toMatchObject({
      redriven: 12,
      notFound: ids.slice(12),
      unsent: [],
    });
    expect(queued()).toHaveLength(12);
  });

  it('200: puts all back', async () => {
    await record(...many(25));
    expect((await redrive({ all: true })).body).toEqual({
      redriven: 25,
      notFound: [],
      unsent: [],
      remaining: false,
      nextCursor: null,
    });
    expect(queued()).toHaveLength(25);
    expect(await listedIds()).toEqual([]);
    expect((await redrive({ all: true })).body).toMatchObject({ redriven: 0, remaining: false });
  });

  it('200: stops in time, and goes on at its cursor', async () => {
    await record(...many(25));
    api.wire.intercept(({ operation }) => {
      if (operation === 'DeleteItem') vi.advanceTimersByTime(1000);
      return null;
    });
    const first = (await redrive({ all: true })).body;
    expect(first).toMatchObject({ redriven: 10, remaining: true, nextCursor: expect.any(String) as string });
    const ids = ['m14', 'm13', 'm12', 'm11', 'm10', 'm9', 'm8', 'm7', 'm6', 'm5', 'm4', 'm3'];
    expect((await redrive({ ids })).body).toMatchObject({
      redriven: 10,
      unsent: ['m4', 'm3'],
      remaining: false,
    });
    api.wire.reset();
    const rest = await redrive({ all: true, cursor: first.nextCursor });
    expect(rest.body).toMatchObject({ redriven: 5, remaining: false, nextCursor: null });
    expect(await listedIds()).toEqual([]);
  });

  it('200: ends, although letters that fail again are back in the list', async () => {
    await record(...many(20));
    api.wire.intercept(({ operation }) => {
      if (operation === 'DeleteItem') vi.advanceTimersByTime(1000);
      return null;
    });
    let cursor: string | undefined;
    let rounds = 0;
    do {
      const { body } = await redrive({ all: true, ...(cursor !== undefined && { cursor }) });
      await dispatcher.dispatch(queued().map(messageFrom));
      cursor = body.nextCursor ?? undefined;
      rounds++;
    } while (cursor !== undefined && rounds < 10);
    // Twenty in two, and perhaps one more: the letter at the cursor comes back with another id in the same millisecond.
    expect([2, 3]).toContain(rounds);
    expect(await listedIds()).toHaveLength(20);
  });

  it('200: names what the queue does not take, and leaves it in the list', async () => {
    const lines = captureLog();
    await record({}, { body: '' }, {});
    expect((await redrive({ all: true })).body).toMatchObject({
      redriven: 2,
      unsent: ['m1'],
      remaining: false,
    });
    expect(await listedIds()).toEqual(['m1']);
    expect(lines).toMatchObject([{ level: 'ERROR', message: 'dead-letters.unsent' }]);
  });

  it('200: gives up for now when the queue takes nothing', async () => {
    const lines = captureLog();
    await record(...many(25));
    const app = api.open({ EVENTS_QUEUE: api.variables.EVENTS_QUEUE.replace(/events$/u, 'nobody') });
    const { body } = await redrive({ all: true }, app);
    expect(body).toMatchObject({ redriven: 0, remaining: true });
    expect(body.unsent).toHaveLength(10);
    const ids = Array.from({ length: 25 }, (_, index) => `m${index}`);
    expect((await redrive({ ids }, app)).body).toMatchObject({ redriven: 0, unsent: ids, remaining: false });
    expect(lines).toHaveLength(2);
    expect(JSON.stringify(body)).not.toContain('does not exist');
    expect(await listedIds()).toHaveLength(25);
  });

  it('500: sends a letter twice rather than never when it dies before the letter is forgotten', async () => {
    captureLog();
    await record({});
    api.wire.refuse(({ operation }) => operation === 'DeleteItem');
    fieldsOf(await redrive({ ids: ['m0'] }), 500);
    api.wire.reset();
    expect(await listedIds()).toEqual(['m0']);
    expect((await redrive({ ids: ['m0'] })).body).toMatchObject({ redriven: 1 });
    expect(queued()).toHaveLength(2);
  });

  it.each<[string, unknown, string[]]>([
    ['neither', {}, ['body']],
    ['both', { ids: ['m0'], all: true }, ['body']],
    ['no ids', { ids: [] }, ['ids']],
    ['an empty id', { ids: [''] }, ['ids.0']],
    ['a number', { ids: [1] }, ['ids.0']],
    ['a long id', { ids: ['x'.repeat(129)] }, ['ids.0']],
    ['a text', { ids: 'm0' }, ['ids']],
    ['more than 100', { ids: Array.from({ length: 101 }, (_, index) => `m${index}`) }, ['ids']],
    ['not all', { all: false }, ['all']],
    ['a text as all', { all: 'true' }, ['all']],
    ['a cursor that is none', { all: true, cursor: 'nonsense' }, ['cursor']],
    ['ids with a cursor', { ids: ['m0'], cursor: 'x' }, ['cursor']],
    ['an unknown field', { all: true, reason: 'x' }, ['reason']],
    ['no JSON', '{', ['body']],
    ['a list', [], ['body']],
  ])('400: %s', async (_, body, fields) => {
    await record({});
    expect(fieldsOf(await redrive(body), 400)).toEqual(fields);
    expect(await listedIds()).toEqual(['m0']);
    expect(queued()).toEqual([]);
  });

  it('400: says that it must be one of both', async () => {
    expect(messageOf(await redrive({}), 'body')).toBe('must have either ids or all');
  });

  it('413: a body of more than 256 KB', async () => {
    fieldsOf(await redrive({ ids: ['x'.repeat(300_000)] }), 413);
  });
});

describe('an event that nobody could work off', () => {
  it('is buried, drained, listed, redriven, and then has its place in the log by the time when it first came', async () => {
    const handler = await dispatcher.register({ status: 'disabled' });
    const body = JSON.stringify({
      version: '0',
      id: 'e-1',
      'detail-type': 'client.create',
      source: 'billing',
      time: '2020-01-01T00:00:00Z',
      detail: { objectId: 1 },
    });
    await api.queues.eventsDeadLetters.send([{ body, attributes: { sentAt: '2026-11-23T10:20:30.000Z' } }]);
    const sqs = createSqs();
    const queueUrl = api.variables.EVENTS_DEAD_LETTERS_QUEUE;
    const { deadLetters } = dispatcher.coldStart();
    await drainDeadLetters({ sqs, queueUrl, deadLetters, reason: 'It was received 10 times.' });
    sqs.destroy();

    const { items } = (await list()).body;
    expect(items).toMatchObject([
      { receivedAt: '2026-11-23T10:20:30.000Z', reason: 'It was received 10 times.', body },
    ]);
    expect((await redrive({ ids: [items[0].id] })).body).toMatchObject({ redriven: 1 });

    const [message] = queued();
    await dispatcher.dispatch(message === undefined ? [] : [messageFrom(message)]);
    expect(await dispatcher.logOf(handler)).toMatchObject([
      { key: { sk: '2026-11-23T10:00:00.000Z#e-1' }, state: { status: 'held' } },
    ]);
  });
});
