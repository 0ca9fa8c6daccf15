import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { anEvent } from '../../support/builders.ts';
import { startReceiver } from '../../support/http-server.ts';
import { aMessage, again, startDispatcher } from './dispatcher.ts';

let dispatcher: Awaited<ReturnType<typeof startDispatcher>>;
beforeAll(async () => {
  dispatcher = await startDispatcher();
});
afterEach(() => dispatcher.clear());
afterAll(() => dispatcher[Symbol.asyncDispose]());

const without = (field: string): string => {
  const { [field]: _, ...event } = JSON.parse(anEvent()) as Record<string, unknown>;
  return JSON.stringify(event);
};
const nested = (levels: number): string =>
  anEvent({ detail: { data: 0 } }).replace('"data":0', `"data":${'['.repeat(levels)}${']'.repeat(levels)}`);

const malformed: [name: string, body: string, reason: RegExp][] = [
  ['no JSON', '{"detail-type": "client.create"', /^The message is not JSON: /u],
  ['nothing', '', /^The message is not JSON: /u],
  ['a string', '"client.create"', /^Not an EventBridge event: the message is not a JSON object\.$/u],
  ['no detail-type', without('detail-type'), /: detail-type is missing or not a string\.$/u],
  ['an empty detail-type', anEvent({ type: '' }), /: detail-type is empty\.$/u],
  ['no detail', without('detail'), /: detail is not an object\.$/u],
  ['a detail that is an array', anEvent({ detail: [{ objectId: 1 }] }), /: detail is not an object\.$/u],
  ['a detail that is a string', anEvent({ detail: '{"objectId":1}' }), /: detail is not an object\.$/u],
  ['a detail that is null', anEvent({ detail: null }), /: detail is not an object\.$/u],
  ['no time', without('time'), /: time is not an ISO 8601 time\.$/u],
  ['a time that is none', anEvent({ time: 'yesterday' }), /: time is not an ISO 8601 time\.$/u],
  ['an id with CR LF', anEvent({ id: 'e-1\r\nx-injected: 1' }), /: id must be .* printable ASCII/u],
  [
    'several faults at once',
    '{}',
    /: id .*; detail-type .*; source .*; time .*; detail is not an object\.$/u,
  ],
  [
    'more than 1 MB',
    anEvent({ detail: { data: 'x'.repeat(1_048_576) } }),
    /^The event has \d+ bytes; at most 1048576 are allowed\.$/u,
  ],
  [
    'more than 256 KB even when compressed',
    anEvent({ detail: { data: randomBytes(300_000).toString('base64') } }),
    /^The event has \d+ bytes compressed; at most 262144 can be kept/u,
  ],
];

describe('dispatchBatch: a message that cannot be an event', () => {
  it.each(malformed)('makes a dead letter of %s, and acknowledges it', async (_, body, reason) => {
    await using receiver = await startReceiver();
    await dispatcher.register({ events: ['*'], target: { url: receiver.url } });
    const message = aMessage({ body });
    const report = await dispatcher.dispatch([message]);
    expect(report).toMatchObject({ failedMessageIds: [], deadLetters: 1, problems: [] });
    const rows = await dispatcher.deadLetters();
    // Said without the bodies: a difference would be printed whole.
    expect(rows.map((row) => ({ id: row.id, reason: row.reason, body: row.body === body }))).toEqual([
      { id: message.id, reason: expect.stringMatching(reason) as string, body: true },
    ]);
    expect(receiver.requests).toEqual([]);
  });

  it('runs the good ones beside it', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ events: ['*'], target: { url: receiver.url } });
    const messages = malformed.flatMap(([, body]) => [aMessage({ body }), aMessage({ body: anEvent() })]);
    const report = await dispatcher.dispatch(messages);
    expect(report).toMatchObject({
      failedMessageIds: [],
      deadLetters: malformed.length,
      executions: { succeeded: malformed.length },
      problems: [],
    });
    expect(await dispatcher.deadLetters()).toHaveLength(malformed.length);
    expect(await dispatcher.logOf(handler)).toHaveLength(malformed.length);
    expect(receiver.requests).toHaveLength(malformed.length);
  });

  it('comes back when its row cannot be written, and finds its own row the next time', async () => {
    const [bad, good] = [aMessage({ body: 'no JSON' }), aMessage()];
    dispatcher.wire.refuse(({ text }) => text.includes('"DEAD_LETTER"'));
    const report = await dispatcher.dispatch([bad, good]);
    expect(report).toMatchObject({ failedMessageIds: [bad.id], deadLetters: 0 });
    expect(report.problems).toEqual([expect.stringContaining('not today')]);

    dispatcher.wire.reset();
    for (const message of [again(bad), again(again(bad))]) {
      expect(await dispatcher.dispatch([message])).toMatchObject({ failedMessageIds: [], deadLetters: 1 });
    }
    expect((await dispatcher.deadLetters()).map(({ id }) => id)).toEqual([bad.id]);
  });
});

describe('dispatchBatch: an event that is hard on whoever reads it', () => {
  it('lets one that is nested too deeply to be sent hurt itself alone', async () => {
    await using receiver = await startReceiver();
    const handler = await dispatcher.register({ target: { url: receiver.url } });
    const [bad, good] = [aMessage({ body: nested(200_000) }), aMessage()];
    const report = await dispatcher.dispatch([bad, good]);
    expect(report.failedMessageIds).not.toContain(good.id);
    expect(report.executions.succeeded).toBe(1);
    expect(await dispatcher.logOf(handler)).toHaveLength(1);
  });

  it.each(['__proto__', 'constructor', 'toString'])('sends a field named %s on as it is', async (name) => {
    await using receiver = await startReceiver();
    await dispatcher.register({ target: { url: receiver.url } });
    const body = anEvent({ detail: { data: 0 } }).replace('"data":0', `"data":{"${name}":{"a":1}}`);
    await dispatcher.dispatch([aMessage({ body })]);
    expect(receiver.requests[0]?.body).toContain(`"data":{"${name}":{"a":1}}`);
  });
});
