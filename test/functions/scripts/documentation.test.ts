import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtInEventTypes } from '../../../shared/catalogue/catalogue.ts';
import { findScripts } from '../../../shared/scripts/find-scripts.ts';
import { startReceiver } from '../../support/http-server.ts';
import { anInvocation } from './invocation.ts';

const projectRoot = fileURLToPath(new URL('../../..', import.meta.url));
const page = readFileSync(join(projectRoot, 'docs/scripts.md'), 'utf8');
const blocks = [...page.matchAll(/^```(?<language>\w+)\n(?<code>.*?)^```$/gmsu)].map(({ groups }) => ({
  language: groups?.['language'],
  code: groups?.['code'] ?? '',
}));

/** The one block of this language that has this text in it. */
function block(language: string, text: string): string {
  const [found, ...others] = blocks.filter(
    (other) => other.language === language && other.code.includes(text),
  );
  if (found === undefined || others.length > 0) throw new Error(`Not one ${language} block with "${text}"`);
  return found.code;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'handoff-documentation-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs a block as it is pasted, but with a folder for temporary files of its own. */
async function paste(code: string, { cwd = projectRoot, env = {} }: { cwd?: string; env?: object } = {}) {
  const { stdout } = await promisify(execFile)('bash', ['-e', '-c', code.replaceAll('/tmp/', `${folder}/`)], {
    cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
  });
  return stdout;
}

const tryTypeScript = block('sh', "from './functions/scripts/balance-guard/lambda.ts'");
const tryPython = block('sh', "'functions/scripts/rates-handoff'");
const makeInvocation = block('sh', "const type = 'client.balance.nonpositive'");

describe('docs/scripts.md', () => {
  it('tells how to try a script alone', async () => {
    await paste(makeInvocation);
    expect(await paste(tryTypeScript)).toContain("action: 'warn'");
    expect(await paste(tryPython)).toContain("{'ignored': True");

    await paste(makeInvocation.replace('client.balance.nonpositive', 'email_rates.import'));
    expect(await paste(tryTypeScript)).toContain('ignored: true');
    expect(await paste(tryPython)).toContain("{'job': {'rateTableIds': [41]");
  });

  it('has examples that do what they say, in both languages', async () => {
    const write = (path: string, text: string) => {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    };
    // npx would look for Node in the registry if it was not in the project.
    for (const name of ['package.json', 'shared', 'node_modules'])
      symlinkSync(join(projectRoot, name), join(folder, name));
    const settings = block('json', '"memoryMb"');
    write('functions/scripts/welcome/lambda.ts', block('ts', 'the mailer answered'));
    write('functions/scripts/welcome/script.json', settings);
    write('functions/scripts/welcome-py/lambda_function.py', block('python', 'MAILER_URL'));
    write('functions/scripts/welcome-py/script.json', settings);
    expect(findScripts(join(folder, 'functions/scripts'))).toMatchObject([
      { name: 'welcome', language: 'typescript', description: 'Welcomes a new client by e-mail' },
      { name: 'welcome-py', language: 'python', environment: { MAILER_URL: 'https://mailer.example/send' } },
    ]);
    const created = builtInEventTypes.find(({ name }) => name === 'client.create');
    write('invocation.json', JSON.stringify(anInvocation('client.create', created?.sample)));

    await using mailer = await startReceiver();
    const env = { MAILER_URL: `${mailer.url}/send` };
    const inTypeScript = await paste(tryTypeScript.replace('balance-guard', 'welcome'), { cwd: folder, env });
    const inPython = await paste(tryPython.replace('rates-handoff', 'welcome-py'), { cwd: folder, env });

    expect(inTypeScript).toBe("attempt 1 for Northwind Telecom\n{ welcomed: 'noc@northwind.example' }\n");
    expect(inPython).toBe("attempt 1 for Northwind Telecom\n{'welcomed': 'noc@northwind.example'}\n");
    expect(mailer.requests).toHaveLength(2);
    for (const request of mailer.requests) {
      expect(request).toMatchObject({ method: 'POST', path: '/send', headers: { 'idempotency-key': 'x-1' } });
      expect(JSON.parse(request.body)).toEqual({
        to: 'noc@northwind.example',
        text: 'Welcome, Northwind Telecom!',
      });
    }
  });
});
