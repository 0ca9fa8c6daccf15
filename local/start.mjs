import { enableCompileCache } from 'node:module';

// Plain JavaScript on purpose: Node before 22.18 cannot read a .ts file at all, and would say so in words that
// help nobody. `npm ci --ignore-scripts` leaves out the Node 24 that this project brings along.
const [major] = process.versions.node.split('.');
if (Number(major) < 24) {
  process.stderr.write(
    `Handoff needs Node 24 or later, and this is Node ${process.versions.node}: run "npm ci" without --ignore-scripts, or install Node 24.\n`,
  );
  process.exit(1);
}
// What the process holds must stay level however long it runs. The threads of LevelDB and of libuv's pool take memory from up to eight arenas a
// processor, and glibc gives back little of what lies between pieces that are still in use: it is to have two arenas, and map the blocks of LevelDB (64 KB) one by
// one. And what it has to hold at most is what Buffers leave behind until V8 collects it: with 4 MB of young objects rather than 16 it does so sooner,
// for a tenth more processor and a third less memory. glibc reads its settings when a program starts (mallopt(3)), so the program starts once
// more in its own place. Other systems do not know them.
if (process.platform === 'linux' && process.env.MALLOC_ARENA_MAX === undefined) {
  process.execve?.(
    process.execPath,
    [process.execPath, '--max-semi-space-size=4', ...process.execArgv, ...process.argv.slice(1)],
    {
      ...process.env,
      MALLOC_ARENA_MAX: '2',
      MALLOC_MMAP_THRESHOLD_: '65536',
      MALLOC_TRIM_THRESHOLD_: '131072',
    },
  );
}
// libuv's pool has four threads and gives name look-ups half of them (src/threadpool.c): two names that resolve slowly
// would hold up every new connection for seconds. It is read when the pool is first used, which is later.
process.env.UV_THREADPOOL_SIZE ??= '32';
// What was compiled once is kept in the system's folder for temporary files: the next start takes half the time.
enableCompileCache();
await (process.argv[2] === 'demo' ? import('./demo.ts') : import('./main.ts'));
