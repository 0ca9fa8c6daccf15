import { expect, it } from 'vitest';
import { startReceiver } from '../support/http-server.ts';
import { deliveriesOf, killAtEveryStep, kindsOf } from './crash-run.ts';

const timeoutMs = 240_000;
const env = { HANDOFF_RETRY_SCALE: '0.01' };

// Each run has handlers of its own, which are made once for all.
const victims = 8;
const maxRuns = 7;

it(
  'killed before and after every step of a handler that its endpoint disables, it holds what waits for it',
  async () => {
    await using receiver = await startReceiver(({ body }, response) => {
      const { data } = JSON.parse(body) as { data: { isLast: boolean } };
      if (data.isLast) response.setHeader('webhook-delivery', 'disable');
      response.writeHead(data.isLast ? 410 : 500).end();
    });

    const { steps, killed, problems } = await killAtEveryStep(
      {
        env,
        victims,
        maxRuns,
        spareSame: true,
        async prepare(api) {
          for (let run = 0; run < maxRuns; run += 1) {
            await api.post('/v1/handlers', {
              name: 'gone',
              events: [`gone.run${run}`],
              target: { type: 'http', url: `${receiver.url}/${run}`, timeoutMs: 3000 },
              // Longer than the run takes, and no longer than the queue can wait.
              retry: { schedule: [3000] },
            });
          }
        },
      },
      async (victim, run) => {
        const type = `gone.run${run}`;
        const ids = await victim.publish(type, [{ isLast: false }]);
        await victim.waitForLog(1, ([execution]) => execution?.status === 'waiting');

        await victim.arm();
        ids.push(...(await victim.publish(type, [{ isLast: true }])));
        await victim.waitForLog(2, (executions) =>
          executions.every(({ status, reason }) => status === 'held' && reason === 'disabled'),
        );
        for (const eventId of ids) {
          const deliveries = deliveriesOf(receiver, eventId, `/${run}`);
          if (deliveries.count === 0) victim.report('it was not called');
          if (deliveries.count > (victim.wasKilled() ? 2 : 1)) victim.report(`${deliveries.count} calls`);
          if (deliveries.ids > 1) victim.report('it was called under several webhook ids');
        }
      },
    );

    console.info(`crash points: ${steps.length} steps of a 410, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(steps.length).toBeGreaterThanOrEqual(12);
    for (const kind of ['delivery', 'UpdateItem', 'PutItem', 'PutEvents', 'SendMessageBatch', 'acknowledge'])
      expect(kindsOf(killed)).toContain(`after:${kind}`);
  },
  timeoutMs,
);

it(
  'killed before and after every step of handlers that are archived and deleted, it ends their executions with the reason',
  async () => {
    await using receiver = await startReceiver((_, response) => void response.writeHead(500).end());
    const ids = new Map<string, string>();
    const statuses = { archived: 'disabled', deleted: 'enabled' } as const;

    const { steps, killed, problems } = await killAtEveryStep(
      {
        env,
        victims,
        maxRuns,
        spareSame: true,
        async prepare(api) {
          for (let run = 0; run < maxRuns; run += 1) {
            for (const [name, status] of Object.entries(statuses)) {
              const { id } = await api.post<{ id: string }>('/v1/handlers', {
                name,
                status,
                events: [`stopped.run${run}`],
                target: { type: 'http', url: receiver.url, timeoutMs: 3000 },
                retry: { schedule: [3000] },
              });
              ids.set(`${name}${run}`, `/v1/handlers/${id}`);
            }
          }
        },
      },
      async (victim, run) => {
        const [archived = '', deleted = ''] = Object.keys(statuses).map((name) => ids.get(`${name}${run}`));
        await victim.publish(`stopped.run${run}`, [{}]);
        await victim.waitForLog(2, (executions) => {
          const found = executions.map(({ status }) => status).toSorted();
          return found.join() === 'held,waiting';
        });

        await victim.arm();
        await victim.persist((api) => api.patch(archived, { status: 'archived' }));
        await victim.persist(async (api) => {
          const { status } = await api.request('GET', deleted);
          if (status !== 404) await api.delete(deleted);
        });
        await victim.waitForLog(2, (executions) =>
          executions.every(
            ({ handlerName, status, reason }) => status === 'failed' && reason === handlerName,
          ),
        );
      },
    );

    console.info(`crash points: ${steps.length} steps of stopped handlers, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(steps.length).toBeGreaterThanOrEqual(10);
    for (const kind of ['UpdateItem', 'PutItem', 'SendMessageBatch', 'acknowledge'])
      expect(kindsOf(killed)).toContain(`after:${kind}`);
  },
  timeoutMs,
);
