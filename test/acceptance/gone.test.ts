import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect, type System } from './system.ts';

let system: System;
beforeAll(() => {
  system = connect();
});
afterAll(() => system.close());

it.each([
  ['at once', [410]],
  ['at a later attempt', [503, 410]],
])(
  'a handler whose endpoint says %s that it is gone is disabled, and what it had to do is held',
  async (_, answers) => {
    const left = [...answers];
    const endpoint = await system.startReceiver(
      (__, response) => void response.writeHead(left.shift() ?? 500).end(),
    );
    try {
      const type = system.newType();
      const handler = await system.createHandler({
        events: [type],
        url: endpoint.url,
        retry: { schedule: [1] },
      });
      await system.putEvents({ type });

      expect(await system.waitForStatus(handler.id, 'held')).toMatchObject({
        reason: 'disabled',
        statusCode: 410,
        attemptCount: answers.length,
      });
      expect(await system.api.get(`/v1/handlers/${handler.id}`)).toMatchObject({
        status: 'disabled',
        health: { disabledBecause: 'gone' },
      });
    } finally {
      await endpoint.close();
    }
  },
);
