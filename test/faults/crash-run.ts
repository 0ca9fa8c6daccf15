import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { openQueues } from '../../local/queue.ts';
import type { Execution } from '../../shared/executions/execution.ts';
import { apiOf } from '../support/api.ts';
import { startEngineProcess, upstreamClient, type EngineProcess } from '../support/engine.ts';
import type { Receiver } from '../support/http-server.ts';

const crashPoint = fileURLToPath(new URL('../support/crash-point.ts', import.meta.url));
/** How long a process may take to die that has just broken a connection. */
const deathMs = 10_000;
/** How long the log may take to become what it has to be. Only a test that fails waits so long. */
const patienceMs = 45_000;

// What dispatcher and retrier do ends with the first one, what the sweeper does with the other. A sweep that did nothing is told at the
// level DEBUG only.
const newsLine = /^acknowledged |"sweep\.done"/u;

type Api = ReturnType<typeof apiOf>;

/** An engine that is killed at a step and started again on the same data, by one run after another. */
export type Victim = {
  /** Of the process that runs at the moment. */
  url: () => string;
  /**
   * Steps count from now on, or with `from`, e.g. `PutItem:3`, when the third such step has ended; until `disarm`. In
   * which the process dies, if it comes to the step of this run.
   */
  arm: (from?: string) => Promise<void>;
  disarm: () => Promise<void>;
  /** Whether it was killed in this run. */
  wasKilled: () => boolean;
  /** Does something through the API. Null when the engine died under it; then its successor runs. */
  attempt: <Result>(work: (api: Api) => Promise<Result>) => Promise<Result | null>;
  /** The same, and once more with the successor. */
  persist: <Result>(work: (api: Api) => Promise<Result>) => Promise<Result>;
  /**
   * Publishes events of a type that is this run's own, in one call, as an upstream would; again when nobody answered.
   * Resolves to the ids that were accepted.
   */
  publish: (type: string, data: readonly object[]) => Promise<string[]>;
  /** Resolves when everything that was published is acknowledged, by this process or by its successor. */
  acknowledged: () => Promise<void>;
  /**
   * The executions of what this run has published, as soon as there are `count` and `isWhole` says so. As they are when that
   * takes too long, which is reported.
   */
  waitForLog: (count: number, isWhole: (executions: readonly Execution[]) => boolean) => Promise<Execution[]>;
  /** Resolves when the API shows that it is so. When that takes too long, which is reported with what it showed. */
  waitFor: <Seen>(look: (api: Api) => Promise<Seen>, isSo: (seen: Seen) => boolean) => Promise<void>;
  /** Notes what must not be. */
  report: (problem: string) => void;
};

export type CrashReport = {
  /** The steps that a run takes when nobody kills it, in their order: `UpdateItem:1`, `PutItem:1`, `UpdateItem:2`. */
  steps: string[];
  /** Where processes were killed: `before:PutItem:1`. */
  killed: string[];
  problems: string[];
};

/** That a step begins, or that it has ended. */
type Mark = { mark: 'step' | 'ended'; step: string };

type Life = {
  engine: EngineProcess;
  api: Api;
  /** Messages in the queue of events that it has acknowledged, and those that it has to. */
  acknowledged: number;
  toAcknowledge: number;
};

/**
 * Kills engines before and after every step of a run. The first run is left alone, to see its steps. The process that recovers from
 * one death is the one that dies the next: half of the starts, and a folder on which an engine has died dozens of times.
 *
 * @param prepare registers what the runs need, once for all
 * @param maxRuns how many runs there can be on one folder, the one that is left alone included
 * @param victims how many engines there are at a time, each with a folder of its own
 * @param spareSame kills once where two places are the same: nothing happens between the end of a step and the beginning of the next one
 * @param run has number 0 when it is left alone; then the runs of one folder count from 1
 */
export async function killAtEveryStep(
  {
    prepare = async () => {},
    env = {},
    victims = 2,
    maxRuns = Infinity,
    spareSame = false,
  }: {
    prepare?: (api: Api) => Promise<void>;
    env?: Record<string, string>;
    victims?: number;
    maxRuns?: number;
    spareSame?: boolean;
  },
  run: (victim: Victim, number: number) => Promise<void>,
): Promise<CrashReport> {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-crash-'));
  const template = join(folder, 'template');
  const report: CrashReport = { steps: [], killed: [], problems: [] };
  try {
    await using first = await openVictim(template, { env, report });
    await first.persist(prepare);
    first.begin('nowhere');
    await run(first, 0);
    const marks = await first.stop();
    report.steps = marks.flatMap(({ mark, step }) => (mark === 'step' ? [step] : []));

    const places = spareSame ? differentPlaces(marks) : report.steps.flatMap(placesOf);
    const killInTurn = async (_: unknown, lane: number): Promise<void> => {
      const copy = join(folder, `victim-${lane}`);
      await cp(template, copy, { recursive: true });
      await using victim = await openVictim(copy, { env, report });
      const own = places.filter((__, index) => index % victims === lane);
      if (own.length >= maxRuns) throw new Error(`${places.length} places are too many`);
      for (const [index, place] of own.entries()) {
        victim.begin(place);
        await run(victim, index + 1);
        // One that did not come to its step must not come to it in the next run.
        if (!victim.wasKilled()) await victim.disarm();
      }
    };
    await Promise.all(Array.from({ length: victims }, killInTurn));
    return report;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function openVictim(
  folder: string,
  { env, report }: { env: Record<string, string>; report: CrashReport },
) {
  let crashAt = 'nowhere';
  let wasKilled = false;
  let type: string | null = null;
  let eventIds: string[] = [];
  let expected = Infinity;
  const seen = new Map<string, Execution>();
  const addProblem = (problem: string) => void report.problems.push(`${crashAt}: ${problem}`);
  await mkdir(folder, { recursive: true });
  let life = await begin();

  async function begin(): Promise<Life> {
    const toAcknowledge = unacknowledged(folder);
    const engine = await startEngineProcess(folder, { nodeOptions: ['--import', crashPoint], env });
    const begun: Life = { engine, api: apiOf(engine.url), acknowledged: 0, toAcknowledge };
    const count = (line: string) => {
      begun.acknowledged += Number(/^acknowledged (\d+) of events$/u.exec(line)?.[1] ?? 0);
    };
    engine.lines.forEach(count);
    engine.onLine(count);
    return begun;
  }

  async function restart(): Promise<void> {
    const code = await life.engine.exited;
    if (wasKilled || life.engine.lines.at(-1) !== `killed ${crashAt}`) {
      throw new Error(`${crashAt}: the engine ended by itself (${code}):\n${lastLines(life.engine)}`);
    }
    wasKilled = true;
    report.killed.push(crashAt);
    life = await begin();
    await look();
  }

  async function attempt<Result>(work: (api: Api) => Promise<Result>): Promise<Result | null> {
    try {
      return await work(life.api);
    } catch (error) {
      const hasDied = await Promise.race([life.engine.exited.then(() => true), delay(deathMs, false)]);
      if (!hasDied) throw error;
      await restart();
      return null;
    }
  }

  async function persist<Result>(work: (api: Api) => Promise<Result>): Promise<Result> {
    const result = await attempt(work);
    return result === null ? work(life.api) : result;
  }

  async function publish(eventType: string, data: readonly object[]): Promise<string[]> {
    type = eventType;
    const ids = await persist(async () => {
      const accepted = await putEvents(life.engine.url, eventType, data);
      life.toAcknowledge += accepted.length;
      return accepted;
    });
    eventIds.push(...ids);
    return ids;
  }

  /** Resolves with the next line that fits, or with null when the process is dead. */
  function nextLine(isIt: () => boolean): Promise<'it' | 'dead'> {
    const { engine } = life;
    const came = Promise.withResolvers<'it'>();
    const listen = () => {
      if (isIt()) came.resolve('it');
    };
    engine.onLine(listen);
    listen();
    return Promise.race([came.promise, engine.exited.then(() => 'dead' as const)]);
  }

  async function acknowledged(): Promise<void> {
    const isDone = () => life.acknowledged >= life.toAcknowledge;
    while ((await nextLine(isDone)) === 'dead') await restart();
  }

  /** Reads the executions of this run, and compares them with what was there before. */
  async function look(): Promise<Execution[]> {
    if (type === null) return [];
    const executions = seen.size < expected ? await list(type) : await readAll([...seen.keys()]);
    for (const earlier of seen.values()) {
      const later = executions.find(({ id }) => id === earlier.id);
      const problem = wentBack(earlier, later);
      if (problem !== null) addProblem(problem);
    }
    for (const execution of executions) seen.set(execution.id, execution);
    return executions;
  }

  /** Of what was accepted. What nobody answered may be in the log, too. */
  async function list(eventType: string): Promise<Execution[]> {
    const { items } = await life.api.get<{ items: Execution[] }>(
      `/v1/executions?event=${eventType}&limit=100`,
    );
    return items.filter(({ eventId }) => eventIds.includes(eventId));
  }

  // To walk the log costs many times as much, in the end most of a run.
  async function readAll(ids: readonly string[]): Promise<Execution[]> {
    const answers = await Promise.all(ids.map((id) => life.api.request('GET', `/v1/executions/${id}`)));
    return answers.flatMap(({ status, body }) => (status === 200 ? [body as Execution] : []));
  }

  async function waitForLog(
    count: number,
    isWhole: (executions: readonly Execution[]) => boolean,
  ): Promise<Execution[]> {
    expected = count;
    return waitUntil(look, (executions) => executions.length >= count && isWhole(executions));
  }

  /** Looks until it is so, and resolves with what there is to see. As it is when that takes too long, which is reported. */
  async function waitUntil<Seen>(see: () => Promise<Seen>, isSo: (seen: Seen) => boolean): Promise<Seen> {
    const giveUp = delay(patienceMs, 'late' as const, { ref: false });
    for (;;) {
      // Whatever changes anything ends with one of these lines, so there is nothing to see before the next one.
      const { engine } = life;
      const lineCount = engine.lines.length;
      const now = await attempt(async () => ({ is: await see() }));
      if (now === null) continue;
      if (isSo(now.is)) return now.is;
      const isNews = () => engine.lines.slice(lineCount).some((line) => newsLine.test(line));
      const news = await Promise.race([nextLine(isNews), giveUp]);
      if (news === 'dead') await restart();
      if (news === 'late') {
        addProblem(`not as it has to be: ${JSON.stringify(now.is)}\n${lastLines(engine)}`);
        return now.is;
      }
    }
  }

  const arm = (parameters: string) => fetch(`${life.engine.url}/healthz?count${parameters}`);

  return {
    url: () => life.engine.url,
    arm: async (from = '') => void (await arm(`&crash=${crashAt}&from=${from}`)),
    disarm: async () => void (await attempt(() => arm('&from=never:1'))),
    wasKilled: () => wasKilled,
    attempt,
    persist,
    publish,
    acknowledged,
    waitForLog,
    waitFor: async (see, isSo) => void (await waitUntil(() => see(life.api), isSo)),
    report: addProblem,
    /** The next run begins, which dies at that place. */
    begin(place: string) {
      crashAt = place;
      wasKilled = false;
      type = null;
      eventIds = [];
      expected = Infinity;
      seen.clear();
    },
    /** Ends the process as one should. Resolves to the steps that it has counted. */
    async stop(): Promise<Mark[]> {
      await life.engine.end('SIGTERM');
      return life.engine.lines.flatMap((line) => {
        const { mark, step } = /^(?<mark>step|ended) (?<step>\S+)$/u.exec(line)?.groups ?? {};
        return mark === undefined || step === undefined ? [] : [{ mark: mark as Mark['mark'], step }];
      });
    },
    async [Symbol.asyncDispose]() {
      await life.engine.end('SIGKILL');
    },
  } satisfies Victim & Record<string, unknown> & AsyncDisposable;
}

// Enough to see what it did in its last seconds, beside a sweep every 600 ms.
const lastLines = ({ lines }: EngineProcess): string => lines.slice(-60).join('\n');

/** Of all places one for each that leaves something else behind. */
const differentPlaces = (marks: readonly Mark[]): string[] =>
  marks.flatMap(({ mark, step }, index) => {
    if (mark === 'ended') return [`after:${step}`];
    return marks[index - 1]?.mark === 'ended' ? [] : [`before:${step}`];
  });

/** How many events the engine that died on this folder has left in its queue. */
function unacknowledged(folder: string): number {
  const queues = openQueues({ file: join(folder, 'queues.sqlite') });
  try {
    const { visible, inFlight } = queues.open('events', { visibilityTimeoutMs: 1000 }).counts();
    return visible + inFlight;
  } finally {
    queues.close();
  }
}

function wentBack(earlier: Execution, later: Execution | undefined): string | null {
  const { id, handlerName, status, generation, attemptCount } = earlier;
  const what = `${handlerName} (${id})`;
  if (later === undefined) return `${what} was ${status} and is gone`;
  const hasEnded = status === 'succeeded' || status === 'failed';
  if (later.generation < generation) return `${what} went back to generation ${later.generation}`;
  if (later.attemptCount < attemptCount) {
    return `${what} had ${attemptCount} attempts and has ${later.attemptCount}`;
  }
  if (hasEnded && later.generation === generation && later.status !== status) {
    return `${what} went back from ${status} to ${later.status}`;
  }
  return null;
}

async function putEvents(url: string, type: string, data: readonly object[]): Promise<string[]> {
  const upstream = upstreamClient(url, { maxAttempts: 1 });
  try {
    const { Entries = [] } = await upstream.send(
      new PutEventsCommand({
        Entries: data.map((item) => ({
          EventBusName: 'handoff',
          Source: 'test',
          DetailType: type,
          Detail: JSON.stringify({ data: item }),
        })),
      }),
    );
    return Entries.map(({ EventId }) => String(EventId));
  } finally {
    upstream.destroy();
  }
}

/** The places of a report without their numbers: `before:PutItem`, each once, sorted. */
export const kindsOf = (places: readonly string[]): string[] =>
  [...new Set(places.map((place) => place.replace(/:\d+$/u, '')))].sort();

/** Where a process is killed for a step, or for a kind of steps. */
export const placesOf = (step: string): string[] => [`before:${step}`, `after:${step}`];

/** The deliveries of one event to one path, and whether all of them were one delivery to the receiver. */
export function deliveriesOf(
  { requests }: Receiver,
  eventId: string,
  path: string,
): { count: number; ids: number } {
  const ids = requests
    .filter((request) => request.path === path)
    .map(({ headers }) => String(headers['webhook-id']))
    .filter((id) => id.startsWith(eventId));
  return { count: ids.length, ids: new Set(ids).size };
}
