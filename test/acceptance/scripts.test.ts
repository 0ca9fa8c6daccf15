import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtInEventTypes } from '../../shared/catalogue/catalogue.ts';
import { connect, type System } from './system.ts';

let system: System;
beforeAll(() => {
  system = connect();
});
afterAll(() => system.close());

const sampleOf = (type: string) => builtInEventTypes.find(({ name }) => name === type)?.sample;

describe('a script', () => {
  it.each([
    ['balance-guard', 'client.balance.nonpositive'],
    ['rates-handoff', 'email_rates.import'],
  ])('%s runs on its event, and the log shows what it returned', async (script, type) => {
    const handler = await system.createHandler({ events: [type], script });
    await system.putEvents({ type, detail: sampleOf(type) });

    const { id } = await system.waitForStatus(handler.id, 'succeeded');

    const { attempts, request, statusCode } = await system.getExecution(id);
    expect(statusCode).toBeNull();
    expect(attempts).toHaveLength(1);
    expect(JSON.parse(attempts[0]?.response ?? '')).not.toHaveProperty('ignored');
    expect(request).toMatchObject({ type: 'script', script });
    expect(JSON.parse(request?.body ?? '')).toMatchObject({
      event: { 'detail-type': type, detail: sampleOf(type) },
      handler: { id: handler.id, name: handler.name },
      execution: { id, attempt: 1 },
    });
  });

  it.each(['balance-guard', 'rates-handoff'])(
    '%s ignores what is not its event, and does so again when it is run once more',
    async (script) => {
      const type = system.newType();
      const handler = await system.createHandler({ events: [type], script });
      await system.putEvents({ type });
      const { id } = await system.waitForStatus(handler.id, 'succeeded');
      const { attempts } = await system.getExecution(id);
      expect(JSON.parse(attempts[0]?.response ?? '')).toMatchObject({ ignored: true });

      await system.api.post(`/v1/executions/${id}/retry`);

      expect(await system.waitForStatus(handler.id, 'succeeded')).toMatchObject({
        generation: 2,
        attemptCount: 2,
      });
    },
  );

  it('is listed with its language and what it is for', async () => {
    const { items } = await system.api.get<{ items: unknown[] }>('/v1/scripts');
    // A deployer's own are there too.
    expect(items).toEqual(
      expect.arrayContaining([
        { name: 'balance-guard', language: 'typescript', description: expect.stringMatching(/\w/u) },
        { name: 'rates-handoff', language: 'python', description: expect.stringMatching(/\w/u) },
      ]),
    );
  });

  it('that is not part of the deployment cannot be saved', async () => {
    const answer = await system.api.request('POST', '/v1/handlers', {
      name: 'gone',
      events: ['client.create'],
      target: { type: 'script', script: 'gone' },
    });
    expect(answer).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'target.script', message: expect.stringContaining('balance-guard') }] },
    });
  });

  it.each([
    ['balance-guard', 'client.balance.*'],
    ['rates-handoff', 'email_rates.import'],
  ])('can be tested before it is saved: %s', async (script, event) => {
    const answer = await system.api.post('/v1/handlers/test', {
      handler: { name: 'try', events: [event], target: { type: 'script', script } },
    });
    expect(answer).toMatchObject({
      execution: { status: 'succeeded', attemptCount: 1 },
      request: { type: 'script', script },
      response: { statusCode: null, body: expect.stringContaining('{') },
    });
  });
});
