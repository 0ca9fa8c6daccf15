import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorized, machine } from '../functions/api/authorized.ts';
import { findScripts } from '../../shared/scripts/find-scripts.ts';

const run = promisify(execFile);

const root = fileURLToPath(new URL('../..', import.meta.url));
const scripts = findScripts(join(root, 'functions/scripts'));

const ours = [
  'ApiManageFunction',
  'DispatcherDispatchFunction',
  'RetriesRetryFunction',
  'RetriesSweepFunction',
];
// They have the process that transforms run in beside them.
const withTransforms = ours.filter((id) => id !== 'RetriesSweepFunction');
const idOf = (script: string) => `Scripts${script.replaceAll('-', '')}Function`;

describe('the bundles', () => {
  let folder: string;
  // The folder of the code by the id of the function, without the hash at its end.
  let bundles: Record<string, string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'handoff-bundles-'));
    // As the cdk command does it, and without anything of AWS in the environment.
    await run(process.execPath, ['cdk/app.ts'], {
      cwd: root,
      env: { PATH: process.env['PATH'], CDK_OUTDIR: folder },
    });
    const template = JSON.parse(await readFile(join(folder, 'Handoff.template.json'), 'utf8')) as Template;
    bundles = Object.fromEntries(
      Object.entries(template.Resources)
        .filter(([, { Type }]) => Type === 'AWS::Lambda::Function')
        .map(([id, { Properties }]) => [
          id.slice(0, -8),
          join(folder, `asset.${Properties.Code.S3Key.replace('.zip', '')}`),
        ]),
    );
  }, 120_000);

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('are those of our functions and of the scripts, and nothing beside them', () => {
    expect(Object.keys(bundles).toSorted()).toEqual(
      [...ours, ...scripts.map(({ name }) => idOf(name))].toSorted(),
    );
  });

  it.each([
    ...ours,
    ...scripts.filter(({ language }) => language === 'typescript').map(({ name }) => idOf(name)),
  ])(
    'are one file (and what transforms run in), which loads in Node without a setting, a word or anything left running: %s',
    async (id) => {
      const bundle = bundles[id] ?? '';
      expect((await readdir(bundle)).toSorted()).toEqual([
        'index.mjs',
        ...(withTransforms.includes(id) ? ['transform-process.mjs', 'transform-worker.mjs'] : []),
      ]);
      const path = join(bundle, 'index.mjs');
      const { size } = await stat(path);
      process.stdout.write(`${id}: ${Math.round(size / 1000)} kB\n`);
      // Lambda parses all of it at each cold start.
      expect(size).toBeLessThan(3_000_000);

      // A timer or a socket that loading opens would keep the process from ending.
      const script = `const { handler } = await import(${JSON.stringify(pathToFileURL(path).href)}); process.stdout.write(typeof handler);`;
      const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', script], {
        env: {},
        cwd: folder,
        timeout: 10_000,
      });
      expect({ stdout, stderr }).toEqual({ stdout: 'function', stderr: '' });
    },
  );

  it.each(withTransforms)('can run a transform: %s', async (id) => {
    const bundle = bundles[id] ?? '';
    const found = await readFile(join(bundle, 'index.mjs'), 'utf8');
    expect(found).toContain('./transform-process.mjs');
    const child = fork(join(bundle, 'transform-process.mjs'), { cwd: folder, env: {}, execArgv: [] });
    try {
      expect(await once(child, 'message')).toEqual(['ready', undefined]);
      child.send({ expression: '$sum(a)', event: '{"a":[1,2]}', maxMs: 1000, time: 0, seed: 0 });
      expect(await once(child, 'message')).toEqual([{ body: '3' }, undefined]);
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('run a transform from where they are', async () => {
    const path = join(bundles['ApiManageFunction'] ?? '', 'index.mjs');
    const { headers, requestContext } = authorized(machine('handoff/operate'));
    const http = { ...requestContext.http, method: 'POST', path: '/v1/handlers/test' };
    const event = {
      version: '2.0',
      rawPath: http.path,
      rawQueryString: '',
      headers: { ...headers, host: 'api.example', 'content-type': 'application/json' },
      requestContext: { ...requestContext, domainName: 'api.example', http },
      isBase64Encoded: false,
      body: JSON.stringify({
        handler: {
          name: 'CRM',
          events: ['crm.note'],
          transform: 'detail.data.n + 1',
          target: { type: 'http', url: 'https://crm.example/hook' },
        },
        event: { type: 'crm.note', data: { n: 1 } },
        send: false,
      }),
    };
    const answerFile = join(folder, 'answer.json');
    const script = `const { handler } = await import(${JSON.stringify(pathToFileURL(path).href)});
      const answer = await handler(${JSON.stringify(event)}, {});
      process.getBuiltinModule('fs').writeFileSync(${JSON.stringify(answerFile)}, JSON.stringify(answer));`;
    // Nothing of this is called: a test that sends nothing needs neither tables nor queues.
    const env = {
      AWS_REGION: 'us-east-1',
      HANDLERS_TABLE: 'handlers',
      EXECUTIONS_TABLE: 'executions',
      DATA_KEY: 'file:/nowhere',
      EVENT_BUS: 'handoff',
      EVENTS_QUEUE: 'https://sqs.example/events',
      RETRIES_QUEUE: 'https://sqs.example/retries',
    };
    await run(process.execPath, ['--input-type=module', '--eval', script], {
      env,
      cwd: folder,
      timeout: 30_000,
    });
    const { statusCode, body } = JSON.parse(await readFile(answerFile, 'utf8')) as {
      statusCode: number;
      body: string;
    };
    expect(JSON.parse(body)).toMatchObject({ request: { body: '2', error: null } });
    expect(statusCode).toBe(200);
  });

  it('have in Python the file that Lambda asks for', async () => {
    for (const { name } of scripts.filter(({ language }) => language === 'python')) {
      expect(await readdir(bundles[idOf(name)] ?? '')).toContain('lambda_function.py');
    }
  });
});

type Template = {
  Resources: Record<string, { Type: string; Properties: { Code: { S3Key: string } } }>;
};
