import { randomUUID } from 'node:crypto';
import { tracingChannel } from 'node:diagnostics_channel';
import { DatabaseSync } from 'node:sqlite';
import { maxDelaySeconds } from '../shared/aws/queues.ts';
import { log } from '../shared/log.ts';
import { checkpointWhenIdle } from './checkpoint.ts';
import { StartError } from './start-error.ts';

/** SQS carries at most 1 MB (since January 2026), attributes included. */
export const maxMessageBytes = 1_048_576;
/** https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html */
const maxAttributes = 10;
const attributeName = /^(?=.{1,256}$)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/u;
/** What SQS calls the type of an attribute that is text, the only one here. */
export const attributeType = 'String';
/** What Lambda takes in one invocation: 50 of the largest messages would be eight times that. */
const maxBatchBytes = 6 * 1_048_576;
/** SQS keeps a message invisible for at most 12 hours. */
const maxVisibilitySeconds = 43_200;
// Messages wait by the clock, and a timer does not: it stands still while the machine sleeps, and knows nothing of a clock that is set.
// So the clock is looked at again after this time at most.
const maxTimerMs = 10_000;

export type OutgoingMessage = {
  /** At most 1 MB of UTF-8, with the attributes. */
  body: string;
  /** Message attributes of the type String: at most 10, none of them empty. */
  attributes?: Readonly<Record<string, string>>;
  /** 0 to 900; the message cannot be received before. */
  delaySeconds?: number;
};

export type Message = {
  messageId: string;
  /** Names this one receipt: a later receive of the same message makes it stale. */
  receiptHandle: string;
  body: string;
  /** Empty when it was sent without. */
  attributes: Readonly<Record<string, string>>;
  /** Milliseconds since 1970, as are all times here. */
  sentAt: number;
  firstReceivedAt: number;
  /** 1 at the first receive. A receive whose process died counts too. */
  receiveCount: number;
  /** The queue that gave up on the message, where this queue is for dead letters. */
  deadLetterSource: string | null;
};

export type QueueSettings = {
  /** How long a received message stays hidden before it is handed out again. */
  visibilityTimeoutMs: number;
  /** A message received this often and still there goes to the dead letters. Without it never. */
  deadLetters?: { queue: string; maxReceiveCount: number };
};

export type QueueCounts = { visible: number; inFlight: number; delayed: number };

/** A queue with the semantics of a standard SQS queue: at least once, about in order. */
export type Queue = {
  readonly name: string;
  /**
   * Resolves to the message ids once all messages are committed, or rejects with none of them stored (a full
   * disk). Sends of the same tick of the event loop share one commit. A message that SQS would refuse is a RangeError.
   */
  send(messages: readonly OutgoingMessage[]): Promise<string[]>;
  /** Hands out at most `max` messages, of 6 MB together unless it is a single one, and hides them for the visibility timeout. Empty when none is due. */
  receive(max: number): Message[];
  /** Acknowledges: the messages are gone for good. Stale receipts do nothing. Returns how many were deleted. */
  delete(receiptHandles: readonly string[]): number;
  /**
   * Hides received messages for `seconds` (0 to 43,200) from now, instead of what is left of their visibility
   * timeout; 0 hands them back at once. Unlike the timeout this wait survives a restart. Stale receipts do nothing.
   * Returns how many were changed.
   */
  changeVisibility(receiptHandles: readonly string[], seconds: number): number;
  counts(): QueueCounts;
  /**
   * Calls `listener` whenever there may be something to receive that was not there before. Nothing polls, so
   * whoever starts to listen receives once by itself. Returns a function that ends it.
   */
  onMessage(listener: () => void): () => void;
};

export type Queues = {
  /** The queue called `name`, made when it is new; once in a process. Its settings are not stored. */
  open(name: string, settings: QueueSettings): Queue;
  /** Commits what was sent, then closes the file. What was in flight is visible again when it is next opened. */
  close(): void;
};

export type QueuesOptions = {
  /** The SQLite file of all queues, or `:memory:`. */
  file: string;
  /**
   * Without it a commit survives the death of the process, with it that of the machine too.
   * https://sqlite.org/pragma.html#pragma_synchronous
   */
  fsync?: boolean;
  now?: () => number;
};

/** What is published around each acknowledgement, on `tracing:handoff.queue.acknowledge:start` and `:end`. */
export type Acknowledgement = { queue: string; receiptHandles: readonly string[] };

// A crash test that wants to stop the process just before or just after a message is forgotten listens here.
const acknowledgements = tracingChannel<Acknowledgement, Acknowledgement>('handoff.queue.acknowledge');

// Bodies have a table of their own because SQLite writes a whole row again when one number in it changes: in
// one table a receive of 2 KB messages took three times as long (27 against 9 microseconds a message).
// AUTOINCREMENT, because a reused number would let an old receipt delete a new message.
const schema = `
  CREATE TABLE IF NOT EXISTS message (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    sentAt INTEGER NOT NULL,
    visibleAt INTEGER NOT NULL,
    receiveCount INTEGER NOT NULL DEFAULT 0,
    firstReceivedAt INTEGER,
    inFlight INTEGER NOT NULL DEFAULT 0,
    deadLetterSource TEXT
  ) STRICT;
  CREATE INDEX IF NOT EXISTS messageVisible ON message (queue, visibleAt);
  CREATE TABLE IF NOT EXISTS body (number INTEGER PRIMARY KEY, text TEXT NOT NULL, attributes TEXT) STRICT;`;
// A file that an earlier version made has bodies without attributes.
const hasAttributes = "SELECT count(*) AS columns FROM pragma_table_info('body') WHERE name = 'attributes'";
const addAttributes = 'ALTER TABLE body ADD COLUMN attributes TEXT';

type Row = {
  number: number;
  id: string;
  body: string;
  /** JSON; null when there are none. */
  attributes: string | null;
  sentAt: number;
  receiveCount: number;
  firstReceivedAt: number;
  deadLetterSource: string | null;
};

type PendingSend = {
  queue: string;
  messages: readonly OutgoingMessage[];
  resolve: (messageIds: string[]) => void;
  reject: (reason: unknown) => void;
};

// SQLITE_BUSY. https://sqlite.org/rescode.html#busy
const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && error.errcode === 5;

// SQLITE_FULL and the kinds of SQLITE_IOERR, of which the low byte is the kind of all of them. https://sqlite.org/rescode.html
const diskCodes: ReadonlySet<number> = new Set([13, 10]);

/** What is wrong with the disk, where that is why a message could not be stored: "database or disk is full", most often. */
export const diskProblem = (error: unknown): string | null =>
  error instanceof Error && 'errcode' in error && diskCodes.has(Number(error.errcode) & 0xff)
    ? error.message
    : null;

// SQLITE_PERM, SQLITE_READONLY and SQLITE_CANTOPEN: the file, or the folder that it is to be in, is another user's.
const accessCodes: ReadonlySet<number> = new Set([3, 8, 14]);
// SQLITE_CORRUPT and SQLITE_NOTADB.
const contentCodes: ReadonlySet<number> = new Set([11, 26]);

/** Why the file cannot be opened, where its user can do something about it. */
function openProblem(error: unknown): string | null {
  if (!(error instanceof Error && 'errcode' in error)) return null;
  const code = Number(error.errcode) & 0xff;
  if (accessCodes.has(code)) {
    return `${error.message}; HANDOFF_DATA must be a folder that the user of the engine may write to, with all that is in it`;
  }
  if (contentCodes.has(code)) return `${error.message}; put it back from a backup`;
  return diskProblem(error);
}

function openDatabase(file: string, fsync: boolean): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    // The exclusive lock is what keeps a second engine off the folder. The kernel drops it with the process,
    // however that ends, so unlike a file with a process id it is never stale.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL');
    // What is acknowledged is gone: an event may hold values that the log keeps only encrypted.
    database.exec('PRAGMA secure_delete = ON');
    database.exec(`PRAGMA synchronous = ${fsync ? 'FULL' : 'NORMAL'}`);
    // In the middle of work only where there is no pause for it: after 16 MB rather than after 4 (the default).
    database.exec('PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864');
    database.exec(`BEGIN IMMEDIATE; ${schema}`);
    if (database.prepare(hasAttributes).get()?.['columns'] === 0) database.exec(addAttributes);
    database.exec('COMMIT');
    return database;
  } catch (error) {
    database?.close();
    if (isBusy(error)) {
      throw new StartError(
        `Another engine is running on ${file}: stop it, or set HANDOFF_DATA to another folder.`,
        {
          cause: error,
        },
      );
    }
    const problem = openProblem(error);
    if (problem !== null) {
      throw new StartError(`The queues in ${file} cannot be opened: ${problem}.`, { cause: error });
    }
    throw error;
  }
}

/** The size of a message as SQS counts it: its body, and the name, the type and the value of each attribute. */
export const messageBytes = ({ body, attributes = {} }: OutgoingMessage): number =>
  Object.entries(attributes).reduce(
    (bytes, [name, value]) =>
      bytes + Buffer.byteLength(name) + attributeType.length + Buffer.byteLength(value),
    Buffer.byteLength(body),
  );

/** Why SQS would refuse a message, as a sentence; null when it would not. */
export function messageProblem(message: OutgoingMessage): string | null {
  const { attributes, delaySeconds = 0 } = message;
  const bytes = messageBytes(message);
  if (bytes > maxMessageBytes)
    return `The message has ${bytes} bytes; at most ${maxMessageBytes} are allowed.`;
  if (!(delaySeconds >= 0 && delaySeconds <= maxDelaySeconds)) {
    return `delaySeconds is ${delaySeconds}; it must be from 0 to ${maxDelaySeconds}.`;
  }
  return attributes === undefined ? null : attributesProblem(attributes);
}

function attributesProblem(attributes: Readonly<Record<string, string>>): string | null {
  const entries = Object.entries(attributes);
  if (entries.length > maxAttributes) {
    return `The message has ${entries.length} attributes; at most ${maxAttributes} are allowed.`;
  }
  for (const [name, value] of entries) {
    if (!attributeName.test(name)) return `"${name}" cannot be the name of an attribute.`;
    if (value === '') return `The attribute ${name} is empty.`;
  }
  return null;
}

const storedAttributes = (attributes: OutgoingMessage['attributes'] = {}): string | null =>
  Object.keys(attributes).length === 0 ? null : JSON.stringify(attributes);

const visibleAtAfter = (seconds: number, from: number): number => Math.ceil(from + seconds * 1000);

/** Whether a text can be a receipt handle, be it stale. */
export const isReceiptHandle = (text: string): boolean => readReceiptHandle(text) !== null;

const receiptHandleOf = (row: Row): string => `${row.number}.${row.receiveCount}`;

function readReceiptHandle(handle: string): { number: number; receiveCount: number } | null {
  const match = /^(\d{1,15})\.(\d{1,9})$/u.exec(handle);
  return match === null ? null : { number: Number(match[1]), receiveCount: Number(match[2]) };
}

/**
 * Opens the file that holds all queues, and makes visible at once what was in flight: the process that held it
 * is dead. Throws a StartError while another process has the file open.
 */
export function openQueues({ file, fsync = false, now = Date.now }: QueuesOptions): Queues {
  const database = openDatabase(file, fsync);
  database
    .prepare('UPDATE message SET visibleAt = min(visibleAt, ?), inFlight = 0 WHERE inFlight = 1')
    .run(now());

  const insertMessage = database.prepare(
    'INSERT INTO message (queue, id, sentAt, visibleAt) VALUES (?, ?, ?, ?)',
  );
  const insertBody = database.prepare('INSERT INTO body (number, text, attributes) VALUES (?, ?, ?)');
  const take = database.prepare(`
    UPDATE message SET visibleAt = :hiddenUntil, receiveCount = receiveCount + 1, inFlight = 1,
      firstReceivedAt = coalesce(firstReceivedAt, :now)
    WHERE number IN (
      SELECT number FROM (
        SELECT number, row_number() OVER place AS position,
          sum(octet_length(text) + coalesce(octet_length(attributes), 0)) OVER place AS bytes
        FROM (
          SELECT number, visibleAt FROM message
          WHERE queue = :queue AND visibleAt <= :now ORDER BY visibleAt, number LIMIT :max)
        JOIN body USING (number)
        WINDOW place AS (ORDER BY visibleAt, number))
      WHERE position = 1 OR bytes <= :maxBytes)
    RETURNING number, id, sentAt, receiveCount, firstReceivedAt, deadLetterSource,
      (SELECT text FROM body WHERE body.number = message.number) AS body,
      (SELECT attributes FROM body WHERE body.number = message.number) AS attributes`);
  const bury = database.prepare(`
    UPDATE message SET queue = ?, visibleAt = ?, receiveCount = 0, inFlight = 0, firstReceivedAt = NULL,
      deadLetterSource = ? WHERE number = ?`);
  const deleteMessage = database.prepare(
    'DELETE FROM message WHERE number = ? AND receiveCount = ? AND queue = ?',
  );
  const deleteBody = database.prepare('DELETE FROM body WHERE number = ?');
  const hide = database.prepare(
    'UPDATE message SET visibleAt = ?, inFlight = 0 WHERE number = ? AND receiveCount = ? AND queue = ?',
  );
  const nextVisibleAt = database.prepare(
    'SELECT min(visibleAt) AS at FROM message WHERE queue = ? AND visibleAt > ?',
  );
  const count = database.prepare(`
    SELECT count(*) FILTER (WHERE visibleAt <= :now) AS visible,
      count(*) FILTER (WHERE visibleAt > :now AND inFlight = 1) AS inFlight,
      count(*) FILTER (WHERE visibleAt > :now AND inFlight = 0) AS delayed
    FROM message WHERE queue = :queue`);

  const queues = new Map<string, { wake: () => void; wakeAt: (at: number) => void; close: () => void }>();
  let pendingSends: PendingSend[] = [];
  let isClosed = false;
  const checkpoints = checkpointWhenIdle(database);

  function transaction<Result>(work: () => Result): Result {
    database.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      database.exec('COMMIT');
      checkpoints.noteCommit();
      return result;
    } catch (error) {
      // A full disk may have rolled back already. https://sqlite.org/lang_transaction.html
      if (database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  }

  function store({ queue, messages }: PendingSend, sentAt: number): string[] {
    return messages.map(({ body, attributes, delaySeconds = 0 }) => {
      const messageId = randomUUID();
      const { lastInsertRowid } = insertMessage.run(
        queue,
        messageId,
        sentAt,
        visibleAtAfter(delaySeconds, sentAt),
      );
      insertBody.run(lastInsertRowid, body, storedAttributes(attributes));
      return messageId;
    });
  }

  function commitSends(): void {
    const sends = pendingSends;
    pendingSends = [];
    if (sends.length === 0) return;
    const sentAt = now();
    let stored: string[][];
    try {
      stored = transaction(() => sends.map((send) => store(send, sentAt)));
    } catch (error) {
      for (const { reject } of sends) reject(error);
      return;
    }
    for (const [index, { resolve }] of sends.entries()) resolve(stored[index] ?? []);
    for (const { queue, messages } of sends) {
      const delays = messages.map(({ delaySeconds = 0 }) => delaySeconds);
      if (delays.includes(0)) queues.get(queue)?.wake();
      for (const delay of new Set(delays))
        if (delay > 0) queues.get(queue)?.wakeAt(visibleAtAfter(delay, sentAt));
    }
  }

  function openQueue(name: string, { visibilityTimeoutMs, deadLetters }: QueueSettings): Queue {
    if (queues.has(name)) throw new Error(`The queue ${name} is open already.`);
    const listeners = new Set<() => void>();
    let timer: NodeJS.Timeout | undefined;
    let timerAt = Infinity;

    function wake(): void {
      for (const listener of listeners) listener();
    }

    function wakeAt(at: number): void {
      if (at >= timerAt) return;
      clearTimeout(timer);
      timerAt = at;
      timer = setTimeout(onTimer, Math.min(Math.max(at - now(), 0), maxTimerMs));
      timer.unref();
    }

    function onTimer(): void {
      const isDue = timerAt <= now();
      timerAt = Infinity;
      wakeWhenNextIsVisible();
      if (isDue) wake();
    }

    function wakeWhenNextIsVisible(): void {
      const { at } = nextVisibleAt.get(name, now()) as { at: number | null };
      if (at !== null) wakeAt(at);
    }

    queues.set(name, {
      wake,
      wakeAt,
      close: () => {
        clearTimeout(timer);
        listeners.clear();
      },
    });
    wakeWhenNextIsVisible();

    function takeBatch(max: number): { messages: Message[]; buriedCount: number } {
      const at = now();
      const rows = transaction(() => {
        const taken = take.all({
          queue: name,
          now: at,
          hiddenUntil: at + visibilityTimeoutMs,
          max,
          maxBytes: maxBatchBytes,
        }) as Row[];
        for (const row of taken) {
          if (deadLetters !== undefined && row.receiveCount > deadLetters.maxReceiveCount) {
            bury.run(deadLetters.queue, at, name, row.number);
            log.error('message.buried', {
              queue: name,
              deadLetters: deadLetters.queue,
              messageId: row.id,
              receives: row.receiveCount - 1,
            });
          }
        }
        return taken;
      });
      const alive = rows.filter(
        (row) => deadLetters === undefined || row.receiveCount <= deadLetters.maxReceiveCount,
      );
      const buriedCount = rows.length - alive.length;
      if (alive.length > 0) wakeAt(at + visibilityTimeoutMs);
      if (buriedCount > 0 && deadLetters !== undefined) queues.get(deadLetters.queue)?.wake();
      // RETURNING promises no order. https://sqlite.org/lang_returning.html#limitations_and_caveats
      const messages = alive
        .sort((a, b) => a.number - b.number)
        .map((row) => ({
          messageId: row.id,
          receiptHandle: receiptHandleOf(row),
          body: row.body,
          attributes: row.attributes === null ? {} : (JSON.parse(row.attributes) as Record<string, string>),
          sentAt: row.sentAt,
          firstReceivedAt: row.firstReceivedAt,
          receiveCount: row.receiveCount,
          deadLetterSource: row.deadLetterSource,
        }));
      return { messages, buriedCount };
    }

    return {
      name,
      send: (messages) =>
        new Promise((resolve, reject) => {
          if (isClosed) throw new Error(`The queue ${name} is closed.`);
          for (const message of messages) {
            const problem = messageProblem(message);
            if (problem !== null) throw new RangeError(problem);
          }
          if (pendingSends.length === 0) setImmediate(commitSends);
          pendingSends.push({ queue: name, messages, resolve, reject });
        }),
      receive(max) {
        let batch = takeBatch(max);
        // Dead letters alone must not look like an empty queue.
        while (batch.messages.length === 0 && batch.buriedCount > 0) batch = takeBatch(max);
        return batch.messages;
      },
      delete: (receiptHandles) =>
        acknowledgements.traceSync(
          () =>
            transaction(() => {
              let deletedCount = 0;
              for (const handle of receiptHandles) {
                const receipt = readReceiptHandle(handle);
                if (receipt === null) continue;
                const { changes } = deleteMessage.run(receipt.number, receipt.receiveCount, name);
                if (changes === 0) continue;
                deleteBody.run(receipt.number);
                deletedCount += 1;
              }
              return deletedCount;
            }),
          { queue: name, receiptHandles },
        ),
      changeVisibility(receiptHandles, seconds) {
        if (!(seconds >= 0 && seconds <= maxVisibilitySeconds)) {
          throw new RangeError(
            `The visibility is ${seconds} seconds; it must be from 0 to ${maxVisibilitySeconds}.`,
          );
        }
        const visibleAt = visibleAtAfter(seconds, now());
        const changedCount = transaction(() => {
          let changes = 0;
          for (const handle of receiptHandles) {
            const receipt = readReceiptHandle(handle);
            if (receipt === null) continue;
            changes += Number(hide.run(visibleAt, receipt.number, receipt.receiveCount, name).changes);
          }
          return changes;
        });
        if (changedCount > 0 && seconds === 0) wake();
        else if (changedCount > 0) wakeAt(visibleAt);
        return changedCount;
      },
      counts: () => ({ ...(count.get({ queue: name, now: now() }) as QueueCounts) }),
      onMessage(listener) {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
  }

  return {
    open: openQueue,
    close() {
      if (isClosed) return;
      commitSends();
      isClosed = true;
      for (const queue of queues.values()) queue.close();
      checkpoints.stop();
      database.close();
    },
  };
}
