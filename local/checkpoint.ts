import type { DatabaseSync } from 'node:sqlite';
import { log } from '../shared/log.ts';

const idleMs = 30;
const minCommits = 300;
// How long what was deleted is still in the log of SQLite: it ends with a pause of so long, or after so much work without one.
const pauseMs = 1000;
const maxKeptMs = 30_000;

/**
 * Carries what SQLite has committed from its write-ahead log into its file while nobody waits. That costs an fsync of some ten milliseconds,
 * and SQLite by itself does it in the very commit that fills the log, so that the slowest percent of deliveries would be those.
 *
 * And empties that log, in which every text stays that was ever committed, deleted or not, until something else is written over it.
 */
export function checkpointWhenIdle(database: DatabaseSync) {
  let commits = 0;
  let timer: NodeJS.Timeout | undefined;
  let emptyTimer: NodeJS.Timeout | undefined;
  let emptyBy = 0;

  function checkpoint(mode: 'PASSIVE' | 'TRUNCATE'): void {
    commits = 0;
    try {
      database.exec(`PRAGMA wal_checkpoint(${mode})`);
    } catch (error) {
      // What is committed stays in the log, and SQLite carries it over later.
      log.warn('queue.checkpoint-failed', { error: error as Error });
    }
  }

  function emptySoon(): void {
    if (emptyTimer === undefined) {
      emptyBy = performance.now() + maxKeptMs - pauseMs;
      emptyTimer = setTimeout(() => {
        emptyTimer = undefined;
        checkpoint('TRUNCATE');
      }, pauseMs).unref();
    } else if (performance.now() < emptyBy) emptyTimer.refresh();
  }

  // A process that was killed has left its own behind.
  emptySoon();
  return {
    noteCommit(): void {
      emptySoon();
      commits += 1;
      if (commits < minCommits) return;
      if (timer !== undefined) timer.refresh();
      else {
        timer = setTimeout(() => {
          timer = undefined;
          checkpoint('PASSIVE');
        }, idleMs).unref();
      }
    },
    stop(): void {
      clearTimeout(timer);
      clearTimeout(emptyTimer);
    },
  };
}
