import { expect, it } from 'vitest';
import { startReceiver } from '../support/http-server.ts';
import { deliveriesOf, killAtEveryStep, kindsOf } from './crash-run.ts';

const timeoutMs = 240_000;
const env = { HANDOFF_RETRY_SCALE: '0.01' };

// Each run has a handler of its own, all of them made once: a slot that a death wastes is not another run's.
const victims = 8;
const maxRuns = 6;
// The second slot is too far off to be waited for.
const rateLimit = { perSecond: 0.45 };

it(
  'killed before and after every step of a handler with a rate limit, it delivers all at their slots',
  async () => {
    await using receiver = await startReceiver();
    const { steps, killed, problems } = await killAtEveryStep(
      {
        env,
        victims,
        maxRuns,
        spareSame: true,
        async prepare(api) {
          for (let run = 0; run < maxRuns; run += 1) {
            await api.post('/v1/handlers', {
              name: 'limited',
              events: [`limited.run${run}`],
              target: { type: 'http', url: `${receiver.url}/${run}`, timeoutMs: 3000 },
              rateLimit,
            });
          }
        },
      },
      async (victim, run) => {
        await victim.arm();
        const eventIds = await victim.publish(`limited.run${run}`, [{}, {}]);
        await victim.waitForLog(2, (executions) => executions.every(({ status }) => status === 'succeeded'));

        for (const eventId of eventIds) {
          const { count, ids } = deliveriesOf(receiver, eventId, `/${run}`);
          if (count === 0) victim.report('it was not called');
          // What was under way is made again, and nothing else.
          if (count > (victim.wasKilled() ? 2 : 1)) victim.report(`${count} calls`);
          if (ids > 1) victim.report('it was called under several webhook ids');
        }
      },
    );

    console.info(`crash points: ${steps.length} steps of a rate limit, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(steps.length).toBeGreaterThanOrEqual(12);
    for (const kind of ['delivery', 'UpdateItem', 'PutItem', 'SendMessageBatch', 'acknowledge'])
      expect(kindsOf(killed)).toContain(`after:${kind}`);
  },
  timeoutMs,
);
