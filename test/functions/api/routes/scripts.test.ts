import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { captureLog } from '../../log-lines.ts';
import { startLambdaConfigurations } from '../../../support/lambda-configurations.ts';
import { fieldsOf, scripts, startApi, type Api, type Body } from '../api.ts';

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
      items: scripts.map(({ name, language, description }) => ({ name, language, description })),
      nextCursor: null,
    });
    const languages = answer.body.items.map(({ language }: Body) => language as string);
    expect(new Set(languages)).toEqual(new Set(['typescript', 'python']));
  });

  it('200: none, when the deployment has none', async () => {
    expect((await list('', api.open({ SCRIPTS: '' }))).body).toEqual({ items: [], nextCursor: null });
  });

  it('200: page by page, each script once; asks Lambda for those of the page alone', async () => {
    const names = Array.from({ length: 23 }, (_, index) => `s-${String(index).padStart(2, '0')}`);
    await using lambdas = await startLambdaConfigurations(
      Object.fromEntries(names.map((name) => [`s-${name}`, { Runtime: 'nodejs24.x' }])),
    );
    const settings = { SCRIPTS: names.toReversed().join(','), SCRIPT_FUNCTION_PREFIX: 's-' };
    const app = api.open(settings);
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
    const other = api.open(settings);
    const asked = lambdas.asked().length;
    await list('?limit=2', other);
    expect(lambdas.asked().slice(asked).toSorted()).toEqual(['s-s-00', 's-s-01']);
  });

  it('200: goes on after a script that another deployment left out', async () => {
    const { body } = await list('?limit=1');
    expect(body.items.map(({ name }: Body) => name as string)).toEqual(['balance-guard']);
    const later = await list(`?cursor=${body.nextCursor}`, api.open({ SCRIPTS: 'rates-handoff' }));
    expect(later.body.items.map(({ name }: Body) => name as string)).toEqual(['rates-handoff']);
  });

  it('500: in neutral words, when the Lambda of a script is missing; the log names it', async () => {
    const lines = captureLog();
    const answer = await list('', api.open({ SCRIPTS: 'balance-guard,gone' }));
    fieldsOf(answer, 500);
    expect(JSON.stringify(answer.body)).not.toMatch(/gone|Lambda/u);
    const message =
      'The script "gone" belongs to this deployment, but there is no Lambda "handoff-script-gone".';
    expect(lines).toMatchObject([{ message: 'request.failed', error: { message } }]);
  });

  it.each([
    ['limit=0', 'limit'],
    ['cursor=nonsense', 'cursor'],
    ['cursor=MTI', 'cursor'],
    ['q=rates', 'q'],
  ])('400: for %s', async (query, field) => {
    expect(fieldsOf(await list(`?${query}`), 400)).toEqual([field]);
  });
});
