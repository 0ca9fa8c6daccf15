import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { promisify } from 'node:util';

/** The processes of one call: the runner, and whatever the script started. */
export type Family = {
  /** The runner, which leads a process group of its own. */
  leader: number;
  /** `NAME=value`, as it stands in the environment of these processes and of no others. */
  mark: string;
  /** Those that are known to run, by process id. */
  members: Map<number, Member>;
};

type Member = {
  /** An id alone may have been given to another process meanwhile. */
  startedAt: string;
  /** Of the last listing; the file system of Linux knows better. */
  residentBytes: number;
};

type Listed = Member & { pid: number; parent: number; group: number; environment: string };

export type Families = {
  /** For a process that was started in this turn of the event loop. */
  add: (leader: number, mark: string) => Family;
  /** Brings the members of all families up to date. */
  refresh: () => Promise<void>;
  /** Physical memory of all members together; what several processes share counts once for each. */
  residentBytes: (family: Family) => number;
  /** The same, with what is shared divided among those who share it. Costs more, and is not known on every system. */
  proportionalBytes: (family: Family) => number;
  /** Kills all members, and no longer looks after them. */
  end: (family: Family) => Promise<void>;
};

/**
 * Keeps track of which processes belong to which call: those of the runner's group, those whose parent belongs to it, and on
 * Linux those that have inherited its mark, which finds daemons whose parents are gone.
 */
export function createFamilies(platform: NodeJS.Platform = process.platform): Families {
  const families = new Set<Family>();
  /** Belongs to no call, as most processes of a machine: is looked at once. */
  let others = new Set<number>();

  function adopt(listed: Listed): boolean {
    const family = [...families].find(
      ({ leader, mark, members }) =>
        listed.group === leader || members.has(listed.parent) || listed.environment.includes(mark),
    );
    family?.members.set(listed.pid, listed);
    return family !== undefined;
  }

  function refreshFromProc(): void {
    const running = runningPids();
    others = new Set([...others].filter((pid) => running.has(pid)));
    forgetAllBut(running);
    for (const pid of running) {
      if (others.has(pid) || [...families].some(({ members }) => members.has(pid))) continue;
      const listed = readProcess(pid);
      if (listed !== null && !adopt(listed)) others.add(pid);
    }
  }

  async function refreshFromPs(): Promise<void> {
    const listed = await listWithPs();
    forgetAllBut(new Set(listed.map(({ pid }) => pid)));
    // Until nobody is adopted any more: a child may be listed before its parent.
    const size = () => [...families].reduce((sum, { members }) => sum + members.size, 0);
    for (let before = -1; before !== size();) {
      before = size();
      listed.forEach(adopt);
    }
  }

  function forgetAllBut(running: ReadonlySet<number>): void {
    for (const { members } of families) {
      for (const pid of members.keys()) if (!running.has(pid)) members.delete(pid);
    }
  }

  const refresh = async () => (platform === 'linux' ? refreshFromProc() : refreshFromPs());

  return {
    add(leader, mark) {
      // Whoever runs before the first call starts is no part of it.
      if (families.size === 0 && platform === 'linux') others = runningPids();
      others.delete(leader);
      const family = { leader, mark, members: new Map([[leader, { startedAt: '', residentBytes: 0 }]]) };
      families.add(family);
      return family;
    },
    refresh,
    residentBytes: ({ members }) =>
      sum(members, (pid, member) => (platform === 'linux' ? residentBytes(pid) : member.residentBytes)),
    proportionalBytes: ({ members }) =>
      sum(members, (pid, member) => (platform === 'linux' ? proportionalBytes(pid) : member.residentBytes)),
    async end(family) {
      try {
        // First, while the children can still be told by their parents.
        await refresh();
      } finally {
        kill(-family.leader);
      }
      const killed = new Set([family.leader]);
      for (let isComplete = false; !isComplete; await refresh()) {
        isComplete = true;
        for (const [pid, { startedAt }] of family.members) {
          if (killed.has(pid)) continue;
          killed.add(pid);
          isComplete = false;
          if (platform !== 'linux' || readProcess(pid)?.startedAt === startedAt) kill(pid);
        }
      }
      families.delete(family);
    },
  };
}

const sum = (members: Family['members'], measure: (pid: number, member: Member) => number): number =>
  [...members].reduce((total, [pid, member]) => total + measure(pid, member), 0);

/** Kills a process, or with a negative id a whole group. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It has ended by itself, or became another user's.
    if (!['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

const runningPids = (): Set<number> => new Set(readdirSync('/proc').map(Number).filter(Number.isInteger));

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; null when it has ended. */
function readProcess(pid: number): Listed | null {
  const stat = readProcFile(pid, 'stat');
  if (stat === null) return null;
  // The second field is the name, which may have anything in it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, parent, group] = fields;
  if (state === 'Z') return null;
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    startedAt: fields[19] ?? '',
    residentBytes: 0,
    environment: readProcFile(pid, 'environ') ?? '',
  };
}

const residentBytes = (pid: number): number => bytesOf(pid, 'status', 'VmRSS');
const proportionalBytes = (pid: number): number => bytesOf(pid, 'smaps_rollup', 'Pss');

function bytesOf(pid: number, file: string, field: string): number {
  const text = readProcFile(pid, file) ?? '';
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'mu').exec(text)?.[1] ?? 0) * 1024;
}

/** Null when the process is gone, or another user's. */
function readProcFile(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return null;
    throw error;
  }
}

const run = promisify(execFile);

/** What POSIX systems have in common. */
async function listWithPs(): Promise<Listed[]> {
  const { stdout } = await run('ps', ['-A', '-o', 'pid=', '-o', 'ppid=', '-o', 'pgid=', '-o', 'rss=']);
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [pid = 0, parent = 0, group = 0, kb = 0] = line.trim().split(/\s+/u).map(Number);
      return { pid, parent, group, startedAt: '', residentBytes: kb * 1024, environment: '' };
    });
}
