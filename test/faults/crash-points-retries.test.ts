import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import type { ExecutionDetail } from '../../shared/executions/execution.ts';
import { startReceiver } from '../support/http-server.ts';
import { deliveriesOf, killAtEveryStep, kindsOf, placesOf } from './crash-run.ts';

const timeoutMs = 240_000;
// A sweep every 600 ms, and a lease is over a second after its call would be.
const env = { HANDOFF_RETRY_SCALE: '0.01' };

// Each run has handlers of its own, which are made once for all.
const maxRuns = 20;
// A second and more until the second attempt: the registry may be a second old when it is looked whether a handler is disabled.
const handlers = [
  { name: 'mended', schedule: [120], timeoutMs: 3000, ends: 'succeeded', attempts: 2 },
  { name: 'down', schedule: [120, 1], timeoutMs: 3000, ends: 'failed', attempts: 3 },
  { name: 'off', schedule: [160], timeoutMs: 10_000, ends: 'held', attempts: 1 },
] as const;

it(
  'killed before and after every step of retries, it ends every execution as planned',
  async () => {
    const offIds: string[] = [];
    const tried = new Set<unknown>();
    /** By the mark of an event: what is done while `off` is called, so that it is in time. */
    const duringOff = new Map<string, () => Promise<void>>();
    await using receiver = await startReceiver(async ({ path, headers, body }, response) => {
      const isFirst = !tried.has(headers['webhook-id']);
      tried.add(headers['webhook-id']);
      const { mark } = (JSON.parse(body) as { data: { mark: string } }).data;
      if (isFirst && path.startsWith('/off')) await duringOff.get(mark)?.();
      response.writeHead(path.startsWith('/mended') && !isFirst ? 200 : 500).end();
    });

    const { steps, killed, problems } = await killAtEveryStep(
      {
        env,
        victims: 4,
        maxRuns,
        async prepare(api) {
          for (let run = 0; run < maxRuns; run += 1) {
            for (const { name, schedule, timeoutMs: targetTimeoutMs } of handlers) {
              const { id } = await api.post<{ id: string }>('/v1/handlers', {
                name,
                events: [`retries.run${run}`],
                target: { type: 'http', url: `${receiver.url}/${name}/${run}`, timeoutMs: targetTimeoutMs },
                retry: { schedule },
              });
              if (name === 'off') offIds.push(id);
            }
          }
        },
      },
      async (victim, run) => {
        const mark = randomUUID();
        duringOff.set(mark, async () => {
          await victim.persist((api) => api.post(`/v1/handlers/${offIds[run] ?? ''}/disable`));
          // Its first attempt is the last one to be in the log.
          await victim.arm('PutItem:1');
        });
        // Where the others take their time, the process dies with the first call of `off` not in the log yet. The event comes
        // again and finds it disabled.
        const mayBeUnknown = (name: string) => name === 'off' && victim.wasKilled();
        const [eventId = ''] = await victim.publish(`retries.run${run}`, [{ mark }]);
        await victim.acknowledged();
        await victim.waitForLog(handlers.length, (executions) =>
          handlers.every(({ name, ends, attempts }) =>
            executions.some(
              ({ handlerName, status, attemptCount }) =>
                handlerName === name &&
                status === ends &&
                (attemptCount === attempts || (attemptCount === 0 && mayBeUnknown(name))),
            ),
          ),
        );
        for (const { name, attempts } of handlers) {
          const { count, ids } = deliveriesOf(receiver, eventId, `/${name}/${run}`);
          if (count < attempts) victim.report(`${count} calls of ${name}`);
          if (name === 'off' && count > 1) victim.report('a disabled handler was called');
          if (ids > 1) victim.report(`${name} was called under several webhook ids`);
        }
      },
    );

    console.info(`crash points: ${steps.length} steps of retries, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(steps.length).toBeGreaterThanOrEqual(18);
    expect(kindsOf(killed)).toEqual(
      ['delivery', 'UpdateItem', 'PutItem', 'PutEvents', 'SendMessageBatch', 'acknowledge']
        .flatMap(placesOf)
        .toSorted(),
    );
  },
  timeoutMs,
);

it(
  'killed before and after every step of a retry by hand, it leaves the execution as it was or ends it',
  async () => {
    const tried = new Set<unknown>();
    await using receiver = await startReceiver(({ headers }, response) => {
      response.writeHead(tried.has(headers['webhook-id']) ? 200 : 500).end();
      tried.add(headers['webhook-id']);
    });

    const { steps, killed, problems } = await killAtEveryStep(
      {
        env,
        async prepare(api) {
          await api.post('/v1/handlers', {
            name: 'again',
            events: ['again.*'],
            target: { type: 'http', url: receiver.url },
            retry: { schedule: 'none' },
          });
        },
      },
      async (victim, run) => {
        const [eventId = ''] = await victim.publish(`again.run${run}`, [{}]);
        await victim.acknowledged();
        const [failed] = await victim.waitForLog(1, ([execution]) => execution?.status === 'failed');
        const path = `/v1/executions/${failed?.id ?? ''}`;
        const read = () => victim.persist((api) => api.get<ExecutionDetail>(path));
        const retry = () => victim.attempt((api) => api.post(`${path}/retry`));
        const before = await read();

        await victim.arm();
        const answer = await retry();
        await victim.disarm();
        const after = await read();
        if (after.generation === 1) {
          if (answer !== null) victim.report('the retry was answered and is lost');
          expect(after).toEqual(before);
          await retry();
        }
        await victim.waitForLog(
          1,
          ([execution]) => execution?.status === 'succeeded' && execution.generation === 2,
        );
        if ((await read()).attempts.length !== 2) victim.report('there are not two attempts');
        if (deliveriesOf(receiver, eventId, '/').ids !== 1) victim.report('it has several webhook ids');
      },
    );

    console.info(`crash points: ${steps.length} steps of a retry by hand, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(kindsOf(killed)).toEqual(
      ['UpdateItem', 'PutItem', 'SendMessageBatch'].flatMap(placesOf).toSorted(),
    );
  },
  timeoutMs,
);
