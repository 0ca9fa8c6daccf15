import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createFamilies, type Families, type Family } from '../../local/script-family.ts';
import { isAlive, waitForDeath } from '../support/scripts.ts';

const started: ChildProcess[] = [];
const sleepers: number[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  for (const pid of sleepers.splice(0)) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
});

type Started = { family: Family; leader: number; children: number[] };

/** Starts what leads a family, with a child for each of the options of spawn(). */
async function start(families: Families, children: object[], mark = 'MARK=mine'): Promise<Started> {
  const [name = '', value = ''] = mark.split('=');
  const code = `
    const { spawn } = require('node:child_process');
    const children = ${JSON.stringify(children)}.map((options) => spawn('sleep', ['600'], { stdio: 'ignore', ...options }));
    console.log(children.map(({ pid }) => pid).join(' '));
    setInterval(() => undefined, 60_000);`;
  const child = spawn(process.execPath, ['-e', code], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'], [name]: value },
  });
  started.push(child);
  const leader = child.pid ?? 0;
  const family = families.add(leader, mark);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const pids = line.toString().trim().split(' ').map(Number);
  sleepers.push(...pids);
  return { family, leader, children: pids };
}

const inTheGroup = {};
const outsideOfIt = { detached: true };

describe.each([
  ['the file system of Linux', 'linux'],
  ['ps', 'darwin'],
] as const)('createFamilies, by %s', (_, platform) => {
  it.runIf(platform !== 'linux' || process.platform === 'linux')(
    'finds children in the group and outside of it, measures and kills them, and nobody else',
    async () => {
      const families = createFamilies(platform);
      const before = await start(createFamilies(platform), [inTheGroup, outsideOfIt], 'MARK=older');
      const { family, leader, children } = await start(families, [inTheGroup, outsideOfIt]);
      const after = await start(families, [inTheGroup, outsideOfIt], 'MARK=younger');
      // A child has its number before it is one.
      await vi.waitFor(async () => {
        await families.refresh();
        expect(new Set(family.members.keys())).toEqual(new Set([leader, ...children]));
      });
      expect(families.residentBytes(family)).toBeGreaterThan(10_000_000);
      expect(families.proportionalBytes(family)).toBeGreaterThan(1_000_000);
      expect(families.proportionalBytes(family)).toBeLessThanOrEqual(families.residentBytes(family));

      await families.end(family);
      await waitForDeath([leader, ...children]);
      const others = [before.leader, ...before.children, after.leader, ...after.children];
      expect(others.filter(isAlive)).toEqual(others);
    },
  );

  it.runIf(platform !== 'linux' || process.platform === 'linux')('forgets who has ended', async () => {
    const families = createFamilies(platform);
    const { family, children } = await start(families, [inTheGroup, inTheGroup]);
    await families.refresh();
    const [first = 0] = children;
    process.kill(first, 'SIGKILL');
    await vi.waitFor(async () => {
      await families.refresh();
      expect(family.members.has(first)).toBe(false);
    });
    await families.end(family);
    await waitForDeath(children);
  });
});

describe.runIf(process.platform === 'linux')('createFamilies on Linux', () => {
  it('finds by its mark what has left the group and lost its parent', async () => {
    const families = createFamilies();
    const { family, leader, children } = await start(families, [outsideOfIt]);
    process.kill(leader, 'SIGKILL');
    await waitForDeath([leader]);

    await families.end(family);
    await waitForDeath(children);
  });
});
