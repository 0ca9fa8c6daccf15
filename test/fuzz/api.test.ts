import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { apiOf } from '../support/api.ts';
import { startPopulatedEngine, type PopulatedEngine } from './populate.ts';
import { runSchemathesis, specProblem } from './schemathesis.ts';
import { startSpoiler, type Spoil } from './spoiler.ts';

// What CI does; docs/testing.md has the longer form.
const { HANDOFF_FUZZ_EXAMPLES: examples, HANDOFF_FUZZ_SEEDS: seeds } = z
  .object({
    HANDOFF_FUZZ_EXAMPLES: z.coerce.number().int().min(1).default(15),
    HANDOFF_FUZZ_SEEDS: z
      .string()
      .default('1')
      .transform((list) => list.split(',').map(Number))
      .pipe(z.array(z.int().min(0))),
  })
  .parse(process.env);

it.each(seeds)('the API answers as it says, whatever it is asked (seed %i)', async (seed) => {
  await using engine = await startPopulatedEngine();

  const { failed, text } = await runSchemathesis(engine.url, {
    dictionaries: engine.dictionaries,
    examples,
    seed,
  });

  expect(failed, text).toBe(false);
  // Whoever is only ever refused has not been tested.
  expect(await routesNeverDone(engine), text).toEqual([]);
});

type AnsweredLine = { message: string; method?: string; path?: string; status?: number };

/**
 * The routes that have not come as far as to do something, by what the API logs of each request. With a 409 they have: recoveries
 * end by themselves, before somebody asks for it.
 */
async function routesNeverDone({ url, linesSince }: PopulatedEngine): Promise<string[]> {
  const { paths } = await apiOf(url).get<{ paths: Record<string, object> }>('/v1/openapi.json');
  // Where two fit, the one without a parameter is meant: `/v1/handlers/test`.
  const patterns = Object.keys(paths)
    .toSorted((a, b) => Number(a.includes('{')) - Number(b.includes('{')))
    .map((path) => ({ path, pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/gu, '[^/]+')}$`, 'u') }));
  const done = new Set(
    linesSince().map((line) => {
      const { message, method, path = '', status = 0 } = JSON.parse(line) as AnsweredLine;
      if (message !== 'request.answered' || (status >= 300 && status !== 409)) return '';
      return `${method} ${patterns.find(({ pattern }) => pattern.test(path))?.path}`;
    }),
  );
  return Object.entries(paths)
    .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`))
    .filter((route) => !done.has(route));
}

describe('what is wrong with a document or an answer', () => {
  let engine: PopulatedEngine;
  beforeAll(async () => {
    engine = await startPopulatedEngine();
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  it('is that the document is no OpenAPI 3.1', async () => {
    const document = await apiOf(engine.url).get<{ paths: object }>('/v1/openapi.json');

    expect(await specProblem(document)).toBeNull();
    expect(await specProblem({ ...document, paths: { '/v1/x': { get: { responses: 1 } } } })).toContain(
      'paths',
    );
  });

  // Without these nothing would say that the first test can find anything.
  const jsonOf = (body: string) => JSON.parse(body) as Record<string, unknown>;
  it.each<[what: string, spoil: Spoil, found: string | null]>([
    ['nothing', (answer) => answer, null],
    ['a 500', (answer) => ({ ...answer, status: 500 }), 'Server error'],
    ['a status that is not documented', (answer) => ({ ...answer, status: 418 }), 'Undocumented status code'],
    [
      'another content type',
      (answer) => ({ ...answer, headers: { ...answer.headers, 'content-type': 'text/html' } }),
      'Undocumented Content-Type',
    ],
    [
      'a field too many',
      (answer) => ({ ...answer, body: JSON.stringify({ ...jsonOf(answer.body), internal: true }) }),
      'Response violates schema',
    ],
    [
      'a field that is missing',
      (answer) => ({ ...answer, body: JSON.stringify({ items: jsonOf(answer.body)['items'] }) }),
      'Response violates schema',
    ],
  ])('is noticed: %s', async (_, spoil, found) => {
    await using spoiler = await startSpoiler(engine.url, { path: '/v1/scripts', spoil });

    const { failed, text } = await runSchemathesis(spoiler.url, {
      dictionaries: engine.dictionaries,
      examples: 5,
      seed: 1,
      only: '^/v1/scripts$',
    });

    expect(failed, text).toBe(found !== null);
    if (found !== null) expect(text).toContain(found);
  });
});
