import { expect, it } from 'vitest';
import type { Recovery } from '../../shared/executions/recovery.ts';
import { startReceiver } from '../support/http-server.ts';
import { deliveriesOf, killAtEveryStep, kindsOf } from './crash-run.ts';

const timeoutMs = 240_000;
// Every sweep is told: a recovery ends in one, also in one that finds nothing more to release.
const env = { HANDOFF_RETRY_SCALE: '0.01', POWERTOOLS_LOG_LEVEL: 'DEBUG' };

// Each run has a handler of its own, all of them made once.
const victims = 8;
const maxRuns = 8;

it(
  'killed before and after every step of a recovery, it delivers each once more and ends it',
  async () => {
    const handlerIds: string[] = [];
    const tried = new Set<unknown>();
    await using receiver = await startReceiver(({ headers, body }, response) => {
      const { data } = JSON.parse(body) as { data: { first: number; later: number } };
      response.writeHead(tried.has(headers['webhook-id']) ? data.later : data.first).end();
      tried.add(headers['webhook-id']);
    });

    const { steps, killed, problems } = await killAtEveryStep(
      {
        env,
        victims,
        maxRuns,
        spareSame: true,
        async prepare(api) {
          for (let run = 0; run < maxRuns; run += 1) {
            const { id } = await api.post<{ id: string }>('/v1/handlers', {
              name: 'back',
              events: [`recovery.run${run}`],
              target: { type: 'http', url: `${receiver.url}/${run}`, timeoutMs: 3000 },
            });
            handlerIds.push(id);
          }
        },
      },
      async (victim, run) => {
        const handlerId = handlerIds[run] ?? '';
        const type = `recovery.run${run}`;
        // One that fails for good, and fails again, and one that is held, because the endpoint disables the handler.
        const eventIds = await victim.publish(type, [{ first: 404, later: 404 }]);
        await victim.waitForLog(1, ([execution]) => execution?.status === 'failed');
        eventIds.push(...(await victim.publish(type, [{ first: 410, later: 200 }])));
        await victim.waitForLog(2, (executions) => executions.some(({ status }) => status === 'held'));
        await victim.persist((api) => api.post(`/v1/handlers/${handlerId}/enable`));

        await victim.arm();
        const find = async (api: { get: <Answer>(path: string) => Promise<Answer> }) => {
          const { items } = await api.get<{ items: Recovery[] }>('/v1/recoveries?limit=100');
          return items.filter((recovery) => recovery.handlerId === handlerId);
        };
        await victim.persist(async (api) => {
          if ((await find(api)).length > 0) return;
          const range = { from: '2000-01-01T00:00:00.000Z', to: '2100-01-01T00:00:00.000Z' };
          await api.post(`/v1/handlers/${handlerId}/recover`, range);
        });
        await victim.waitFor(find, ([recovery, ...more]) => recovery?.status === 'done' && more.length === 0);
        // From now on nothing is released any more: what is in the log twice, or again, stays so.
        await victim.waitForLog(2, (executions) =>
          executions.every(
            ({ eventId, status, generation, attemptCount }) =>
              attemptCount === 2 &&
              (eventId === eventIds[0]
                ? status === 'failed' && generation === 2
                : status === 'succeeded' && generation === 1),
          ),
        );
        for (const eventId of eventIds) {
          const { count, ids } = deliveriesOf(receiver, eventId, `/${run}`);
          if (count < 2) victim.report(`${count} calls`);
          // Beside the first one and that of the recovery: one that was under way is made again.
          if (count > (victim.wasKilled() ? 3 : 2)) victim.report(`${count} calls`);
          if (ids > 1) victim.report('it was called under several webhook ids');
        }
      },
    );

    console.info(`crash points: ${steps.length} steps of a recovery, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(steps.length).toBeGreaterThanOrEqual(18);
    for (const kind of ['delivery', 'UpdateItem', 'PutItem', 'SendMessageBatch', 'acknowledge'])
      expect(kindsOf(killed)).toContain(`after:${kind}`);
  },
  timeoutMs,
);
