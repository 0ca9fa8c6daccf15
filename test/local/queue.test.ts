import { randomBytes } from 'node:crypto';
import { tracingChannel } from 'node:diagnostics_channel';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  type Acknowledgement,
  maxMessageBytes,
  openQueues,
  type Queue,
  type Queues,
} from '../../local/queue.ts';

const settings = { visibilityTimeoutMs: 60_000, deadLetters: { queue: 'dead', maxReceiveCount: 3 } };

let now: number;
let folder: string;
let file: string;
let queues: Queues;
let queue: Queue;
let dead: Queue;

function open(): void {
  queues = openQueues({ file, now: () => now });
  dead = queues.open('dead', { visibilityTimeoutMs: 60_000 });
  queue = queues.open('events', settings);
}

beforeEach(() => {
  now = 1_000_000;
  folder = mkdtempSync(join(tmpdir(), 'handoff-queue-'));
  file = join(folder, 'queues.sqlite');
  open();
});
afterEach(() => {
  queues.close();
  rmSync(folder, { recursive: true });
});

const bodies = (messages: readonly { body: string }[]): string[] => messages.map(({ body }) => body);
const receipts = (messages: readonly { receiptHandle: string }[]): string[] =>
  messages.map(({ receiptHandle }) => receiptHandle);

describe('send', () => {
  it('stores messages that receive hands out in their order, with the attributes of SQS', async () => {
    const ids = await queue.send([{ body: 'a' }, { body: 'b' }]);
    now += 5;

    const messages = queue.receive(10);

    expect(bodies(messages)).toEqual(['a', 'b']);
    expect(messages.map(({ messageId }) => messageId)).toEqual(ids);
    expect(messages[0]).toMatchObject({
      sentAt: 1_000_000,
      firstReceivedAt: 1_000_005,
      receiveCount: 1,
      deadLetterSource: null,
    });
  });

  it('commits all sends of one tick together', async () => {
    const begin = vi.spyOn(DatabaseSync.prototype, 'exec');
    onTestFinished(() => begin.mockRestore());
    await Promise.all([queue.send([{ body: 'a' }]), queue.send([{ body: 'b' }]), dead.send([{ body: 'c' }])]);
    expect(begin.mock.calls.filter(([sql]) => sql === 'COMMIT')).toHaveLength(1);
    expect(bodies(queue.receive(10))).toEqual(['a', 'b']);
    expect(bodies(dead.receive(10))).toEqual(['c']);
  });

  it('does not show a message before it is committed', async () => {
    const sent = queue.send([{ body: 'a' }]);
    expect(queue.receive(1)).toEqual([]);
    await sent;
    expect(bodies(queue.receive(1))).toEqual(['a']);
  });

  it('tells the sender about a full disk, stores nothing and goes on when there is room', async () => {
    queues.close();
    // 40 pages of 4 KB stand for the disk.
    const limit = vi.spyOn(DatabaseSync.prototype, 'prepare').mockImplementationOnce(function (
      this: DatabaseSync,
      sql,
    ) {
      limit.mockRestore();
      this.exec('PRAGMA max_page_count = 40');
      return this.prepare(sql);
    });
    open();
    const big = { body: 'x'.repeat(100_000) };

    const results = await Promise.allSettled([queue.send([big]), queue.send([big])]);

    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(results[0]).toMatchObject({ reason: { errcode: 13 } });
    expect(queue.counts()).toEqual({ visible: 0, inFlight: 0, delayed: 0 });
    await queue.send([{ body: 'small' }]);
    expect(bodies(queue.receive(10))).toEqual(['small']);
  });

  it('takes 1 MB and no more, counted in bytes', async () => {
    const most = 'é'.repeat(maxMessageBytes / 2);
    await queue.send([{ body: most }]);
    expect(queue.receive(1)[0]?.body).toBe(most);
    await expect(queue.send([{ body: 'ok' }, { body: `${most}x` }])).rejects.toThrow(RangeError);
    expect(queue.receive(1)).toEqual([]);
  });

  it('keeps attributes, also of a message that is buried', async () => {
    const attributes = Object.fromEntries([
      ['sentAt', '2026-11-23T10:00:00.000Z'],
      ['a.b-c_1', 'é'],
      ['__proto__', 'own'],
    ]);
    await queue.send([{ body: 'with', attributes }, { body: 'without' }, { body: 'none', attributes: {} }]);
    for (let count = 1; count <= 3; count += 1) {
      expect(queue.receive(10).map((message) => message.attributes)).toEqual([attributes, {}, {}]);
      now += 60_000;
    }
    expect(queue.receive(10)).toEqual([]);
    expect(dead.receive(10).map((message) => message.attributes)).toEqual([attributes, {}, {}]);
  });

  it('counts the names, the type and the values of attributes into the 1 MB', async () => {
    const attributes = { sentAt: 'é' };
    const most = 'x'.repeat(maxMessageBytes - Buffer.byteLength('sentAtStringé'));
    await queue.send([{ body: most, attributes }]);
    expect(queue.receive(1)[0]?.attributes).toEqual(attributes);
    await expect(queue.send([{ body: `${most}x`, attributes }])).rejects.toThrow(RangeError);
  });

  it.each<[string, Record<string, string>]>([
    ['more than ten', Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`a${index}`, 'x']))],
    ['an empty name', { '': 'x' }],
    ['a name with a space', { 'sent at': 'x' }],
    ['a name that ends in a dot', { 'a.': 'x' }],
    ['a name of 257 characters', { ['a'.repeat(257)]: 'x' }],
    ['an empty value', { sentAt: '' }],
  ])('refuses attributes that SQS would refuse: %s', async (_, attributes) => {
    await expect(queue.send([{ body: 'a', attributes }])).rejects.toThrow(RangeError);
    expect(queue.counts().visible).toBe(0);
  });

  it('hands out at most 6 MB at once, and never less than one message', async () => {
    await Promise.all(Array.from({ length: 8 }, () => queue.send([{ body: 'x'.repeat(maxMessageBytes) }])));
    expect(queue.receive(50)).toHaveLength(6);
    expect(queue.receive(50)).toHaveLength(2);
    expect(queue.receive(50)).toHaveLength(0);
  });

  it('counts attributes into these 6 MB', async () => {
    const message = { body: 'x'.repeat(524_288), attributes: { a: 'x'.repeat(524_000) } };
    await Promise.all(Array.from({ length: 8 }, () => queue.send([message])));
    expect(queue.receive(50)).toHaveLength(6);
  });

  it('keeps every character', async () => {
    const body = '{"text":"\u0000 \u{1f600} \u2028"}';
    await queue.send([{ body }]);
    expect(queue.receive(1)[0]?.body).toBe(body);
  });

  it('delays a message', async () => {
    await queue.send([{ body: 'later', delaySeconds: 900 }, { body: 'now' }]);
    expect(queue.counts()).toEqual({ visible: 1, inFlight: 0, delayed: 1 });
    now += 899_999;
    expect(bodies(queue.receive(10))).toEqual(['now']);
    now += 1;
    expect(bodies(queue.receive(10))).toContain('later');
  });

  it('refuses a delay of more than 15 minutes', async () => {
    await expect(queue.send([{ body: 'a', delaySeconds: 901 }])).rejects.toThrow(/0 to 900/u);
  });

  it('rejects once the file is closed', async () => {
    queues.close();
    await expect(queue.send([{ body: 'a' }])).rejects.toThrow(/closed/u);
  });
});

describe('receive', () => {
  it('hides a message for the visibility timeout and counts its receives', async () => {
    await queue.send([{ body: 'a' }]);
    expect(queue.receive(1)[0]?.receiveCount).toBe(1);
    now += 59_999;
    expect(queue.receive(1)).toEqual([]);
    now += 1;
    expect(queue.receive(1)[0]).toMatchObject({ receiveCount: 2, firstReceivedAt: 1_000_000 });
  });

  it('moves a message to the dead letters after its last receive', async () => {
    const [id] = await queue.send([{ body: 'poison' }, { body: 'poison too' }]);
    for (let count = 1; count <= 3; count += 1) {
      expect(queue.receive(10).map(({ receiveCount }) => receiveCount)).toEqual([count, count]);
      now += 60_000;
    }
    await queue.send([{ body: 'good' }]);

    expect(bodies(queue.receive(2))).toEqual(['good']);

    expect(queue.counts()).toEqual({ visible: 0, inFlight: 1, delayed: 0 });
    expect(dead.receive(10)[0]).toMatchObject({
      messageId: id,
      body: 'poison',
      sentAt: 1_000_000,
      receiveCount: 1,
      deadLetterSource: 'events',
    });
  });

  it('keeps the queues apart', async () => {
    await dead.send([{ body: 'a' }]);
    expect(queue.receive(1)).toEqual([]);
  });
});

describe('delete', () => {
  it('forgets a message for good', async () => {
    await queue.send([{ body: 'a' }, { body: 'b' }]);
    expect(queue.delete(receipts(queue.receive(2)))).toBe(2);
    now += 60_000;
    expect(queue.receive(2)).toEqual([]);
  });

  it('does nothing for a stale receipt, a repeated one, or another queue', async () => {
    await queue.send([{ body: 'a' }]);
    const stale = receipts(queue.receive(1));
    now += 60_000;
    const fresh = receipts(queue.receive(1));
    expect(queue.delete([...stale, 'nonsense'])).toBe(0);
    expect(dead.delete(fresh)).toBe(0);
    expect(queue.delete(fresh)).toBe(1);
    expect(queue.delete(fresh)).toBe(0);
  });

  it('never deletes a newer message by the receipt of an older one', async () => {
    await queue.send([{ body: 'old' }]);
    const old = receipts(queue.receive(1));
    queue.delete(old);
    await queue.send([{ body: 'new' }]);
    queue.receive(1);
    expect(queue.delete(old)).toBe(0);
  });

  it('publishes each acknowledgement before and after the message is gone', async () => {
    await queue.send([{ body: 'a' }]);
    const handles = receipts(queue.receive(1));
    const seen: unknown[] = [];
    const note = (phase: string) => (message: Acknowledgement) =>
      seen.push([phase, message.queue, message.receiptHandles, queue.counts().inFlight]);
    const channel = tracingChannel<Acknowledgement, Acknowledgement>('handoff.queue.acknowledge');
    const subscribers = {
      start: note('start'),
      end: note('end'),
      asyncStart() {},
      asyncEnd() {},
      error() {},
    };
    channel.subscribe(subscribers);
    onTestFinished(() => channel.unsubscribe(subscribers));

    queue.delete(handles);

    expect(seen).toEqual([
      ['start', 'events', handles, 1],
      ['end', 'events', handles, 0],
    ]);
  });
});

describe('changeVisibility', () => {
  it('hands a message back at once, or later', async () => {
    await queue.send([{ body: 'a' }, { body: 'b' }]);
    const [a, b] = receipts(queue.receive(2)) as [string, string];
    expect(queue.changeVisibility([a], 0)).toBe(1);
    expect(queue.changeVisibility([b], 5)).toBe(1);
    expect(bodies(queue.receive(2))).toEqual(['a']);
    now += 5000;
    expect(bodies(queue.receive(2))).toEqual(['b']);
  });

  it('does nothing for a stale receipt', async () => {
    await queue.send([{ body: 'a' }]);
    const stale = receipts(queue.receive(1));
    now += 60_000;
    queue.receive(1);
    expect(queue.changeVisibility(stale, 0)).toBe(0);
    expect(queue.receive(1)).toEqual([]);
  });

  it('refuses more than 12 hours', () => {
    expect(() => queue.changeVisibility([], 43_201)).toThrow(RangeError);
  });
});

describe('opening again', () => {
  const reopen = (): void => {
    queues.close();
    open();
  };

  it('has all that was accepted', async () => {
    const body = randomBytes(500_000).toString('hex');
    await queue.send([{ body }]);
    reopen();
    expect(queue.receive(1)[0]?.body).toBe(body);
  });

  it('keeps what was sent in the tick before the close', async () => {
    const sent = queue.send([{ body: 'a' }]);
    reopen();
    await sent;
    expect(bodies(queue.receive(1))).toEqual(['a']);
  });

  it('shows what was in flight at once and keeps the receive count', async () => {
    await queue.send([{ body: 'a' }]);
    queue.receive(1);
    reopen();
    expect(queue.receive(1)[0]).toMatchObject({ body: 'a', receiveCount: 2 });
  });

  it('keeps delays, and the wait of what was handed back', async () => {
    await queue.send([{ body: 'failed' }]);
    queue.changeVisibility(receipts(queue.receive(1)), 10);
    await queue.send([{ body: 'delayed', delaySeconds: 20 }]);
    reopen();
    expect(queue.receive(2)).toEqual([]);
    now += 10_000;
    expect(bodies(queue.receive(2))).toEqual(['failed']);
    now += 10_000;
    expect(bodies(queue.receive(2))).toEqual(['delayed']);
  });

  it('takes on a file of a version whose messages had no attributes', async () => {
    await queue.send([{ body: 'old' }]);
    queues.close();
    const older = new DatabaseSync(file);
    older.exec('ALTER TABLE body DROP COLUMN attributes');
    older.close();

    open();
    await queue.send([{ body: 'new', attributes: { sentAt: 'then' } }]);
    reopen();

    expect(queue.receive(10)).toMatchObject([
      { body: 'old', attributes: {} },
      { body: 'new', attributes: { sentAt: 'then' } },
    ]);
  });

  it('is not needed for what was committed to get into the file, once there is nothing else to do', async () => {
    const sizeBefore = statSync(file).size;
    for (let count = 0; count < 400; count += 1) await queue.send([{ body: 'x'.repeat(1000) }]);
    // By itself SQLite does so after 4,000 pages, and these are about half of that.
    await vi.waitFor(() => expect(statSync(file).size).toBeGreaterThan(sizeBefore + 200_000));
  });

  it('leaves nothing behind of what is acknowledged, soon after', async () => {
    const isInFiles = (text: string) =>
      [file, `${file}-wal`].some((name) => existsSync(name) && readFileSync(name).includes(text));
    await queue.send([{ body: 'an IBAN' }]);
    expect(isInFiles('an IBAN')).toBe(true);
    queue.delete(receipts(queue.receive(1)));
    await vi.waitFor(() => expect(isInFiles('an IBAN')).toBe(false), { timeout: 4000 });
  });

  it('is refused while the file is open elsewhere', () => {
    expect(() => openQueues({ file })).toThrow(
      expect.objectContaining({
        name: 'StartError',
        message: expect.stringContaining('Another engine') as string,
      }) as Error,
    );
  });

  it('says what is wrong with a file that cannot be opened', () => {
    const garbage = join(folder, 'garbage');
    writeFileSync(garbage, 'what is no database '.repeat(100));
    for (const [path, words] of [
      [folder, 'HANDOFF_DATA must be a folder that the user of the engine may write to'],
      [garbage, 'file is not a database'],
    ] as const) {
      expect(() => openQueues({ file: path })).toThrow(
        expect.objectContaining({
          name: 'StartError',
          message: expect.stringContaining(words) as string,
        }) as Error,
      );
    }
  });
});

describe('onMessage', () => {
  beforeEach(() => {
    queues.close();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    open();
  });
  afterEach(() => void vi.useRealTimers());

  function passTime(ms: number): void {
    now += ms;
    vi.advanceTimersByTime(ms);
  }

  it('calls as soon as a message is committed, and leaves no timer running', async () => {
    const listener = vi.fn<() => void>();
    queue.onMessage(listener);
    await queue.send([{ body: 'a' }]);
    expect(listener).toHaveBeenCalledTimes(1);
    // The one that empties the log of SQLite.
    passTime(1000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('calls when a delay is over, not before', async () => {
    const listener = vi.fn<() => void>();
    queue.onMessage(listener);
    await queue.send([
      { body: 'a', delaySeconds: 30 },
      { body: 'b', delaySeconds: 10 },
    ]);
    passTime(9999);
    expect(listener).not.toHaveBeenCalled();
    passTime(1);
    expect(listener).toHaveBeenCalledTimes(1);
    expect(bodies(queue.receive(10))).toEqual(['b']);
    passTime(20_000);
    expect(listener).toHaveBeenCalledTimes(2);
    expect(bodies(queue.receive(10))).toEqual(['a']);
  });

  it('calls when a visibility timeout is over', async () => {
    await queue.send([{ body: 'a' }]);
    queue.receive(1);
    const listener = vi.fn<() => void>();
    queue.onMessage(listener);
    passTime(60_000);
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('calls for what was handed back', async () => {
    await queue.send([{ body: 'a' }]);
    const listener = vi.fn<() => void>();
    queue.onMessage(listener);
    queue.changeVisibility(receipts(queue.receive(1)), 0);
    expect(listener).toHaveBeenCalledTimes(1);
    queue.changeVisibility(receipts(queue.receive(1)), 7);
    passTime(7000);
    expect(listener).toHaveBeenCalledTimes(2);
  });

  it('calls for a delay that began before the file was opened', async () => {
    await queue.send([{ body: 'a', delaySeconds: 10 }]);
    queues.close();
    open();
    const listener = vi.fn<() => void>();
    queue.onMessage(listener);
    passTime(10_000);
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('calls within ten seconds when the clock has come to the end of a delay before the timer has', async () => {
    const listener = vi.fn<() => void>();
    queue.onMessage(listener);
    await queue.send([{ body: 'a', delaySeconds: 900 }]);
    // The machine has slept, or its clock was set.
    now += 900_000;
    vi.advanceTimersByTime(10_000);
    expect(listener).toHaveBeenCalledTimes(1);
    expect(bodies(queue.receive(1))).toEqual(['a']);
  });

  it('calls in time when the clock was set back and forward again', async () => {
    const listener = vi.fn<() => void>();
    queue.onMessage(listener);
    await queue.send([{ body: 'a', delaySeconds: 100 }]);
    now -= 3_600_000;
    passTime(100_000);
    expect(listener).not.toHaveBeenCalled();
    now += 3_600_000;
    passTime(10_000);
    expect(listener).toHaveBeenCalledTimes(1);
    expect(bodies(queue.receive(1))).toEqual(['a']);
  });

  it('calls the listeners of the dead letters when one arrives', async () => {
    const listener = vi.fn<() => void>();
    dead.onMessage(listener);
    await queue.send([{ body: 'poison' }]);
    for (let count = 1; count <= 4; count += 1) {
      queue.receive(1);
      now += 60_000;
    }
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('stops when asked to', async () => {
    const listener = vi.fn<() => void>();
    queue.onMessage(listener)();
    await queue.send([{ body: 'a' }]);
    expect(listener).not.toHaveBeenCalled();
  });
});
