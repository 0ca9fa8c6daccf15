import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { startEngineProcess } from '../support/engine.ts';

const home = mkdtempSync(join(tmpdir(), 'handoff-main-'));
afterAll(() => rmSync(home, { recursive: true }));

describe('npm start', () => {
  it('prints the address, with the token where it was made and not given', async () => {
    const engine = await startEngineProcess(join(home, 'made'), { env: { HANDOFF_TOKEN: '' } });
    const [, token] =
      /^Handoff is ready: http:\/\/127\.0\.0\.1:\d+, token (\S+)$/u.exec(engine.lines[0] ?? '') ?? [];
    const answer = await fetch(`${engine.url}/v1/handlers`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(answer.status).toBe(200);
    expect(await engine.end('SIGTERM')).toBe(0);
    for (const name of readdirSync(join(home, 'made'))) {
      expect(statSync(join(home, 'made', name)).mode & 0o077).toBe(0);
    }
  });

  it('ends with code 0 on SIGINT, and says nothing of a given token', async () => {
    const engine = await startEngineProcess('memory', { env: { HANDOFF_TOKEN: 'a-secret' } });
    expect(await engine.end('SIGINT')).toBe(0);
    expect(engine.lines).toEqual([`Handoff is ready: ${engine.url}`]);
  });

  it('ends with code 1 and one sentence for a setting that is wrong', async () => {
    await expect(startEngineProcess('memory', { env: { PORT: 'eighty' } })).rejects.toThrow(
      /\(1\) before it was ready:\nHandoff cannot start\. PORT must be a whole number from 0 to 65535\.$/u,
    );
  });
});
