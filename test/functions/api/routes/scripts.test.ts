import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { captureLog } from '../../log-lines.ts';
import { fieldsOf, startApi, type Api, type Body } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const list = (query = '', app = api.router) => api.request('GET', `/v1/scripts${query}`, undefined, { app });

describe('GET /v1/scripts', () => {
  it('200: by name, with language and description', async () => {
    const answer = await list();
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      items: [
        { name: 'mail', language: 'typescript', description: 'Sends a mail' },
        { name: 'rates-sync', language: 'python', description: 'Hands rates on' },
      ],
      nextCursor: null,
    });
  });

  it('200: none, when the deployment has none', async () => {
    const asked = api.lambdas.asked().length;
    expect((await list('', api.open({ SCRIPTS: '' }))).body).toEqual({ items: [], nextCursor: null });
    expect(api.lambdas.asked()).toHaveLength(asked);
  });

  it('200: page by page, each script once; asks Lambda for those of the page alone', async () => {
    const names = Array.from({ length: 23 }, (_, index) => `s-${String(index).padStart(2, '0')}`);
    api.lambdas.deploy(
      Object.fromEntries(names.map((name) => [`handoff-${name}`, { Runtime: 'nodejs24.x' }])),
    );
    const app = api.open({ SCRIPTS: names.toReversed().join(',') });
    for (const limit of [1, 5, 23, 100]) {
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const query: string = cursor === null ? `?limit=${limit}` : `?limit=${limit}&cursor=${cursor}`;
        const { body }: { body: Body } = await list(query, app);
        expect(body.items.length).toBeLessThanOrEqual(limit);
        seen.push(...body.items.map(({ name }: Body) => name as string));
        cursor = body.nextCursor as string | null;
      } while (cursor !== null);
      expect(seen).toEqual(names);
    }
    const other = api.open({ SCRIPTS: names.join(',') });
    const asked = api.lambdas.asked().length;
    await list('?limit=2', other);
    expect(api.lambdas.asked().slice(asked).toSorted()).toEqual(['handoff-s-00', 'handoff-s-01']);
  });

  it('200: goes on after a script that another deployment left out', async () => {
    const { body } = await list('?limit=1');
    const later = await list(`?cursor=${body.nextCursor}`, api.open({ SCRIPTS: 'rates-sync' }));
    expect(later.body.items.map(({ name }: Body) => name as string)).toEqual(['rates-sync']);
  });

  it('500: in neutral words, when the Lambda of a script is missing; the log names it', async () => {
    api.lambdas.deploy({});
    const lines = captureLog();
    const answer = await list('', api.open());
    fieldsOf(answer, 500);
    expect(JSON.stringify(answer.body)).not.toMatch(/mail|Lambda/u);
    expect(lines).toMatchObject([
      {
        message: 'request.failed',
        error: { message: expect.stringMatching(/script "(mail|rates-sync)"/u) as string },
      },
    ]);
  });

  it.each([
    ['limit=0', 'limit'],
    ['cursor=nonsense', 'cursor'],
    ['cursor=MTI', 'cursor'],
    ['q=mail', 'q'],
  ])('400: for %s', async (query, field) => {
    expect(fieldsOf(await list(`?${query}`), 400)).toEqual([field]);
  });
});
