declare module 'dynalite' {
  import type { Server } from 'node:http';

  type Options = {
    /** Folder of the LevelDB files; in memory without it. */
    path?: string;
    createTableMs?: number;
    updateTableMs?: number;
    deleteTableMs?: number;
  };
  function dynalite(options?: Options): Server;
  export = dynalite;
}

// What of its inside is changed (see atomic-index.ts); the version is pinned for it.
declare module 'dynalite/db/index.js' {
  type Item = Record<string, unknown>;
  type Index = { IndexName: string };
  type Table = {
    TableName: string;
    LocalSecondaryIndexes?: Index[];
    GlobalSecondaryIndexes?: Index[];
  };
  type Done = (error?: Error) => void;
  type IndexDb = {
    put(key: string, item: Item, done: Done): void;
    del(key: string, done: Done): void;
  };
  type Store = {
    getIndexDb(indexType: 'Local' | 'Global', tableName: string, indexName: string): IndexDb;
  };
  const db: {
    updateIndexes(store: Store, table: Table, before: Item | undefined, after: Item | null, done: Done): void;
    getIndexActions(
      indexes: readonly Index[],
      before: Item | undefined,
      after: Item | null,
      table: Table,
    ): {
      puts: { index: string; key: string; item: Item }[];
      deletes: { index: string; key: string }[];
    };
  };
  export = db;
}
