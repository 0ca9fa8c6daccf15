import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Execution } from '../../shared/executions/execution.ts';
import type { Receiver } from '../support/http-server.ts';
import { connect, type System } from './system.ts';

let system: System;
let receiver: Receiver;
beforeAll(async () => {
  system = connect();
  receiver = await system.startReceiver(({ path }, response) => {
    response.writeHead(path === '/down' ? 503 : 204).end();
  });
});
afterAll(async () => {
  await system.close();
  await receiver.close();
});

const idsOf = async (query: string): Promise<string[]> => {
  const { items } = await system.api.get<{ items: Execution[] }>(`/v1/executions?${query}`);
  return items.map(({ id }) => id);
};

describe('the executions that need somebody', () => {
  it('are found by their status, of one handler and of all', async () => {
    const type = system.newType();
    const failing = await system.createHandler({
      events: [type],
      url: `${receiver.url}/down`,
      retry: { schedule: 'none' },
    });
    const waiting = await system.createHandler({ events: [type], url: `${receiver.url}/down` });
    const disabled = await system.createHandler({ events: [type], url: receiver.url, status: 'disabled' });
    await system.putEvents({ type });
    const { id: failedId } = await system.waitForStatus(failing.id, 'failed');
    const { id: waitingId } = await system.waitForStatus(waiting.id, 'waiting');
    const { id: heldId } = await system.waitForStatus(disabled.id, 'held');

    expect(await idsOf(`status=failed&handlerId=${failing.id}`)).toEqual([failedId]);
    expect(await idsOf(`status=waiting&handlerId=${failing.id}`)).toEqual([]);
    expect(await idsOf(`status=failed&event=${type}`)).toEqual([failedId]);
    expect(await idsOf(`status=waiting&event=${type}`)).toEqual([waitingId]);
    expect(await idsOf(`status=held&event=${type}`)).toEqual([heldId]);
  });
});

describe('a search', () => {
  it('goes by object, by what is in the error, and by what is in the data', async () => {
    const type = system.newType();
    const handler = await system.createHandler({
      events: [type],
      url: `${receiver.url}/down`,
      retry: { schedule: 'none' },
    });
    await system.putEvents(
      { type, detail: { objectId: 'a-1', data: { name: 'Ada' } } },
      { type, detail: { objectId: 'b-2', data: { name: 'Grace' } } },
    );
    const executions = await system.waitForExecutions(handler.id, 2);
    const grace = executions.find(({ objectId }) => objectId === 'b-2')?.id;

    expect(await idsOf(`handlerId=${handler.id}&objectId=b-2`)).toEqual([grace]);
    expect(await idsOf(`handlerId=${handler.id}&data=Grace`)).toEqual([grace]);
    expect(await idsOf(`handlerId=${handler.id}&error=503`)).toHaveLength(2);
    expect(await idsOf(`handlerId=${handler.id}&error=timeout`)).toEqual([]);
  });
});
