/**
 * Makes dynalite write an item together with its entries in the indexes. By itself it writes the entries first and then the item,
 * each on its own: a process that is killed in between leaves an execution that waits and that no index names, so
 * nothing would ever wake it. Loaded before the first table is opened; it changes the module for the whole thread.
 */
import { ClassicLevel } from 'classic-level';
import dynalite from 'dynalite/db/index.js';

type Operation = { type: 'put'; key: string; value: unknown } | { type: 'del'; key: string };

// The store of dynalite writes through these two and through nothing else. What is in memory uses another class of the same base.
const level = Object.getPrototypeOf(ClassicLevel.prototype) as {
  put: (this: unknown, key: string, value: unknown) => Promise<void>;
  del: (this: unknown, key: string) => Promise<void>;
  batch: (this: unknown, operations: Operation[]) => Promise<void>;
};
const { put, del, batch } = level;

/** Where operations go instead of to the disk. */
let collecting: Operation[] | null = null;
/** What the next operation takes along. */
let withNext: Operation[] = [];

level.put = function (key, value) {
  return write(this, { type: 'put', key, value }, () => put.call(this, key, value));
};
level.del = function (key) {
  return write(this, { type: 'del', key }, () => del.call(this, key));
};

async function write(to: unknown, operation: Operation, alone: () => Promise<void>): Promise<void> {
  if (collecting !== null) {
    collecting.push(operation);
    return;
  }
  const operations = [...withNext, operation];
  withNext = [];
  await (operations.length === 1 ? alone() : batch.call(to, operations));
}

// dynalite holds a lock on the item's key, has no other work between the two, and writes the item in the very call of `done`: so
// what is collected here goes with that item and with no other.
dynalite.updateIndexes = (store, table, before, after, done) => {
  const operations: Operation[] = [];
  collecting = operations;
  try {
    for (const indexType of ['Local', 'Global'] as const) {
      const indexes = table[`${indexType}SecondaryIndexes`] ?? [];
      const { deletes, puts } = dynalite.getIndexActions(indexes, before, after, table);
      for (const { index, key } of deletes) {
        store.getIndexDb(indexType, table.TableName, index).del(key, () => undefined);
      }
      for (const { index, key, item } of puts) {
        store.getIndexDb(indexType, table.TableName, index).put(key, item, () => undefined);
      }
    }
  } finally {
    collecting = null;
  }
  withNext = operations;
  try {
    done();
  } finally {
    withNext = [];
  }
};
