import { GetCommand } from '@aws-sdk/lib-dynamodb';
import { afterAll, describe, expect, it } from 'vitest';
import { ConflictError, NotFoundError } from '../../../shared/errors.ts';
import { createHealthStore } from '../../../shared/handlers/health-store.ts';
import { createRateLimits, rateLimitKey } from '../../../shared/handlers/rate-limit.ts';
import { createHandlerStore, type Settling } from '../../../shared/handlers/store.ts';
import { aHandler } from '../../support/builders.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const now = () => new Date();
const store = createHandlerStore({ dynamo: db.dynamo, tableName: db.handlersTable, now });
const stored = (...[handler]: Parameters<typeof aHandler>) => ({
  handler: aHandler(handler),
  sealedSecrets: ['v1.one', 'v1.two'],
});

async function storedOnce(...handler: Parameters<typeof aHandler>) {
  const made = stored(...handler);
  await store.create(made);
  return made;
}

/** The same table through a client that notes its calls. */
function recordingStore(answer?: Answer) {
  const recording = createRecordingDynamo(answer);
  return {
    ...recording,
    store: createHandlerStore({ dynamo: recording.dynamo, tableName: db.handlersTable, now }),
  };
}

describe('the handler store', () => {
  it('gives back what was created, secrets too', async () => {
    const made = await storedOnce({ target: { headers: { 'x-tenant': 'acme' } } });
    expect(await store.get(made.handler.id)).toEqual(made);
  });

  it('says which handler there is none of', async () => {
    await expect(store.get('h_none')).rejects.toThrow(new NotFoundError('handler', 'h_none'));
  });

  it('takes the same creation twice, as the SDK repeats it when an answer was lost', async () => {
    const made = await storedOnce();
    await store.create(made);
    expect(await store.get(made.handler.id)).toEqual(made);
  });

  it('takes the health of a target for no handler, and an edit leaves it alone', async () => {
    const made = await storedOnce();
    const { id } = made.handler;
    const health = createHealthStore({
      dynamo: db.dynamo,
      tableName: db.handlersTable,
      handlers: store,
      scale: 1,
      now,
    });
    const before = await store.readAll();
    const since = now().toISOString();
    await health.reportFailures(
      { handlerId: id, targetVersion: 1 },
      { count: 2, since, aliveAt: null, maxGapMs: 60_000 },
    );
    await store.replace({ ...made, handler: { ...made.handler, name: 'Other', version: 2 } }, 1);
    const after = await store.readAll();
    expect(after.handlers).toHaveLength(before.handlers.length);
    expect(after.health.get(id)).toMatchObject({ targetVersion: 1, streak: 2, failingSince: since });
    await expect(store.get(`${id}#HEALTH`)).rejects.toThrow(NotFoundError);
  });

  it('lists handlers over several pages of a query', async () => {
    const before = (await store.readAll()).handlers.length;
    // 30 descriptions of 10,000 characters of three bytes: almost 1 MB, where a page ends.
    const description = '漢'.repeat(10_000);
    await Promise.all(Array.from({ length: 120 }, () => storedOnce({ description })));
    const { store: recorded, names } = recordingStore();
    expect((await recorded.readAll()).handlers).toHaveLength(before + 120);
    expect(names().length).toBeGreaterThan(1);
  });

  it('reads strongly consistently', async () => {
    const made = await storedOnce();
    const { store: recorded, calls } = recordingStore();
    await recorded.get(made.handler.id);
    await recorded.readAll();
    await recorded.revision();
    expect(calls.every(({ input }) => input['ConsistentRead'] === true)).toBe(true);
  });

  it('replaces a handler that is at the version that was read', async () => {
    const made = await storedOnce();
    const next = { ...made, handler: { ...made.handler, name: 'new name', version: 2 } };
    await store.replace(next, 1);
    expect(await store.get(made.handler.id)).toEqual(next);
  });

  it('refuses to replace or remove what has changed since it was read, and leaves it alone', async () => {
    const made = await storedOnce({ version: 3 });
    const conflict = { name: 'ConflictError', reason: 'version' };
    await expect(store.replace(made, 2)).rejects.toMatchObject(conflict);
    await expect(store.remove(made.handler.id, 2)).rejects.toMatchObject(conflict);
    expect(await store.get(made.handler.id)).toEqual(made);
  });

  it('refuses to replace or remove what is gone', async () => {
    const made = await storedOnce();
    await store.remove(made.handler.id, 1);
    await expect(store.get(made.handler.id)).rejects.toThrow(NotFoundError);
    await expect(store.replace(made, 1)).rejects.toThrow(ConflictError);
    await expect(store.remove(made.handler.id, 1)).rejects.toThrow(ConflictError);
  });

  it('lets one of two edits at once through and gives the other one a conflict', async () => {
    const made = await storedOnce();
    const edit = (name: string) =>
      store.replace({ ...made, handler: { ...made.handler, name, version: 2 } }, 1).then(() => name);
    const results = await Promise.allSettled([edit('a'), edit('b')]);
    const [won, ...others] = results.filter(({ status }) => status === 'fulfilled');
    expect(others).toEqual([]);
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { name: 'ConflictError', reason: 'version' },
    });
    const { handler } = await store.get(made.handler.id);
    expect(won).toMatchObject({ value: handler.name });
    expect(handler.version).toBe(2);
  });
});

describe('a deleted handler', () => {
  it('leaves nothing behind when its executions are seen to, the row of its slots neither', async () => {
    const made = await storedOnce();
    const { id } = made.handler;
    const other = await storedOnce();
    const limits = createRateLimits({ dynamo: db.dynamo, tableName: db.handlersTable, now });
    for (const handler of [made, other]) await limits.reserve(handler.handler.id, { perSecond: 5 }, 1);
    await store.remove(id, 1);
    const settling = (await store.readAll()).settling.find((stopped) => stopped.id === id);

    await store.settled(settling as Settling);

    const rowOf = (handlerId: string) =>
      db.dynamo.send(new GetCommand({ TableName: db.handlersTable, Key: rateLimitKey(handlerId) }));
    expect(await rowOf(id)).not.toHaveProperty('Item');
    expect(await rowOf(other.handler.id)).toHaveProperty('Item');
    expect((await store.readAll()).settling.filter((stopped) => stopped.id === id)).toEqual([]);
  });
});

describe('the revision', () => {
  it('is raised before and after every write', async () => {
    const { store: recorded, names, calls } = recordingStore();
    const made = stored();
    await recorded.create(made);
    await recorded.replace({ ...made, handler: { ...made.handler, version: 2 } }, 1);
    await recorded.remove(made.handler.id, 2);
    expect(names().join(' ')).toBe(
      'UpdateItem PutItem UpdateItem UpdateItem PutItem UpdateItem UpdateItem PutItem UpdateItem',
    );
    expect(calls[0]?.input['Key']).toEqual({ pk: 'HANDLER', sk: '#REVISION' });
  });

  it('is another one after every write', async () => {
    const seen = [await store.revision()];
    const made = await storedOnce();
    seen.push(await store.revision());
    await store.replace({ ...made, handler: { ...made.handler, version: 2 } }, 1);
    seen.push(await store.revision());
    await store.remove(made.handler.id, 2);
    seen.push(await store.revision());
    expect(new Set(seen).size).toBe(4);
  });

  it('is raised before and after a write that is refused: the SDK may have repeated one that was done', async () => {
    const made = await storedOnce();
    const { store: recorded, names } = recordingStore();
    await expect(recorded.replace(made, 7)).rejects.toThrow(ConflictError);
    expect(names()).toEqual(['UpdateItem', 'PutItem', 'UpdateItem']);
  });

  it('is raised after a write that was done although its answer was lost', async () => {
    const made = await storedOnce();
    const { store: recorded, names } = recordingStore(async ({ name }, send) => {
      const output = await send();
      if (name === 'PutItem') throw new Error('the connection broke');
      return output;
    });
    const next = { ...made, handler: { ...made.handler, version: 2 } };
    await expect(recorded.replace(next, 1)).rejects.toThrow('the connection broke');
    expect(await store.get(made.handler.id)).toEqual(next);
    expect(names()).toEqual(['UpdateItem', 'PutItem', 'UpdateItem']);
  });

  it('stops a write that it could not be raised before', async () => {
    const made = await storedOnce();
    const { store: recorded, names } = recordingStore(() => Promise.reject(new Error('down')));
    await expect(recorded.remove(made.handler.id, 1)).rejects.toThrow('down');
    expect(names()).toEqual(['UpdateItem']);
    expect(await store.get(made.handler.id)).toEqual(made);
  });
});
