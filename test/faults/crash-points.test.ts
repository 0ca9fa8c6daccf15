import { expect, it } from 'vitest';
import { startReceiver } from '../support/http-server.ts';
import { deliveriesOf, killAtEveryStep, kindsOf, placesOf } from './crash-run.ts';

// Each run has handlers of its own, which are made once for all.
const maxRuns = 15;
const timeoutMs = 240_000;

const handlers = [
  { name: 'good', status: 'enabled', ends: 'succeeded' },
  { name: 'broken', status: 'enabled', ends: 'waiting' },
  { name: 'disabled', status: 'disabled', ends: 'held' },
] as const;

it(
  'killed before and after every step of deliveries, it loses no accepted event and moves no status back',
  async () => {
    await using receiver = await startReceiver(({ path }, response) => {
      response.writeHead(path.startsWith('/broken') ? 500 : 200).end();
    });
    const { steps, killed, problems } = await killAtEveryStep(
      {
        maxRuns,
        async prepare(api) {
          for (let run = 0; run < maxRuns; run += 1) {
            for (const { name, status } of handlers) {
              await api.post('/v1/handlers', {
                name,
                status,
                events: [`crash.run${run}`],
                target: { type: 'http', url: `${receiver.url}/${name}/${run}` },
                // Longer than the test takes, and no longer than the queue can wait.
                retry: { schedule: [800] },
              });
            }
          }
        },
      },
      async (victim, run) => {
        await victim.arm();
        const [eventId = ''] = await victim.publish(`crash.run${run}`, [{}]);
        await victim.acknowledged();

        await victim.waitForLog(handlers.length, (executions) =>
          handlers.every(({ name, ends }) =>
            executions.some(({ handlerName, status }) => handlerName === name && status === ends),
          ),
        );
        for (const { name, status } of handlers) {
          const { count, ids } = deliveriesOf(receiver, eventId, `/${name}/${run}`);
          if (status === 'disabled' && count > 0) victim.report('a disabled handler was called');
          if (status === 'enabled' && count === 0) victim.report(`${name} was not called`);
          if (ids > 1) victim.report(`${name} was called under several webhook ids`);
        }
      },
    );

    console.info(`crash points: ${steps.length} steps of deliveries, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(steps.length).toBeGreaterThanOrEqual(10);
    expect(kindsOf(killed)).toEqual(
      ['delivery', 'UpdateItem', 'PutItem', 'BatchWriteItem', 'SendMessageBatch', 'acknowledge']
        .flatMap(placesOf)
        .toSorted(),
    );
  },
  timeoutMs,
);

it(
  'killed before and after every step of a registration, it has the handler wholly or not at all',
  async () => {
    await using receiver = await startReceiver();
    const { steps, killed, problems } = await killAtEveryStep({}, async (victim, run) => {
      const type = `registration.run${run}`;
      const handler = { name: 'new', events: [type], target: { type: 'http', url: receiver.url } };
      await victim.arm();
      await victim.persist(async (api) => {
        const { items } = await api.get<{ items: unknown[] }>(`/v1/handlers?event=${type}`);
        if (items.length === 0) await api.post('/v1/handlers', handler);
      });
      // Only one that has seen no event yet knows of a handler that is younger than a second.
      if (!victim.wasKilled()) return;
      const [eventId] = await victim.publish(type, [{}]);
      const executions = await victim.waitForLog(1, ([execution]) => execution?.status === 'succeeded');
      if (executions.length !== 1) victim.report(`${executions.length} handlers ran for ${eventId}`);
    });

    expect(problems).toEqual([]);
    // The first and the last one are those of the audit trail.
    expect(steps).toEqual(['PutItem:1', 'UpdateItem:1', 'PutItem:2', 'UpdateItem:2', 'PutItem:3']);
    expect(killed.toSorted()).toEqual(steps.flatMap(placesOf).toSorted());
  },
  timeoutMs,
);
