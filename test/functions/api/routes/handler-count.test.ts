import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { aHandlerInput, startApi, type Api } from '../api.ts';
import { storeHandlers } from '../many-handlers.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterEach(() => api.clear());
afterAll(() => api[Symbol.asyncDispose]());

const create = (more: object = {}) => api.request('POST', '/v1/handlers', { ...aHandlerInput(), ...more });
const tooMany = {
  status: 409,
  body: {
    status: 409,
    detail: 'There are 1000 handlers, and at most 1000 may be that are not archived. Archive or delete some.',
  },
};

describe('how many handlers there may be', () => {
  it('1000 that are not archived, disabled ones among them; beside them archived ones', async () => {
    const archived = await api.create({ status: 'archived' });
    await storeHandlers(api, { count: 600, status: 'enabled' });
    await storeHandlers(api, { count: 399, status: 'disabled' });
    const last = await create();
    expect(last.status).toBe(201);
    expect(await create()).toMatchObject(tooMany);
    expect(await create({ status: 'disabled' })).toMatchObject(tooMany);
    expect((await create({ status: 'archived' })).status).toBe(201);

    const one = `/v1/handlers/${archived.id}`;
    expect(await api.request('PATCH', one, { status: 'disabled' })).toMatchObject(tooMany);
    expect(await api.request('PUT', one, aHandlerInput())).toMatchObject(tooMany);
    expect((await api.request('PATCH', one, { priority: 7 })).status).toBe(200);
    // What is there may be changed and stopped as before.
    const other = `/v1/handlers/${last.body.id}`;
    expect((await api.request('PATCH', other, { priority: 7 })).status).toBe(200);
    expect((await api.request('POST', `${other}/disable`)).status).toBe(200);
    expect((await api.request('POST', `${other}/enable`)).status).toBe(200);

    expect((await api.request('DELETE', other)).status).toBe(204);
    expect((await api.request('PATCH', one, { status: 'enabled' })).status).toBe(200);
    expect(await create()).toMatchObject(tooMany);
    expect((await api.request('PATCH', one, { status: 'archived' })).status).toBe(200);
    expect((await create()).status).toBe(201);
  });

  it('5000 with archived ones', async () => {
    await storeHandlers(api, { count: 4999, status: 'archived' });
    const last = await create();
    expect(last.status).toBe(201);
    for (const status of ['enabled', 'archived']) {
      expect(await create({ status })).toMatchObject({
        status: 409,
        body: {
          detail:
            'There are 5000 handlers, archived ones among them, and at most 5000 may be. Delete some that nobody needs.',
        },
      });
    }
    const archive = (status: string) => api.request('PATCH', `/v1/handlers/${last.body.id}`, { status });
    expect((await archive('archived')).status).toBe(200);
    expect((await archive('enabled')).status).toBe(200);
  });
});
