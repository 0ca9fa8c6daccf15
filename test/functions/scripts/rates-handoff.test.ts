import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { builtInEventTypes } from '../../../shared/catalogue/catalogue.ts';
import { startReceiver } from '../../support/http-server.ts';
import { anInvocation } from './invocation.ts';

const projectRoot = fileURLToPath(new URL('../../..', import.meta.url));

// -B: what Python compiles beside the script would be deployed with it.
async function runPython(args: string[], { stdin = '', env = {} }: { stdin?: string; env?: object } = {}) {
  const child = spawn('python3', ['-B', ...args], {
    cwd: projectRoot,
    env: { PATH: process.env['PATH'], ...env },
  });
  child.stdin.end(stdin);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number | null]>,
  ]);
  return { code, stdout, stderr };
}

// Calls the handler as Lambda does, with one invocation after the other.
const callHandler = `
import json, sys
sys.path.insert(0, "functions/scripts/rates-handoff")
from lambda_function import handler
print(json.dumps([handler(invocation, None) for invocation in json.load(sys.stdin)]))
`;

const samples = builtInEventTypes.map(({ name, sample }) => anInvocation(name, sample));

describe('rates-handoff', () => {
  it('passes its own tests', async () => {
    const args = ['-W', 'error', '-m', 'unittest', 'discover', '-s', 'test/functions/scripts'];
    const { code, stderr } = await runPython([...args, '-p', '*_test.py']);

    expect(stderr).toMatch(/^Ran 1\d tests in .*\n\nOK\n$/mu);
    expect(code).toBe(0);
  });

  it('takes the sample of every event type: hands the rates file on, ignores the others', async () => {
    await using receiver = await startReceiver();
    const { code, stdout, stderr } = await runPython(['-c', callHandler], {
      stdin: JSON.stringify(samples),
      env: { IMPORTER_URL: `${receiver.url}/jobs` },
    });

    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const job = {
      rateTableIds: [41],
      templateId: 3,
      file: {
        name: 'northwind-2026-12.csv',
        size: 48_213,
        sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
        url: 'https://files.carrier.example/rates/northwind-2026-12.csv',
      },
      source: {
        kind: 'email',
        from: 'rates@carrier.example',
        subject: 'Rates valid from 1 December',
        receivedAt: '2026-11-23T09:58:00+00:00',
        eventId: 'e-1',
      },
    };
    expect(JSON.parse(stdout)).toEqual(
      builtInEventTypes.map(({ name }) =>
        name === 'email_rates.import'
          ? { job, posted: true }
          : { ignored: true, reason: `${name} is not about a rates file` },
      ),
    );
    const [request, ...others] = receiver.requests;
    expect(others).toEqual([]);
    expect(request).toMatchObject({ method: 'POST', path: '/jobs', headers: { 'idempotency-key': 'x-1' } });
    expect(JSON.parse(request?.body ?? '')).toEqual(job);
  });
});
