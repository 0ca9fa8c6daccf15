import type { Context } from 'aws-lambda';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { deadLettersPartition } from '../../../shared/dead-letters/dead-letters.ts';
import { anEvent } from '../../support/builders.ts';
import { captureLog } from '../log-lines.ts';
import { startDispatcher } from '../dispatcher/dispatcher.ts';

let system: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  system = await startDispatcher();
});
afterEach(() => system.clear());
afterAll(() => system[Symbol.asyncDispose]());

const context = { getRemainingTimeInMillis: () => 60_000 } as Context;

/** A new copy of the function, as a cold environment has it, with its variables set. */
async function coldHandler(variables: Record<string, string> = system.variables) {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  vi.resetModules();
  const { handler } = await import('../../../functions/sweeper/lambda.ts');
  return handler;
}

describe('handler', () => {
  it('says nothing about a run in which there was nothing to do', async () => {
    const handler = await coldHandler();
    const lines = captureLog();
    await handler({}, context);
    expect(lines).toEqual([]);
  });

  it('makes rows of dead events, with the reason, and throws dead wake-up calls away', async () => {
    const handler = await coldHandler();
    const lines = captureLog();
    const body = anEvent();
    await system.queues.eventsDeadLetters.send([{ body }]);
    await system.queues.retriesDeadLetters.send([{ body: '{}' }]);

    await handler({}, context);

    expect(await system.deadLetters()).toMatchObject([
      { body, reason: expect.stringContaining('received it 10 times') },
    ]);
    for (const queue of [system.queues.eventsDeadLetters, system.queues.retriesDeadLetters]) {
      expect(queue.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
    }
    expect(lines.filter(({ message }) => message === 'sweep.done')).toMatchObject([
      { level: 'INFO', woken: 0, unfinished: false, deadLetters: 1, deadWakeUps: 1, problems: [] },
    ]);
  });

  it('fails when something went wrong, having done the rest, and goes on at the next run', async () => {
    const handler = await coldHandler();
    captureLog();
    await system.queues.eventsDeadLetters.send([{ body: anEvent() }]);
    system.wire.refuse(({ operation }) => operation === 'Query');
    await expect(handler({}, context)).rejects.toThrow(/"deadLetters":1.*AccessDenied/u);
    expect(await system.rowsOf(deadLettersPartition)).toHaveLength(1);

    system.wire.reset();
    await handler({}, context);
  });

  it('names every variable that is missing', async () => {
    const handler = await coldHandler({ EXECUTIONS_TABLE: '', RETRIES_QUEUE: 'no-url' });
    await expect(handler({}, context)).rejects.toThrow(/EXECUTIONS_TABLE: .*RETRIES_QUEUE: /u);
  });
});
