import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { fetchDynamoDbLocal, startDynamoDbLocal } from './dynamodb-local.ts';

const java17 = `echo 'openjdk version "17.0.15" 2025-04-15' >&2`;
const fetches = 'for last; do :; done; echo fetched > "${last#-DoutputDirectory=}/DynamoDBLocal.jar"';

/** A machine that has these programs and no others, each a script of the shell; and an empty cache. */
async function aMachineWith(programs: Record<string, string>): Promise<{ cache: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'handoff-machine-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  vi.stubEnv('PATH', folder);
  return { cache: join(folder, 'cache') };
}

const lacking = (message: string) => ({ name: 'MissingToolError', message });

describe('fetchDynamoDbLocal', () => {
  it('says that there is no Java', async () => {
    const { cache } = await aMachineWith({ mvn: fetches });
    await expect(fetchDynamoDbLocal(cache)).rejects.toMatchObject(
      lacking('Java 17 or later is needed here, as java in the PATH; it cannot be started.'),
    );
  });

  it.each([
    ['11.0.26', 'openjdk version "11.0.26" 2025-01-21'],
    ['1.8.0_292', 'java version "1.8.0_292"'],
    ['unknown', 'a java of some other kind'],
  ])('says that Java %s is too old', async (version, printed) => {
    const { cache } = await aMachineWith({ java: `echo '${printed}' >&2`, mvn: fetches });
    await expect(fetchDynamoDbLocal(cache)).rejects.toMatchObject(
      lacking(`Java 17 or later is needed here, as java in the PATH; this is ${version}.`),
    );
  });

  it('says that there is no Maven', async () => {
    const { cache } = await aMachineWith({ java: java17 });
    await expect(fetchDynamoDbLocal(cache)).rejects.toMatchObject(
      lacking('Maven is needed here, as mvn in the PATH; it cannot be started.'),
    );
  });

  it('says what Maven could not fetch, and tries again the next time', async () => {
    const { cache } = await aMachineWith({
      java: java17,
      // As Maven 3.8 prints it on Debian.
      mvn: `printf '\\033[0m[ERROR] Could not find artifact X in central -> [Help 1]\\n[ERROR] \\n[ERROR] More\\n'; exit 1`,
    });
    for (let time = 0; time < 2; time++) {
      await expect(fetchDynamoDbLocal(cache)).rejects.toMatchObject(
        lacking('Maven cannot fetch DynamoDB Local: Could not find artifact X in central'),
      );
    }
  });

  it('fetches once', async () => {
    const { cache } = await aMachineWith({ java: java17, mvn: fetches });
    const libraries = await fetchDynamoDbLocal(cache);
    expect(await readdir(libraries)).toEqual(['DynamoDBLocal.jar']);
    await writeFile(join(libraries, 'kept'), '');
    expect(await fetchDynamoDbLocal(cache)).toBe(libraries);
    expect(await readdir(cache)).toHaveLength(1);
    expect(await readdir(libraries)).toContain('kept');
  });
});

describe('startDynamoDbLocal', () => {
  it('says what was printed when it ends at once', async () => {
    const { cache } = await aMachineWith({
      java: `[ "$1" = -version ] && { ${java17}; exit; }; echo 'Address already in use'; exit 3`,
      mvn: fetches,
    });
    await expect(startDynamoDbLocal(cache)).rejects.toThrow(
      'DynamoDB Local ended (3) before it was ready:\nAddress already in use\n',
    );
  });
});

describe('until-stdin-closes', () => {
  it('ends its program when the process that started both is killed', async () => {
    const guardFile = fileURLToPath(new URL('until-stdin-closes.ts', import.meta.url));
    const program = ['-e', 'console.log(process.pid); setInterval(() => {}, 1000)'];
    const guarded = JSON.stringify([guardFile, process.execPath, ...program]);
    const started = spawn(
      process.execPath,
      ['-e', `child_process.spawn(process.execPath, ${guarded}, { stdio: ['pipe', 'inherit', 'inherit'] })`],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [pid] = (await once(started.stdout.setEncoding('utf8'), 'data')) as [string];
    expect(process.kill(Number(pid), 0)).toBe(true);
    started.kill('SIGKILL');
    // Its output closes when the last of the three has ended.
    await once(started, 'close');
    expect(() => process.kill(Number(pid), 0)).toThrow('ESRCH');
  });
});
