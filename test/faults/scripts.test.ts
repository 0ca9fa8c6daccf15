import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PutEventsCommand, type PutEventsRequestEntry } from '@aws-sdk/client-eventbridge';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Execution, ExecutionDetail } from '../../shared/executions/execution.ts';
import { apiOf } from '../support/api.ts';
import { engineToken, startEngineProcess, upstreamClient, type EngineProcess } from '../support/engine.ts';
import { startReceiver, type Receiver } from '../support/http-server.ts';
import { isAlive, pidsIn, scriptsFolder, temporaryFolder, waitForDeath } from '../support/scripts.ts';

const isLinux = process.platform === 'linux';
/** A change of a handler works for events that are published this long after the answer. */
const inForceAfterMs = 1000;
const patience = { timeout: 60_000, interval: 250 };
const maxKeptBytes = 4096;

const { folder, remove } = temporaryFolder();
afterAll(remove);

type Api = ReturnType<typeof apiOf>;

/** Publishes as an upstream does, ten entries in a call. Resolves to the ids of the events. */
async function putEvents(url: string, entries: readonly PutEventsRequestEntry[]): Promise<string[]> {
  const upstream = upstreamClient(url);
  try {
    const ids: string[] = [];
    for (let from = 0; from < entries.length; from += 10) {
      const { Entries = [] } = await upstream.send(
        new PutEventsCommand({ Entries: entries.slice(from, from + 10) }),
      );
      ids.push(...Entries.map(({ EventId, ErrorMessage }) => EventId ?? String(ErrorMessage)));
    }
    return ids;
  } finally {
    upstream.destroy();
  }
}

const entry = (type: string, data: unknown = null): PutEventsRequestEntry => ({
  EventBusName: 'handoff',
  Source: 'test',
  DetailType: type,
  Detail: JSON.stringify({ data }),
});

/** The one execution of each event that has one handler, in the order of the events, as soon as all have ended. */
async function endedExecutions(api: Api, eventIds: readonly string[]): Promise<ExecutionDetail[]> {
  const executions = await vi.waitUntil(async () => {
    const { items } = await api.get<{ items: Execution[] }>('/v1/executions?limit=100');
    const ended = items.filter(
      ({ eventId, status }) => eventIds.includes(eventId) && ['succeeded', 'failed'].includes(status),
    );
    return ended.length >= eventIds.length ? ended : null;
  }, patience);
  return Promise.all(
    eventIds.map((eventId) => {
      const found = executions.filter((execution) => execution.eventId === eventId);
      if (found.length !== 1) throw new Error(`${found.length} executions of ${eventId}`);
      return api.get<ExecutionDetail>(`/v1/executions/${found[0]?.id ?? ''}`);
    }),
  );
}

const residentMb = ({ process: { pid } }: EngineProcess): number =>
  Number(spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }).stdout) / 1024;

/** On Linux the processes that have a place below this folder in their environment, or as their working folder. */
const processesIn = (place: string): string[] =>
  !isLinux
    ? []
    : readdirSync('/proc').filter((pid) => {
        if (!/^\d+$/u.test(pid) || Number(pid) === process.pid) return false;
        try {
          const cwd = readlinkSync(`/proc/${pid}/cwd`);
          return cwd.startsWith(place) || readFileSync(`/proc/${pid}/environ`, 'latin1').includes(place);
        } catch {
          return false; // Gone, or another user's.
        }
      });

type Case = {
  script: string;
  data?: unknown;
  timeoutMs?: number;
  /** The sentence in the log; absent when the execution succeeds. */
  error?: unknown;
  /** What was returned, as the log shows it. */
  response?: unknown;
  output?: unknown;
};

const text = (pattern: RegExp): unknown => expect.stringMatching(pattern);
const notJson = 'script: returned what is not JSON:';
const notLoaded = 'script: could not be loaded:';
const outOfMemory = 'script: used more than its memory of 128 MB';
const endedEarly = 'script: ended before it returned';

const goodCases: Case[] = [
  {
    script: 'hello',
    data: { name: 'Zoë' },
    response: text(/^\{"hello":"Zoë","by":"h_.+","attempt":1\}$/u),
    output: 'hello Zoë',
  },
  {
    script: 'python-hello',
    data: { name: 'Zoë' },
    response: text(/^\{"file": "read from the folder", "by": "h_.+", "attempt": 1\}$/u),
    output: 'hello Zoë',
  },
];

const quickCases: Case[] = [
  {
    script: 'throws',
    error: 'script: RangeError: the CRM said no: out of range',
    output: text(/^RangeError: the CRM said no:\nout of range\n {4}at handler \(lambda\.ts:2:9\)/u),
  },
  {
    script: 'throws-permanent',
    error: 'script: PermanentError: the client has no tax id',
    output: text(/./u),
  },
  { script: 'throws-at-load', error: 'script: RangeError: CRM_URL is not set', output: text(/./u) },
  { script: 'throws-later', error: 'script: TypeError: too late to catch', output: text(/./u) },
  { script: 'throws-oddities', data: 'text', error: 'script: string: just text', output: text(/just text/u) },
  {
    script: 'throws-oddities',
    data: 'unspeakable object',
    error: 'script: object: something that cannot be shown',
    output: text(/./u),
  },
  {
    script: 'throws-oddities',
    data: 'endless message',
    error: `script: Error: ${'x'.repeat(485)}`,
    output: text(/./u),
  },
  {
    script: 'rejects-unheard',
    error: 'script: a promise was rejected and nobody caught it: TypeError: nobody heard me',
    output: text(/nobody heard me/u),
  },
  {
    script: 'never-settles',
    error: `${endedEarly}: it waited for a promise that nothing could settle`,
    output: 'waiting',
  },
  { script: 'exits', data: 3, error: `${endedEarly} (exit status 3)`, output: 'leaving' },
  { script: 'exits', data: 0, error: endedEarly, output: 'leaving' },
  { script: 'exits', data: 'SIGKILL', error: `${endedEarly} (signal: killed)`, output: 'leaving' },
  { script: 'allocates-heap', error: outOfMemory, output: text(/^allocating/u) },
  { script: 'allocates-buffers', error: outOfMemory, output: 'allocating' },
  { script: 'allocates-in-children', error: outOfMemory },
  {
    script: 'missing-package',
    error: `${notLoaded} Could not resolve "a-package-that-is-not-installed" (lambda.ts:2:25)`,
  },
  { script: 'no-handler', error: 'script: has no function "handler"' },
  { script: 'returns', data: 'nothing', response: null },
  { script: 'returns', data: 'just enough', response: `"${'x'.repeat(maxKeptBytes - 1)}` },
  { script: 'returns', data: 'too much', error: 'script: returned more than 6 MB' },
  { script: 'returns', data: 'a bigint', error: `${notJson} Do not know how to serialize a BigInt` },
  { script: 'prints-megabytes', data: 30_000, response: text(/^\d+$/u), output: text(/\.30000$/u) },
  {
    script: 'prints-in-turn',
    response: null,
    output: Array.from({ length: 20 }, (_, turn) => `out ${turn + 1}\nerr ${turn + 1}`).join('\n'),
  },
  { script: 'prints-invalid-utf8', response: null, output: 'a\uFFFD\uFFFD\uFFFDb\uFFFD' },
  {
    script: 'writes-to-pipes',
    response: '{"result":"real"}',
    output: 'R17\n{"result":"forged"}',
  },
  {
    script: 'python-raises',
    data: 'error',
    error: 'script: ValueError: the CRM said no: out of range',
    output: text(/^Traceback .*\n {2}File "lambda_function\.py", line 16, in handler\n/u),
  },
  {
    script: 'python-raises',
    data: 'unspeakable',
    error: 'script: Unspeakable: something that cannot be shown',
    output: text(/Unspeakable/u),
  },
  {
    script: 'python-exits',
    data: ['sys.exit', 0],
    error: endedEarly,
    output: 'leaving',
  },
  {
    script: 'python-exits',
    data: ['os._exit', 4],
    error: `${endedEarly} (exit status 4)`,
    output: 'leaving',
  },
  { script: 'python-allocates', error: outOfMemory, output: 'allocating' },
  {
    script: 'python-missing-package',
    error: `${notLoaded} Unable to import module 'lambda_function': No module named 'a_package_that_is_not_installed'`,
    output: text(/ModuleNotFoundError/u),
  },
  {
    script: 'python-bad-syntax',
    error: text(/^script: could not be loaded: .*\(lambda_function\.py, line 1\)$/u),
    output: text(/SyntaxError/u),
  },
  { script: 'python-no-handler', error: 'script: has no function "handler"' },
  {
    script: 'python-returns',
    data: 'a set',
    error: `${notJson} Object of type set is not JSON serializable`,
  },
  { script: 'python-returns', data: 'too much', error: 'script: returned more than 6 MB' },
];

const pidFile = (name: string): string => join(folder, `${name}.pid`);
const childCases: Case[] = [
  {
    script: 'leaves-children',
    data: { file: pidFile('on-return'), finally: 'return' },
    response: null,
  },
  { script: 'leaves-children', data: { file: pidFile('on-exit'), finally: 'exit' }, error: endedEarly },
  ...(isLinux
    ? [
        {
          script: 'python-leaves-daemon',
          data: { file: pidFile('daemon'), finally: 'return' },
          response: null,
        },
      ]
    : []),
];

const endlessTimeoutMs = 3000;
const tooLate = `timeout: no result within ${endlessTimeoutMs} ms`;
const endlessCases: Case[] = [
  { script: 'busy-loop', data: pidFile('busy'), error: tooLate },
  { script: 'python-busy-loop', data: pidFile('python-busy'), error: tooLate },
  { script: 'waits-forever', data: pidFile('waits'), error: tooLate },
  { script: 'leaves-children', data: { file: pidFile('on-timeout'), finally: 'wait' }, error: tooLate },
].map((endless) => ({ ...endless, timeoutMs: endlessTimeoutMs }));

const titleOf = ({ script, data = '' }: Case): string => `${script} ${JSON.stringify(data)}`;

describe('an engine with scripts of all kinds', () => {
  const cases = [...goodCases, ...quickCases, ...childCases, ...endlessCases];
  const canary = 'the-canary-in-the-environment';
  let engine: EngineProcess;
  let api: Api;
  let receiver: Receiver;
  let residentMbBefore: number;
  const executions = new Map<Case, ExecutionDetail>();
  const httpExecutions: ExecutionDetail[] = [];
  const typeOf = (index: number) => `scripts.case${index}`;

  async function run(wanted: readonly Case[]): Promise<void> {
    const entries = wanted.map((each) => entry(typeOf(cases.indexOf(each)), each.data));
    const ids = await putEvents(engine.url, [...entries, entry('scripts.http')]);
    const details = await endedExecutions(api, ids);
    wanted.forEach((each, index) => executions.set(each, details[index] as ExecutionDetail));
    httpExecutions.push(details.at(-1) as ExecutionDetail);
  }

  beforeAll(async () => {
    receiver = await startReceiver();
    engine = await startEngineProcess(join(folder, 'data'), {
      env: { HANDOFF_SCRIPTS: scriptsFolder, CANARY: canary, AWS_SECRET_ACCESS_KEY: canary },
    });
    api = apiOf(engine.url);
    const create = (type: string, target: object) =>
      api.post('/v1/handlers', { name: type, events: [type], target, retry: { schedule: 'none' } });
    for (const [index, { script, timeoutMs = 60_000 }] of cases.entries()) {
      await create(typeOf(index), { type: 'script', script, timeoutMs });
    }
    for (const script of ['reads-environment', 'python-reads-environment']) {
      await create(`scripts.${script}`, { type: 'script', script });
    }
    await create('scripts.http', { type: 'http', url: receiver.url });
    await delay(inForceAfterMs);

    // What runs first has everything loaded that does not belong to a script.
    await run(goodCases);
    residentMbBefore = residentMb(engine);
    await run([...quickCases, ...childCases]);
    // Last, so that what others do at the same time takes none of their time.
    await run(endlessCases);
  }, 180_000);

  afterAll(async () => {
    await engine.end('SIGKILL');
    await receiver.close();
  });

  it.each(cases.map((each) => [titleOf(each), each] as const))('has one readable row for %s', (_, each) => {
    const { error = null, response = null, output = null } = each;
    const execution = executions.get(each);
    expect(execution).toMatchObject({
      status: error === null ? 'succeeded' : 'failed',
      attemptCount: 1,
      nextAttemptAt: null,
      statusCode: null,
      error,
      attempts: [{ number: 1, error, response, output }],
    });
    const [attempt] = execution?.attempts ?? [];
    expect(Buffer.byteLength(attempt?.output ?? '')).toBeLessThanOrEqual(maxKeptBytes);
  });

  it('delivers over HTTP meanwhile, and is alive', async () => {
    expect(httpExecutions.map(({ status }) => status)).toEqual(['succeeded', 'succeeded', 'succeeded']);
    expect(engine.process.exitCode).toBeNull();
    expect(await fetch(`${engine.url}/healthz`)).toMatchObject({ status: 200 });
  });

  it('has not grown by what the scripts took', () => {
    const grownMb = residentMb(engine) - residentMbBefore;
    console.info(`scripts: the engine grew from ${residentMbBefore.toFixed()} MB by ${grownMb.toFixed()} MB`);
    expect(grownMb).toBeLessThan(250);
  });

  it('has ended what they had started', async () => {
    const files = [...childCases, ...endlessCases].map(({ data }) =>
      typeof data === 'string' ? data : (data as { file: string }).file,
    );
    const pids = (await Promise.all(files.map(pidsIn))).flat();
    expect(pids.length).toBeGreaterThanOrEqual(files.length);
    await waitForDeath(pids);
  });

  it.each(['reads-environment', 'python-reads-environment'])(
    'shows nothing of its own to %s',
    async (script) => {
      const [execution] = await endedExecutions(
        api,
        await putEvents(engine.url, [entry(`scripts.${script}`)]),
      );
      const response = execution?.attempts[0]?.response ?? '';
      const { environment } = JSON.parse(response) as { environment: Record<string, string> };

      expect(environment).toMatchObject({
        CRM_URL: 'https://crm.example',
        TMPDIR: expect.any(String) as unknown,
      });
      for (const secret of [engineToken, canary, 'HANDOFF', 'ACCESS_KEY', 'DATA_KEY', 'ENDPOINT']) {
        expect(response).not.toContain(secret);
      }
      // Every call has a folder of its own in the engine's for scripts: nobody is left there, by environment or by place.
      const [place = ''] = /^.*handoff-scripts-[^/]+/u.exec(environment['TMPDIR'] ?? '') ?? [];
      expect(place).not.toBe('');
      await vi.waitFor(() => expect(processesIn(place)).toEqual([]), patience);
    },
  );
});

/** A folder of scripts of this file's own. */
function writeScripts(place: string, sources: Record<string, string>): void {
  for (const [name, source] of Object.entries(sources)) {
    mkdirSync(join(place, name), { recursive: true });
    writeFileSync(join(place, name, name.startsWith('python-') ? 'lambda_function.py' : 'lambda.ts'), source);
  }
}

const ownScripts = {
  'returns-it': 'export const handler = (invocation: unknown) => invocation;\n',
  'python-returns-it': 'def handler(invocation, context):\n    return invocation\n',
  gone: 'export const handler = () => "still there";\n',
  'python-waits': `import os
import time


def handler(invocation, context):
    data = invocation['event']['detail']['data']
    open(data['begun'], 'w').close()
    while not os.path.exists(data['release']):
        time.sleep(0.05)
`,
};

describe('an engine with scripts of its own', () => {
  const scripts = join(folder, 'scripts');
  const settings = { env: { HANDOFF_SCRIPTS: scripts } };
  const data = join(folder, 'own-data');
  let engine: EngineProcess;
  let api: Api;

  const createHandler = (handler: object) =>
    api.post<{ id: string }>('/v1/handlers', { name: 'scripts', ...handler });

  async function start(): Promise<void> {
    engine = await startEngineProcess(data, settings);
    api = apiOf(engine.url);
  }

  beforeAll(async () => {
    writeScripts(scripts, ownScripts);
    await start();
  });
  afterAll(async () => void (await engine.end('SIGKILL')));

  it('hands what looks like a command on as it came', async () => {
    const trap = join(folder, 'trap');
    const texts = [
      `$(touch ${trap}-1)`,
      `\`touch ${trap}-2\``,
      `'; touch ${trap}-3; '`,
      `"; touch ${trap}-4; "`,
      `x\ntouch ${trap}-5\r\n`,
      `| touch ${trap}-6 && touch trap-7 &`,
      '../../../../etc/passwd',
      String.raw`..\..\%PATH%\${"$"}{HOME}`,
      '\u0000--version\u0000',
      '-rf ~ * ? [a] {a,b} !! # % \u2028 \u{1F600}',
    ];
    const fields = Object.fromEntries(texts.map((each) => [each, each]));
    const detail = `{"objectId":${JSON.stringify(texts[0])},"__proto__":{"polluted":true},"data":${JSON.stringify(fields)},"../x":${JSON.stringify(texts)}}`;
    const handlerName = `${texts[0]} '"; ../..`;
    for (const script of ['returns-it', 'python-returns-it']) {
      await createHandler({ name: handlerName, events: ['trap.*'], target: { type: 'script', script } });
    }
    const before = readdirSync(scripts, { recursive: true });
    await delay(inForceAfterMs);

    const type = `trap.$(touch ${trap}-8)`;
    const source = `../$(touch ${trap}-9)\u0000`;
    const [eventId = ''] = await putEvents(engine.url, [
      { EventBusName: 'handoff', Source: source, DetailType: type, Resources: texts, Detail: detail },
    ]);
    const executions = await vi.waitUntil(async () => {
      const { items } = await api.get<{ items: Execution[] }>(`/v1/executions?eventId=${eventId}`);
      return items.length === 2 && items.every(({ status }) => status === 'succeeded') ? items : null;
    }, patience);

    for (const { id } of executions) {
      const { attempts } = await api.get<ExecutionDetail>(`/v1/executions/${id}`);
      const { event, handler } = JSON.parse(attempts[0]?.response ?? '') as Record<string, unknown>;
      expect(event).toMatchObject({ id: eventId, 'detail-type': type, source, resources: texts });
      expect((event as { detail: unknown }).detail).toEqual(JSON.parse(detail));
      expect(handler).toMatchObject({ name: handlerName });
    }
    expect(readdirSync(folder).filter((name) => name.startsWith('trap'))).toEqual([]);
    expect(readdirSync(scripts, { recursive: true })).toEqual(before);
    expect(existsSync('trap-7')).toBe(false);
  });

  it.each([
    '../own-scripts/gone',
    './gone',
    'gone/../gone',
    'gone/lambda.ts',
    '/etc/passwd',
    String.raw`..\gone`,
    'gone\u0000',
    'gone\n',
    ' gone',
    'GONE',
    'gone;ls',
    '$(gone)',
    '`gone`',
    'gone|gone',
    'handoff-script-gone',
    'arn:aws:lambda:us-east-1:000000000000:function:handoff-script-gone',
    'gone:$LATEST',
    '__proto__',
    'constructor',
    '',
    'node_modules',
  ])('does not save a handler of the script %j', async (script) => {
    const handler = { name: 'scripts', events: ['names.test'], target: { type: 'script', script } };
    const { id } = await createHandler({ ...handler, target: { type: 'script', script: 'gone' } });
    const refusal = {
      status: 400,
      body: { errors: [expect.objectContaining({ field: 'target.script' }) as unknown] },
    };

    expect(await api.request('POST', '/v1/handlers', handler)).toMatchObject(refusal);
    expect(await api.request('PUT', `/v1/handlers/${id}`, handler)).toMatchObject(refusal);
    expect(await api.request('PATCH', `/v1/handlers/${id}`, { target: { script } })).toMatchObject(refusal);
    expect(await api.request('POST', '/v1/handlers/test', { handler })).toMatchObject({
      status: 400,
      body: { errors: [expect.objectContaining({ field: 'handler.target.script' }) as unknown] },
    });
    await api.delete(`/v1/handlers/${id}`);
  });

  it('delivers over HTTP while scripts take all places that there are for them', async () => {
    await using receiver = await startReceiver();
    // A handler gets one place to begin with: it takes several to take them all.
    const types = Array.from({ length: 12 }, (_, index) => `places.script.n${index}`);
    for (const type of types) {
      await createHandler({ events: [type], target: { type: 'script', script: 'python-waits' } });
    }
    await createHandler({ events: ['places.http'], target: { type: 'http', url: receiver.url } });
    await delay(inForceAfterMs);
    const release = join(folder, 'release');
    const begun = types.map((type) => join(folder, `begun-${type}`));
    const waiting = await putEvents(
      engine.url,
      begun.map((file, index) => entry(types[index] ?? '', { begun: file, release })),
    );
    const runningNow = () => begun.filter((file) => existsSync(file)).length;
    await vi.waitFor(() => expect(runningNow()).toBe(8), patience);

    const direct = await putEvents(engine.url, [entry('places.http')]);
    expect(await endedExecutions(api, direct)).toMatchObject([{ status: 'succeeded' }]);

    expect(runningNow()).toBe(8);
    writeFileSync(release, '');
    const executions = await endedExecutions(api, waiting);
    expect(executions.filter(({ status }) => status !== 'succeeded')).toEqual([]);
  });

  it('says so when a script is gone, and does not repeat it', async () => {
    const handler = { name: 'old', events: ['gone.test'], target: { type: 'script', script: 'gone' } };
    await createHandler(handler);
    await delay(inForceAfterMs);
    const [before] = await endedExecutions(api, await putEvents(engine.url, [entry('gone.test')]));
    expect(before).toMatchObject({ status: 'succeeded', attempts: [{ response: '"still there"' }] });

    await engine.end('SIGTERM');
    rmSync(join(scripts, 'gone'), { recursive: true });
    await start();

    expect(await api.request('POST', '/v1/handlers', handler)).toMatchObject({
      status: 400,
      body: {
        errors: [
          { field: 'target.script', message: expect.stringContaining('python-returns-it') as unknown },
        ],
      },
    });
    const [after] = await endedExecutions(api, await putEvents(engine.url, [entry('gone.test')]));
    expect(after).toMatchObject({
      status: 'failed',
      error: 'script: "gone" is not part of this deployment',
      attemptCount: 1,
      nextAttemptAt: null,
    });
  });
});

describe('an engine that is killed while scripts run', () => {
  it.each(['busy-loop', ...(isLinux ? ['python-busy-loop'] : [])])(
    'takes %s along, and ends its execution after the next start',
    async (script) => {
      const data = join(folder, `killed-${script}`);
      const file = pidFile(`killed-${script}`);
      const settings = { env: { HANDOFF_SCRIPTS: scriptsFolder } };
      await using engines = new AsyncDisposableStack();
      const start = async () => {
        const started = await startEngineProcess(data, settings);
        engines.defer(async () => void (await started.end('SIGKILL')));
        return started;
      };
      const first = await start();
      const target = { type: 'script', script, timeoutMs: 120_000 };
      const { id } = await apiOf(first.url).post<{ id: string }>('/v1/handlers', {
        name: 'killed',
        events: ['killed.test'],
        target,
        retry: { schedule: 'none' },
      });
      const eventIds = await putEvents(first.url, [entry('killed.test', file)]);
      const before = await pidsIn(file);
      expect(before.filter(isAlive)).toEqual(before);
      // The call that is under way keeps its time, the next one gets less.
      await apiOf(first.url).patch(`/v1/handlers/${id}`, { target: { timeoutMs: 1000 } });

      await first.end('SIGKILL');
      await waitForDeath(before);

      const second = await start();
      expect(await endedExecutions(apiOf(second.url), eventIds)).toMatchObject([
        { status: 'failed', error: 'timeout: no result within 1000 ms', attemptCount: 1 },
      ]);
      await waitForDeath(await pidsIn(file));
    },
  );
});
