import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import flags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../cdk/config.ts';
import { Scripts } from '../../cdk/constructs/scripts.ts';
import { maxScriptTimeoutMs } from '../../shared/handlers/handler.ts';
import {
  permissionsOf,
  resourceOf,
  resourcesOf,
  statementsOf,
  synthesize,
  type Resource,
} from './synthesize.ts';

// Inside the project, because CDK bundles nothing from outside.
const scratch = fileURLToPath(new URL('../../cdk.out', import.meta.url));
let folder: string;
beforeEach(() => {
  mkdirSync(scratch, { recursive: true });
  folder = mkdtempSync(join(scratch, 'scripts-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), text);
}
const typescriptSource = 'export const handler = (input: { n: number }): number => input.n + 1;\n';
const pythonSource = 'def handler(event, context):\n    return event["n"] + 1\n';

const outdir = () => join(folder, '.out');

/** The scripts of the folder in a stack of their own, without bundling TypeScript: bundles.test.ts does that. */
function openScripts({ stackName = 'Crm' } = {}): { app: App; stack: Stack; scripts: Scripts } {
  const app = new App({
    outdir: outdir(),
    postCliContext: { ...flags, 'aws:cdk:bundling-stacks': [] },
  });
  const stack = new Stack(app, 'Test', { stackName });
  return { app, stack, scripts: new Scripts(stack, 'Scripts', { config: parseConfig({}), folder }) };
}

describe('scripts', () => {
  it('become a Lambda each, named after the stack and the script, with the settings of script.json', () => {
    write('crm-sync/lambda.ts', typescriptSource);
    write('rates/lambda_function.py', pythonSource);
    write(
      'rates/script.json',
      JSON.stringify({ description: 'Imports rates', memoryMb: 1024, environment: { RATES_URL: 'x' } }),
    );
    const functions = resourcesOf(Template.fromStack(openScripts().stack), 'AWS::Lambda::Function');

    expect(Object.values(functions).map(({ Properties }) => Properties)).toEqual([
      expect.objectContaining({
        FunctionName: 'Crm-script-crm-sync',
        Description: '',
        MemorySize: 256,
        Runtime: 'nodejs24.x',
        Handler: 'index.handler',
      }),
      expect.objectContaining({
        FunctionName: 'Crm-script-rates',
        Description: 'Imports rates',
        MemorySize: 1024,
        Environment: { Variables: { RATES_URL: 'x' } },
        Runtime: 'python3.14',
        Handler: 'lambda_function.handler',
      }),
    ]);
    for (const { Properties } of Object.values(functions)) {
      expect(Properties).toMatchObject({
        Architectures: ['arm64'],
        Timeout: maxScriptTimeoutMs / 1000 + 5,
        LoggingConfig: { LogFormat: 'Text', LogGroup: { Ref: expect.stringMatching(/Logs/u) as string } },
        // The retrier calls them in one chain of messages, more often than Lambda takes for no loop.
        RecursiveLoop: 'Allow',
      });
    }
  });

  it('have no settings of Handoff in their environment', () => {
    write('crm-sync/lambda.ts', typescriptSource);
    const template = Template.fromStack(openScripts().stack);
    expect(resourceOf(template, 'AWS::Lambda::Function', 'Scripts').Properties).not.toHaveProperty(
      'Environment',
    );
  });

  it('are not repeated by Lambda: that is for the schedule of the handler', () => {
    write('crm-sync/lambda.ts', typescriptSource);
    write('rates/lambda_function.py', pythonSource);
    const template = Template.fromStack(openScripts().stack);
    template.resourceCountIs('AWS::Lambda::EventInvokeConfig', 2);
    template.allResourcesProperties('AWS::Lambda::EventInvokeConfig', { MaximumRetryAttempts: 0 });
  });

  it('may write their own log and nothing else', () => {
    write('crm-sync/lambda.ts', typescriptSource);
    const template = Template.fromStack(openScripts().stack);
    expect(permissionsOf(template, 'Scripts')).toEqual({
      ScriptscrmsyncLogs: ['logs:CreateLogStream', 'logs:PutLogEvents'],
    });
    expect(resourceOf(template, 'AWS::IAM::Role', 'Scripts').Properties).not.toHaveProperty(
      'ManagedPolicyArns',
    );
  });

  it('can be given more by their name', () => {
    write('crm-sync/lambda.ts', typescriptSource);
    write('rates/lambda_function.py', pythonSource);
    const { stack, scripts } = openScripts();
    const files = 'arn:aws:s3:::rates/2026.csv';
    scripts.functions
      .get('rates')
      .addToRolePolicy(new PolicyStatement({ actions: ['s3:GetObject'], resources: [files] }));
    const template = Template.fromStack(stack);
    const statements = (prefix: string) =>
      statementsOf(resourceOf(template, 'AWS::IAM::Policy', prefix)).map(({ Action }) => Action);
    expect(statements('Scriptsrates')).toContain('s3:GetObject');
    expect(statements('Scriptscrmsync')).not.toContain('s3:GetObject');
  });

  it('say which there are when one is asked for that is not there', () => {
    write('crm-sync/lambda.ts', typescriptSource);
    const { scripts } = openScripts();
    expect(() => scripts.functions.get('crm')).toThrow(
      `There is no script crm in ${folder}; there are: crm-sync.`,
    );
  });

  it('are refused when the name of the function would be too long for Lambda', () => {
    write('a-script-whose-name-is-a-bit-on-the-long/lambda.ts', typescriptSource);
    expect(() => openScripts({ stackName: 'Crm-of-the-east' })).not.toThrow();
    expect(() => openScripts({ stackName: 'Crm-of-the-far-east' })).toThrow(
      /script a-script-whose-name-is-a-bit-on-the-long in the stack Crm-of-the-far-east would be named .* takes 64 characters: shorten one of the two names by 3\./u,
    );
  });

  it('are refused when their names together do not fit into an environment', () => {
    writeMany(76);
    expect(() => openScripts()).toThrow(
      `The names of the 76 scripts in ${folder} have 3039 characters together`,
    );
  });

  it('are taken in Python as they are, without what no Lambda needs', () => {
    write('rates/lambda_function.py', pythonSource);
    write('rates/parsing/columns.py', '');
    for (const path of [
      '__pycache__/lambda_function.cpython-314.pyc',
      'parsing/__pycache__/columns.cpython-314.pyc',
      'tests/test_rates.py',
      'parsing/columns_test.py',
      '.venv/pyvenv.cfg',
    ]) {
      write(`rates/${path}`, '');
    }
    openScripts().app.synth();

    const asset = readdirSync(outdir()).find((name) => name.startsWith('asset.')) ?? '';
    expect(readdirSync(join(outdir(), asset), { recursive: true }).toSorted()).toEqual([
      'lambda_function.py',
      'parsing',
      'parsing/columns.py',
    ]);
  });
});

describe('the stack', () => {
  it('tells those that call scripts which there are, and lets them', () => {
    write('crm-sync/lambda.ts', typescriptSource);
    write('rates/lambda_function.py', pythonSource);
    const template = synthesize({ stackName: 'Crm' }, folder);

    for (const [prefix, actions] of [
      ['Dispatcher', ['lambda:InvokeFunction']],
      ['RetriesRetry', ['lambda:InvokeFunction']],
      ['Api', ['lambda:GetFunctionConfiguration', 'lambda:InvokeFunction']],
    ] as const) {
      expect(resourceOf(template, 'AWS::Lambda::Function', prefix).Properties).toMatchObject({
        Environment: { Variables: { SCRIPTS: 'crm-sync,rates', SCRIPT_FUNCTION_PREFIX: 'Crm-script-' } },
      });
      expect(permissionsOf(template, prefix)).toMatchObject({
        ScriptscrmsyncFunction: actions,
        ScriptsratesFunction: actions,
      });
    }
    expect(permissionsOf(template, 'RetriesSweep')).not.toHaveProperty('ScriptsratesFunction');
  });

  it('does without any script', () => {
    const template = synthesize({}, folder);
    for (const prefix of ['Dispatcher', 'RetriesRetry', 'Api']) {
      expect(resourceOf(template, 'AWS::Lambda::Function', prefix).Properties).toMatchObject({
        Environment: { Variables: { SCRIPTS: '' } },
      });
      const policy = resourceOf(template, 'AWS::IAM::Policy', prefix);
      expect(statementsOf(policy).filter(({ Action }) => JSON.stringify(Action).includes('lambda:'))).toEqual(
        [],
      );
    }
  });

  it('cuts the right to call many scripts into policies that IAM takes', () => {
    writeMany(75);
    const template = synthesize({}, folder);
    // With the longest ARN that a function can have: its region, the account, 64 characters of name.
    const arn = `arn:aws-us-gov:lambda:ap-southeast-3:123456789012:function:${'n'.repeat(64)}`;
    const lengthOf = (resource: Resource) =>
      JSON.stringify(resource.Properties['PolicyDocument']).replaceAll(
        /\{"Fn::GetAtt":\["\w+","Arn"\]\}/gu,
        JSON.stringify(arn),
      ).length;
    const managed = resourcesOf(template, 'AWS::IAM::ManagedPolicy');

    // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    for (const [id, policy] of Object.entries(managed)) expect(lengthOf(policy), id).toBeLessThan(6144);
    for (const prefix of ['Dispatcher', 'RetriesRetry', 'Api']) {
      expect(lengthOf(resourceOf(template, 'AWS::IAM::Policy', prefix)), prefix).toBeLessThan(10_240);
      const more = Object.keys(managed).filter((id) => id.startsWith(prefix));
      // Ten may be attached to a role, and one is enough to show that there are any.
      expect(more.length).toBeGreaterThan(0);
      expect(more.length).toBeLessThanOrEqual(10);
    }
  }, 60_000);
});

/** Scripts with names of 39 characters. */
function writeMany(count: number): void {
  for (let i = 0; i < count; i++) write(`${'long-'.repeat(7)}s-${10 + i}/lambda_function.py`, pythonSource);
}
