import type { DatabaseSync } from 'node:sqlite';
import { log } from '../shared/log.ts';

const idleMs = 30;
const minCommits = 300;

/**
 * Carries what SQLite has committed from its write-ahead log into its file while nobody waits. That costs an fsync of some ten milliseconds,
 * and SQLite by itself does it in the very commit that fills the log, so that the slowest percent of deliveries would be those.
 */
export function checkpointWhenIdle(database: DatabaseSync) {
  let commits = 0;
  let timer: NodeJS.Timeout | undefined;

  function checkpoint(): void {
    timer = undefined;
    commits = 0;
    try {
      database.exec('PRAGMA wal_checkpoint(PASSIVE)');
    } catch (error) {
      // What is committed stays in the log, and SQLite carries it over later.
      log.warn('queue.checkpoint-failed', { error: error as Error });
    }
  }

  return {
    noteCommit(): void {
      commits += 1;
      if (commits < minCommits) return;
      if (timer === undefined) timer = setTimeout(checkpoint, idleMs).unref();
      else timer.refresh();
    },
    stop: (): void => clearTimeout(timer),
  };
}
