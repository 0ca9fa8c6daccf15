import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { startReceiver } from '../support/http-server.ts';
import { deliveriesOf, killAtEveryStep, kindsOf } from './crash-run.ts';

const timeoutMs = 240_000;
// A first probe 300 ms after the circuit has opened, another one 600 ms after that.
const env = { HANDOFF_RETRY_SCALE: '0.005' };

// Each run has handlers of its own, which are made once for all.
const victims = 10;
const maxRuns = 9;

/** Calls that fail before the run is watched. The next one that fails opens the circuit. */
const failedBefore = 4;
/** And all others until then: the one that opens it and a probe. */
const failedCalls = failedBefore + 2;

it(
  'killed before and after every step of a circuit, it delivers what was parked as soon as the target is back',
  async () => {
    /** How often the target of a run was called. */
    const calls = new Map<string, number>();
    await using receiver = await startReceiver(({ path, body }, response) => {
      const { mark, isBefore } = (JSON.parse(body) as { data: { mark: string; isBefore?: true } }).data;
      const number = (calls.get(mark) ?? 0) + 1;
      if (path.startsWith('/down')) calls.set(mark, number);
      // What failed before is out of the way until the run is over.
      if (isBefore) response.setHeader('retry-after', '6000');
      response.writeHead(path.startsWith('/down') && number <= failedCalls ? 500 : 200).end();
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
              name: 'down',
              events: [`circuit.run${run}`, `sick.run${run}`],
              target: { type: 'http', url: `${receiver.url}/down/${run}`, timeoutMs: 1500 },
              // A kill can keep the circuit from opening.
              retry: { schedule: Array.from({ length: 10 }, () => 60) },
              priority: 1,
              onFailure: 'halt',
            });
            await api.post('/v1/handlers', {
              name: 'behind',
              events: [`circuit.run${run}`],
              target: { type: 'http', url: `${receiver.url}/behind/${run}`, timeoutMs: 1500 },
              priority: 2,
            });
          }
        },
      },
      async (victim, run) => {
        const mark = randomUUID();
        const failing = Array.from({ length: failedBefore }, () => ({ mark, isBefore: true }));
        await victim.publish(`sick.run${run}`, failing);
        await victim.waitFor(
          (api) => api.get<{ items: { status: string }[] }>(`/v1/executions?event=sick.run${run}`),
          ({ items }) => items.filter(({ status }) => status === 'waiting').length === failedBefore,
        );

        await victim.arm();
        const eventIds = await victim.publish(`circuit.run${run}`, [{ mark }, { mark }]);
        await victim.waitForLog(4, (executions) => executions.every(({ status }) => status === 'succeeded'));

        for (const eventId of eventIds) {
          for (const name of ['down', 'behind']) {
            const { count, ids } = deliveriesOf(receiver, eventId, `/${name}/${run}`);
            if (count === 0) victim.report(`${name} was not called`);
            if (ids > 1) victim.report(`${name} was called under several webhook ids`);
          }
        }
      },
    );

    console.info(`crash points: ${steps.length} steps of a circuit, ${killed.length} kills`);
    expect(problems).toEqual([]);
    expect(steps.length).toBeGreaterThanOrEqual(30);
    for (const kind of ['delivery', 'UpdateItem', 'PutItem', 'SendMessageBatch', 'acknowledge'])
      expect(kindsOf(killed)).toContain(`after:${kind}`);
  },
  timeoutMs,
);
