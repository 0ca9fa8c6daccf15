import { readFileSync } from 'node:fs';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Template } from 'aws-cdk-lib/assertions';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { describe, expect, it } from 'vitest';
import { permissionsTable, securityFile, tableIn } from './permissions-table.ts';
import { openStack, resourcesOf, shippedScripts, statementsOf, synthesize } from './synthesize.ts';

const rowsOf = (table: string): string[][] =>
  table
    .split('\n')
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );

describe('the table of permissions', () => {
  it('is in docs/security.md as the template has it (else: npm run docs:permissions)', () => {
    expect(tableIn(readFileSync(securityFile, 'utf8'))).toBe(
      permissionsTable(synthesize({}, shippedScripts)),
    );
  });

  it('has every action of every statement', () => {
    const template = synthesize({}, shippedScripts);
    const statements = Object.values(resourcesOf(template, 'AWS::IAM::Policy')).flatMap(statementsOf);
    const table = permissionsTable(template);
    expect(statements.length).toBeGreaterThan(20);
    for (const action of statements.flatMap(({ Action }) => Action)) expect(table).toContain(`\`${action}\``);
  });

  it('shows what somebody gives a function beyond that, and a script alone', () => {
    const { stack } = openStack({}, shippedScripts);
    const give = (path: string, action: string) =>
      (
        stack.node
          .findChild('Scripts')
          .node.findChild(path)
          .node.findChild('Function') as unknown as IFunction
      ).addToRolePolicy(new PolicyStatement({ actions: [action], resources: ['*'] }));
    give('balance-guard', 's3:GetObject');
    const before = rowsOf(permissionsTable(synthesize({}, shippedScripts)));
    const rows = rowsOf(permissionsTable(Template.fromStack(stack)));
    expect(before.filter(([subject]) => subject?.includes('script'))).toEqual([
      ['each script', 'its own log', '`logs:CreateLogStream`, `logs:PutLogEvents`'],
    ]);
    expect(rows).toContainEqual(['script `balanceguard`', '*', '`s3:GetObject`']);
    expect(rows).toContainEqual([
      'script `rateshandoff`',
      'its own log',
      '`logs:CreateLogStream`, `logs:PutLogEvents`',
    ]);
  });

  it('tells what is denied from what is allowed', () => {
    const denied = rowsOf(tableIn(readFileSync(securityFile, 'utf8'))).filter(([, , rights]) =>
      rights?.startsWith('**never**'),
    );
    expect(denied.map(([subject, on]) => `${subject}: ${on}`)).toEqual(
      ['dispatcher', 'retrier', 'sweeper', 'api'].map((subject) => `${subject}: table of handlers`),
    );
    for (const [, , rights] of denied) {
      expect(rights).toContain(
        '`dynamodb:UpdateItem`, where `dynamodb:LeadingKeys` is `AUDIT#*` (`ForAnyValue:StringLike`)',
      );
    }
  });
});
