import { randomBytes } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import type { Handler } from '../../../shared/handlers/handler.ts';
import { newSigningSecret, signingKeyOf } from '../../../shared/delivery/signature.ts';
import { buildRegistry, createRegistry, patternsFor } from '../../../shared/handlers/registry.ts';
import { sealSecret } from '../../../shared/secrets/secret-envelope.ts';
import { createHandlerStore } from '../../../shared/handlers/store.ts';
import { aHandler, aRegisteredHandler } from '../../support/builders.ts';
import { createClock } from '../../support/clock.ts';
import { startTestDynamo } from '../../support/dynamo.ts';
import { createRecordingDynamo, type Answer } from '../../support/sdk-calls.ts';

const db = await startTestDynamo();
afterAll(() => db[Symbol.asyncDispose]());

const key = randomBytes(32);
const editor = createHandlerStore({ dynamo: db.dynamo, tableName: db.handlersTable, now: () => new Date() });

/** Stores a handler as the API does. Each test has an event type of its own. */
async function save(handler: Handler, secrets = ['whsec_1']): Promise<Handler> {
  const sealedSecrets = secrets.map((secret) => sealSecret(key, handler.id, secret));
  if (handler.version === 1) await editor.create({ handler, sealedSecrets });
  else await editor.replace({ handler, sealedSecrets }, handler.version - 1);
  return handler;
}
const edit = (handler: Handler, changes: Partial<Handler>) =>
  save({ ...handler, ...changes, version: handler.version + 1 });

const ofType = (type: string) => ({ type, raw: '{}', json: {} });

/** One dispatcher environment, with a clock and a client of its own. */
function anEnvironment(answer?: Answer) {
  const clock = createClock('2026-11-23T10:00:00.000Z');
  const { dynamo, calls, names } = createRecordingDynamo(answer);
  const store = createHandlerStore({ dynamo, tableName: db.handlersTable, now: clock.now });
  const currentRegistry = createRegistry({ store, dataKey: async () => key, now: clock.now });
  return {
    clock,
    calls,
    names,
    currentRegistry,
    /** The names of the handlers that an event which arrives now meets. */
    handlersFor: async (type: string): Promise<string[]> => {
      const registry = await currentRegistry();
      return registry.matching(ofType(type)).flatMap((group) => group.map(({ handler }) => handler.name));
    },
  };
}

describe('the current registry', () => {
  it('has the handlers with their opened secrets', async () => {
    const secrets = [newSigningSecret(), newSigningSecret()];
    const handler = await save(aHandler({ events: ['test.secrets'] }), secrets);
    const registry = await anEnvironment().currentRegistry();
    const [[registered] = []] = registry.matching(ofType('test.secrets'));
    expect(registered?.handler).toEqual(handler);
    expect(registered?.signing).toEqual({ keys: secrets.map(signingKeyOf) });
  });

  it('keeps a secret that does not open to its own handler', async () => {
    const broken = aHandler({ events: ['test.broken'] });
    await editor.create({
      handler: broken,
      sealedSecrets: [sealSecret(randomBytes(32), broken.id, 'whsec_1')],
    });
    await save(aHandler({ events: ['test.whole'] }));
    const registry = await anEnvironment().currentRegistry();
    const [[registered] = []] = registry.matching(ofType('test.broken'));
    expect(registered?.signing).toMatchObject({ problem: expect.stringContaining(broken.id) as string });
    const [[whole] = []] = registry.matching(ofType('test.whole'));
    expect(whole?.signing).toHaveProperty('keys');
  });

  it('sees an edit a second later', async () => {
    const handler = await save(aHandler({ name: 'before', events: ['test.edit'] }));
    const { handlersFor, clock } = anEnvironment();
    expect(await handlersFor('test.edit')).toEqual(['before']);
    await edit(handler, { name: 'after' });
    clock.advance(1000);
    expect(await handlersFor('test.edit')).toEqual(['after']);
  });

  it('looks no more than once a second', async () => {
    const handler = await save(aHandler({ name: 'before', events: ['test.second'] }));
    const { handlersFor, clock, names } = anEnvironment();
    await handlersFor('test.second');
    await edit(handler, { name: 'after' });
    const reads = names().length;
    clock.advance(999);
    expect(await handlersFor('test.second')).toEqual(['before']);
    expect(names()).toHaveLength(reads);
    clock.advance(1);
    expect(await handlersFor('test.second')).toEqual(['after']);
  });

  it('reads the revision alone while nothing changes, and nothing for an event', async () => {
    const { handlersFor, clock, names } = anEnvironment();
    await handlersFor('test.steady');
    const loading = names().length;
    for (let second = 0; second < 50; second++) {
      clock.advance(1000);
      for (let event = 0; event < 20; event++) await handlersFor('test.steady');
    }
    expect(names().slice(loading)).toEqual(Array.from({ length: 50 }, () => 'GetItem'));
  });

  it('asks once for callers side by side', async () => {
    const { handlersFor, names } = anEnvironment();
    await Promise.all(Array.from({ length: 20 }, () => handlersFor('test.together')));
    expect(names()).toEqual(['Query']);
  });

  it('reads everything again after a minute, whatever the revision says', async () => {
    const { handlersFor, clock, names } = anEnvironment();
    await handlersFor('test.minute');
    const loads = () => names().filter((name) => name === 'Query').length;
    const first = loads();
    clock.advance(59_999);
    await handlersFor('test.minute');
    expect(loads()).toBe(first);
    clock.advance(1000);
    await handlersFor('test.minute');
    expect(loads()).toBe(2 * first);
  });

  it('loads the revision with the handlers, so that an edit in between is seen at the next look', async () => {
    const handler = await save(aHandler({ name: 'before', events: ['test.between'] }));
    let isFirst = true;
    const { handlersFor, clock, names } = anEnvironment(async ({ name }, send) => {
      const output = await send();
      if (name === 'Query' && isFirst) {
        isFirst = false;
        await edit(handler, { name: 'after' });
      }
      return output;
    });
    expect(await handlersFor('test.between')).toEqual(['before']);
    expect(names()).toEqual(['Query']);
    clock.advance(1000);
    expect(await handlersFor('test.between')).toEqual(['after']);
    expect(names()).toEqual(['Query', 'GetItem', 'Query']);
  });

  it('looks once more for a caller that must see an edit made after a slow look had begun', async () => {
    const handler = await save(aHandler({ name: 'before', events: ['test.slow'] }));
    const looked = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    let isFirst = true;
    const { handlersFor, clock } = anEnvironment(async ({ name }, send) => {
      const output = await send();
      if (name === 'Query' && isFirst) {
        isFirst = false;
        looked.resolve();
        await goOn.promise;
      }
      return output;
    });
    const early = handlersFor('test.slow');
    await looked.promise;
    await edit(handler, { name: 'after' });
    clock.advance(1000);
    const late = handlersFor('test.slow');
    goOn.resolve();
    expect(await late).toEqual(['after']);
    // Whoever asked before the edit may see either.
    expect(['before', 'after']).toContain((await early)[0]);
  });

  it('fails for its callers when the table cannot be read, and works again with it', async () => {
    await save(aHandler({ name: 'back', events: ['test.down'] }));
    let isDown = false;
    const { handlersFor, clock } = anEnvironment((_, send) =>
      isDown ? Promise.reject(new Error('down')) : send(),
    );
    await handlersFor('test.down');
    isDown = true;
    clock.advance(1000);
    await expect(handlersFor('test.down')).rejects.toThrow('down');
    isDown = false;
    expect(await handlersFor('test.down')).toEqual(['back']);
  });

  it('looks again after the clock was set back', async () => {
    const handler = await save(aHandler({ name: 'before', events: ['test.clock'] }));
    const { handlersFor, clock } = anEnvironment();
    await handlersFor('test.clock');
    await edit(handler, { name: 'after' });
    clock.set('2026-11-23T08:00:00.000Z');
    expect(await handlersFor('test.clock')).toEqual(['after']);
  });

  it('has disabled handlers, whose executions are held, and no archived ones', async () => {
    for (const status of ['enabled', 'disabled', 'archived'] as const)
      await save(aHandler({ name: status, events: ['test.status'], status }));
    const { handlersFor } = anEnvironment();
    expect((await handlersFor('test.status')).sort()).toEqual(['disabled', 'enabled']);
  });

  it('has none of a handler that was removed', async () => {
    const handler = await save(aHandler({ events: ['test.removed'] }));
    const { handlersFor, clock } = anEnvironment();
    expect(await handlersFor('test.removed')).toHaveLength(1);
    await editor.remove(handler.id, 1);
    clock.advance(1000);
    expect(await handlersFor('test.removed')).toEqual([]);
  });

  it('needs no data key while there is no handler', async () => {
    await using empty = await startTestDynamo();
    const { dynamo, handlersTable: tableName } = empty;
    const store = createHandlerStore({ dynamo, tableName, now: () => new Date() });
    const dataKey = () => Promise.reject(new Error('there is no key'));
    const currentRegistry = createRegistry({ store, dataKey, now: () => new Date() });
    expect((await currentRegistry()).matching(ofType('client.create'))).toEqual([]);
  });
});

describe('matching', () => {
  const matching = (type: string, ...handlers: Parameters<typeof aHandler>[0][]) =>
    buildRegistry(
      handlers.map((handler) => aRegisteredHandler(handler)),
      [],
    )
      .matching(ofType(type))
      .map((group) => group.map(({ handler }) => handler.name));

  it('groups handlers by priority, the first one first', () => {
    const groups = matching(
      'client.create',
      { name: 'last', priority: 1000 },
      { name: 'b', priority: 20 },
      { name: 'first', priority: 3 },
      { name: 'c', priority: 20 },
    );
    expect(groups).toEqual([['first'], ['b', 'c'], ['last']]);
  });

  it('runs a handler once, however many of its names match', () => {
    expect(matching('client.create', { name: 'a', events: ['client.create', 'client.*', '*'] })).toEqual([
      ['a'],
    ]);
  });

  it('matches exact names, prefixes at any depth, and everything', () => {
    const asked = [
      'client.custom_fields.update',
      'client.custom_fields.*',
      'client.*',
      '*',
      'client.create',
      'account.*',
      'crm.*',
    ];
    const matched = asked.filter(
      (pattern) => matching('client.custom_fields.update', { events: [pattern] }).length > 0,
    );
    expect(matched).toEqual(['client.custom_fields.update', 'client.custom_fields.*', 'client.*', '*']);
  });

  it('does not take a name that only begins alike', () => {
    expect(matching('clients.create', { events: ['client.*'] })).toEqual([]);
    expect(matching('client', { events: ['client.*'] })).toEqual([]);
  });

  it('gives events about Handoff itself to those alone that ask for them by name', () => {
    expect(matching('handoff.handler.disabled', { events: ['*'] })).toEqual([]);
    expect(matching('handoff.handler.disabled', { events: ['handoff.*'] })).toHaveLength(1);
    expect(matching('handoff.handler.disabled', { events: ['handoff.handler.disabled'] })).toHaveLength(1);
    expect(matching('handoffs.made', { events: ['*'] })).toHaveLength(1);
  });
});

describe('patternsFor', () => {
  it('gives the name, each prefix of it, and everything', () => {
    expect(patternsFor('a.b.c')).toEqual(['a.b.c', 'a.b.*', 'a.*', '*']);
    expect(patternsFor('alone')).toEqual(['alone', '*']);
  });

  it('gives few patterns for odd names too', () => {
    expect(patternsFor('.a')).toEqual(['.a', '*']);
    expect(patternsFor('a..b')).toEqual(['a..b', 'a..*', 'a.*', '*']);
    expect(patternsFor('')).toEqual(['', '*']);
  });
});
