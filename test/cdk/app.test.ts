import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fromRoot } from '../../cdk/constructs/bundle.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'handoff-cdk-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** The cdk command, in an environment without anything of AWS. */
const cdk = (...parameters: string[]) =>
  new Promise<{ exitCode: unknown; stdout: string; stderr: string }>((resolve) => {
    execFile(
      process.execPath,
      [fromRoot('node_modules/aws-cdk/bin/cdk'), ...parameters, '--output', join(folder, 'out')],
      {
        cwd: fromRoot(''),
        env: {
          PATH: process.env['PATH'],
          HOME: folder,
          AWS_EC2_METADATA_DISABLED: 'true',
          CDK_DISABLE_CLI_TELEMETRY: 'true',
        },
      },
      (error, stdout, stderr) => resolve({ exitCode: error?.code ?? 0, stdout, stderr }),
    );
  });

describe('the cdk command', () => {
  it('says what is wrong with a setting, without a stack trace, and makes nothing', async () => {
    expect(await cdk('synth', '--context', 'retentionDays=0')).toEqual({
      exitCode: 1,
      stdout: '',
      stderr:
        'The deploy settings cannot be used. retentionDays cannot be "0": Too small: expected number to be >=1. (How long ended executions are kept.)\n' +
        'node cdk/app.ts: Subprocess exited with error 1\n',
    });
    expect(existsSync(join(folder, 'out', 'Handoff.template.json'))).toBe(false);
  }, 30_000);

  it('says that there are no credentials before it would deploy', async () => {
    const { exitCode, stderr } = await cdk('deploy');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('There are no AWS credentials that work');
    expect(stderr).toContain('Unable to resolve AWS account to use.');
  }, 60_000);
});
