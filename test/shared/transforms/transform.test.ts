import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { createTransforms } from '../../../shared/transforms/transform.ts';
import { maxTransformMs } from '../../../shared/transforms/transform-limits.ts';

const transforms = createTransforms();
afterAll(() => transforms.stop());

const time = '2026-11-23T10:00:00.000Z';
const eventWith = (detail: object, id = 'e-1') => ({ id, time, raw: JSON.stringify({ id, detail }) });
const ada = eventWith({ objectId: 12, data: { name: 'Ada', iban: 'DE02120300000000202051' } });

const run = (expression: string, event = ada) => transforms.run(event, expression);
const problemOf = async (expression: string, event = ada): Promise<string> => {
  const made = await run(expression, event);
  return made.kind === 'failed' ? made.problem : JSON.stringify(made);
};

const timeOver = `did not end within ${maxTransformMs} ms`;
const memoryOver = 'used more memory than it may';

describe('a transform', () => {
  it.each([
    ['detail.data.name', '"Ada"'],
    ['{ "name": detail.data.name, "id": detail.objectId }', '{"name":"Ada","id":12}'],
    ['$', ada.raw],
    ['[]', '[]'],
    ['null', 'null'],
    ['$eval("detail.objectId + 1")', '13'],
    ['"\ud83c\udf89"', '"\ud83c\udf89"'],
  ])('%s gives the body %s', async (expression, body) => {
    expect(await run(expression)).toEqual({ kind: 'done', body });
  });

  it('gives the same body each time: its clock stands at the time of the event, its dice fall by its id', async () => {
    const expression =
      '{ "now": $now(), "ms": $millis(), "year": $toMillis("11", "[M]"), "dice": [$random(), $shuffle([1..20])] }';
    const first = await run(expression);
    expect(await run(expression)).toEqual(first);
    expect(first.kind === 'done' && JSON.parse(first.body)).toMatchObject({
      now: time,
      ms: Date.parse(time),
      year: Date.parse('2026-11-01T00:00:00Z'),
    });
    expect(await run(expression, { ...ada, id: 'e-2' })).not.toEqual(first);
  });

  it('runs one after the other what comes at once, each with its own event', async () => {
    const bodies = await Promise.all(
      Array.from({ length: 50 }, (_, n) => run('detail.n', eventWith({ n }, `e-${n}`))),
    );
    expect(bodies).toEqual(Array.from({ length: 50 }, (_, n) => ({ kind: 'done', body: String(n) })));
  });
});

describe('a transform that gives no body', () => {
  it.each([
    ['detail.nothing', 'gave nothing'],
    ['function($x) { $x }', 'gave what is not JSON: a function'],
    ['{ "a": [$uppercase] }', 'gave what is not JSON: a function'],
    ['/a/', 'gave what is not JSON: a function'],
    ['1/0', 'gave what is not JSON: a number out of range'],
    ['$pad("x", 2000000)', 'gave 2000002 bytes; at most 1048576 are sent'],
    ['$pad("\u00e9", 700000, "\u00e9")', 'gave 1400002 bytes; at most 1048576 are sent'],
    ['detail.(', 'Expected ")" before end of expression (position 8, at "(end)")'],
    ['$unknown()', 'Attempted to invoke a non-function (position 9, at "unknown")'],
    ['$error("no rates\n for it")', 'no rates for it (position 7, at "error")'],
  ])('%s says why', async (expression, problem) => {
    expect(await problemOf(expression)).toBe(problem);
  });

  it('of a number beyond the range of a double says so', async () => {
    const raw = '{"detail":{"n":1e400}}';
    expect(await problemOf('detail.n', { ...ada, raw })).toBe('gave what is not JSON: a number out of range');
  });

  it.each([
    '$number(detail.data.iban)',
    '$number($lowercase(detail.data.iban))',
    '-detail.data.iban',
    '{ detail.data.iban: 1, $join(["DE02", "120300000000202051"]): 2 }',
    '[detail.data, { "iban": 3 }]^(iban)',
    'detail.data.iban > 3',
    '$eval("(" & detail.data.iban)',
  ])('%s does not say what was in the event', async (expression) => {
    const problem = await problemOf(expression);
    expect(problem).not.toBe('');
    expect(problem.toLowerCase()).not.toContain('de021203');
  });

  it.each(['$lookup(detail, "constructor")', 'detail.__proto__', '$.constructor', '$uppercase.constructor'])(
    'finds no way out of JSON: %s',
    async (expression) => {
      expect(await problemOf(expression)).toMatch(/^gave nothing|non-function/u);
    },
  );
});

describe('a hostile transform', () => {
  it.each([
    ['endless recursion', '($f := function($x) { 1 + $f($x) }; $f(1))', /^Stack overflow/u],
    ['an endless loop', '($f := function($x) { $f($x) }; $f(1))', timeOver],
    ['a regular expression that backtracks', '$match($pad("a", 60, "a") & "!", /^(a+)+$/)', timeOver],
    ['recursion in two directions', '($f := function($x) { $map([1..2], $f) }; $f(1))', memoryOver],
    ['a long list', '[[1..9999999], [1..9999999], [1..9999999]]', memoryOver],
    ['a text of 500 MB', '$length($pad("x", 500000000))', memoryOver],
    ['a text that doubles', '$length($reduce([1..28], function($a, $b) { $a & $a }, "x"))', memoryOver],
    ['a list that doubles', '($f := function($a) { $f($append($a, $a)) }; $f([1, 2, 3]))', memoryOver],
    ['8,000 brackets', '('.repeat(8000), /^Expected "\)"/u],
    ['4,000 lists', `${'['.repeat(4000)}${']'.repeat(4000)}`, /^Stack overflow/u],
  ])('with %s ends, and the next one runs', async (_, expression, problem) => {
    const made = await problemOf(expression);
    // Which of the two limits it meets first depends on the machine.
    if (problem === memoryOver) expect([memoryOver, timeOver]).toContain(made);
    else expect(made).toMatch(problem);
    expect(await run('1')).toEqual({ kind: 'done', body: '1' });
  });

  it('takes none of the time of others, once it is known, and what waits too long for it is put off', async () => {
    const hostile = '($f := function($x) { $f($x + 1) }; $f(1))';
    await run(hostile);
    await run('1');
    const ends: string[] = [];
    const slow = Array.from({ length: 6 }, async () => ends.push((await run(hostile)).kind));
    // Behind six of them it would have waited for longer than anything waits.
    expect(await run('2')).toEqual({ kind: 'done', body: '2' });
    await Promise.all(slow);
    expect(ends.filter((kind) => kind === 'failed').length).toBeGreaterThan(0);
    expect(ends.filter((kind) => kind === 'busy').length).toBeGreaterThan(0);
  });

  it('takes little of the time of others before it is known', async () => {
    await run('1');
    const hostile = (step: number) => `($f := function($x) { $f($x + ${step}) }; $f(1))`;
    const few = [11, 12, 13].map((step) => run(hostile(step)));
    // Behind three that take all their time it would have waited for longer than anything waits.
    expect(await run('3')).toEqual({ kind: 'done', body: '3' });
    expect((await Promise.all(few)).map(({ kind }) => kind)).not.toContain('done');

    const expressions = Array.from({ length: 25 }, (_, index) => hostile(20 + index));
    // To be read says nothing about them.
    for (const expression of expressions) expect(await transforms.check(expression)).toBeNull();
    const many = expressions.map((expression) => run(expression));
    // It is known to be quick by now, and waits for one of them.
    expect(await run('3')).toEqual({ kind: 'done', body: '3' });
    expect((await Promise.all(many)).map(({ kind }) => kind)).not.toContain('done');
  });

  it('takes none of the time of others either when it is quick with every other event', async () => {
    const sometimes = '($f := function($x) { $f($x + 2) }; detail.slow ? $f(1) : 0)';
    const [quick, slow] = [eventWith({ slow: false }), eventWith({ slow: true })];
    await run(sometimes, slow);
    await run('1');
    const waits: number[] = [];
    for (let times = 0; times < 3; times++) {
      expect(await run(sometimes, quick)).toEqual({ kind: 'done', body: '0' });
      const ends = run(sometimes, slow);
      const askedAt = performance.now();
      await run('1');
      waits.push(performance.now() - askedAt);
      await ends;
    }
    // As long as it would be let among the quick ones, each time.
    expect(Math.min(...waits)).toBeLessThan(150);
  });
});

describe('check', () => {
  it('takes every example of docs/deliveries.md', async () => {
    const docs = readFileSync(new URL('../../../docs/deliveries.md', import.meta.url), 'utf8');
    const [, table = ''] = /\| wanted .*\n\| -+ \|.*\n((?:\|.*\n)+)/u.exec(docs) ?? [];
    const examples = [...table.matchAll(/^\| [^|]+\| `(.+)` +\|$/gmu)].map(
      ([, expression = '']) => expression,
    );
    expect(examples.length).toBeGreaterThan(3);
    for (const expression of examples)
      expect([expression, await transforms.check(expression)]).toEqual([expression, null]);
    expect(await run('{ "kind": $."name" }', { ...ada, raw: '{"name":"n"}' })).toEqual({
      kind: 'done',
      body: '{"kind":"n"}',
    });
  });

  it.each(['detail.data.name', '$now()', '{ "a": 1 }'])('takes %s', async (expression) => {
    expect(await transforms.check(expression)).toBeNull();
  });

  it.each([
    ['a +* b', 'Syntax error: "b" (position 6, at "b")'],
    ['(a', 'Expected ")" before end of expression (position 2, at "(end)")'],
    ['a.b[', 'Expected "]" before end of expression (position 4, at "(end)")'],
    ['"abc', 'String literal must be terminated by a matching quote (position 4)'],
    ['/(?<a)/', expect.stringContaining('Invalid regular expression') as string],
  ])('says where %s is wrong', async (expression, problem) => {
    expect(await transforms.check(expression)).toEqual(problem);
  });
});

describe('the process that transforms run in', () => {
  const path = fileURLToPath(new URL('../../support/runs-a-transform.ts', import.meta.url));
  const isThere = (pid: number): boolean => {
    // A process that has ended and that nobody has asked about is a zombie.
    try {
      return !/^State:\s+Z/mu.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    } catch {
      return false;
    }
  };

  it('keeps nobody from ending who has nothing else to do', async () => {
    const parent = spawn(process.execPath, [path, 'quick'], { stdio: ['ignore', 'ignore', 'inherit'] });
    expect(await once(parent, 'exit')).toEqual([0, null]);
  });

  describe.runIf(existsSync('/proc/self/status'))('where it can be found', () => {
    /** One that runs transforms, and the process that they run in. */
    async function startParent(how = 'wait') {
      const parent = spawn(process.execPath, [path, how], { stdio: ['pipe', 'pipe', 'inherit'] });
      const said = async (): Promise<string> => String((await once(parent.stdout, 'data'))[0]);
      const child = Number(await said());
      return {
        child,
        run(expression: string): Promise<string> {
          parent.stdin.write(expression);
          return said();
        },
        kill: () => parent.kill('SIGKILL'),
      };
    }

    it('ends with the one that started it, in the midst of an expression', async () => {
      const parent = await startParent('endless');
      expect(isThere(parent.child)).toBe(true);
      parent.kill();
      await vi.waitFor(() => expect(isThere(parent.child)).toBe(false), { timeout: 10_000, interval: 20 });
    });

    it('is not ended by Ctrl+C, which is for the one that started it', async () => {
      const parent = await startParent();
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(parent.child, signal);
      expect(await parent.run('1 + 1')).toBe('{"kind":"done","body":"2"}');
      expect(isThere(parent.child)).toBe(true);
      parent.kill();
    });

    it('is started again when somebody has ended it', async () => {
      const parent = await startParent();
      process.kill(parent.child, 'SIGKILL');
      await vi.waitFor(() => expect(isThere(parent.child)).toBe(false), { timeout: 10_000, interval: 20 });
      expect(await parent.run('1 + 1')).toBe('{"kind":"done","body":"2"}');
      parent.kill();
    });
  });
});
