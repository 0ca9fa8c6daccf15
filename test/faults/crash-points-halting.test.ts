import { expect, it } from 'vitest';
import { startReceiver } from '../support/http-server.ts';
import { deliveriesOf, killAtEveryStep, kindsOf } from './crash-run.ts';

const timeoutMs = 240_000;
// A sweep every 250 ms, and a lease is over a second after its call would be.
const env = { HANDOFF_RETRY_SCALE: '0.01' };

const handlers = [
  { name: 'guard', priority: 1, onFailure: 'halt' },
  { name: 'second', priority: 2 },
  { name: 'third', priority: 3 },
] as const;

it(
  'killed before and after every step of an event that is halted, it lets the others run in their order, and none of them too early',
  async () => {
    const tried = new Set<unknown>();
    /** The names of what succeeded, in that order, by event. */
    const succeeded = new Map<string, string[]>();
    await using receiver = await startReceiver(({ path, headers }, response) => {
      const webhookId = String(headers['webhook-id']);
      const fails = path === '/guard' && !tried.has(webhookId);
      tried.add(webhookId);
      response.writeHead(fails ? 500 : 200).end();
      if (fails) return;
      const eventId = webhookId.slice(0, 36);
      succeeded.set(eventId, [...(succeeded.get(eventId) ?? []), path.slice(1)]);
    });

    const { steps, killed, problems } = await killAtEveryStep(
      {
        env,
        victims: 6,
        spareSame: true,
        async prepare(api) {
          for (const { name, ...handler } of handlers) {
            await api.post('/v1/handlers', {
              ...handler,
              name,
              events: ['halting.*'],
              target: { type: 'http', url: `${receiver.url}/${name}`, timeoutMs: 3000 },
              // Time enough to see that the others are held.
              retry: { schedule: [60, 60, 60] },
            });
          }
        },
      },
      async (victim, run) => {
        await victim.arm();
        const [eventId = ''] = await victim.publish(`halting.run${run}`, [{}]);
        if (run === 0) {
          await victim.waitForLog(
            3,
            (executions) => executions.filter(({ reason }) => reason === 'halted').length === 2,
          );
        }
        await victim.waitForLog(3, (executions) => executions.every(({ status }) => status === 'succeeded'));

        const order = [...new Set(succeeded.get(eventId))];
        if (order.join() !== 'guard,second,third') victim.report(`they ran in this order: ${order.join()}`);
        for (const { name } of handlers) {
          const { count, ids } = deliveriesOf(receiver, eventId, `/${name}`);
          // One that was under way is made again.
          const most = (name === 'guard' ? 2 : 1) + (victim.wasKilled() ? 1 : 0);
          if (count > most) victim.report(`${count} calls of ${name}`);
          if (ids > 1) victim.report(`${name} was called under several webhook ids`);
        }
      },
    );

    console.info(`crash points: ${steps.length} steps of a halted event, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(steps.length).toBeGreaterThanOrEqual(20);
    for (const kind of ['delivery', 'UpdateItem', 'PutItem', 'SendMessageBatch', 'acknowledge'])
      expect(kindsOf(killed)).toContain(`after:${kind}`);
  },
  timeoutMs,
);
