import { Validations } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Queue } from 'aws-cdk-lib/aws-sqs';
import { AwsSolutionsChecks } from 'cdk-nag';
import { describe, expect, it, vi } from 'vitest';
import type { HandoffStack } from '../../cdk/stack.ts';
import { openStack, shippedScripts } from './synthesize.ts';
import { variants } from './variants.ts';

type Finding = { rule: string; path: string };

/** What the rules find in the stack with the scripts that come along, and what its constructs acknowledge. */
function check(
  settings: Record<string, unknown>,
  change: (stack: HandoffStack) => void = () => {},
): { findings: Finding[]; acknowledged: (Finding & { reason: string })[] } {
  const { app, stack } = openStack(settings, shippedScripts);
  change(stack);
  // Some of the policies are made by the synthesis.
  app.synth();
  return {
    findings: (new AwsSolutionsChecks(app).validateScope(app).violations ?? []).flatMap(
      ({ ruleName: rule, violatingResources }) =>
        violatingResources.map(({ constructPath: path = '' }) => ({ rule, path })),
    ),
    acknowledged: app.node.findAll().flatMap(({ node }) =>
      node.metadata
        .filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
        .flatMap(({ data }) => Object.entries(data as Record<string, string>))
        // CDK puts down every rule as if it were one of its own.
        .map(([id, reason]) => ({ rule: id.replace(/^annotation::/iu, ''), path: node.path, reason })),
    ),
  };
}

/** The acknowledgements that do not stand for exactly one finding. */
function unfit(settings: Record<string, unknown>, change?: (stack: HandoffStack) => void): Finding[] {
  const { acknowledged } = check(settings, change);
  vi.spyOn(Validations.prototype, 'acknowledge').mockReturnValue();
  const { findings } = check(settings, change);
  return acknowledged.filter(
    ({ rule, path }) =>
      findings.filter((finding) => finding.rule === rule && finding.path.startsWith(`${path}/`)).length !== 1,
  );
}

describe('the AwsSolutions rules of cdk-nag', () => {
  it.each(Object.entries(variants))('find nothing in %s', (_name, settings) => {
    expect(check(settings).findings).toEqual([]);
  });

  it.each(Object.entries(variants))('are acknowledged finding by finding in %s', (_name, settings) => {
    expect(unfit(settings)).toEqual([]);
  });

  it('are acknowledged here and nowhere else, each with its reason', () => {
    const { acknowledged } = check({});
    // One for each script in Python, and whoever deploys has scripts of their own.
    const ours = acknowledged.filter(({ path }) => !path.startsWith('Handoff/Scripts/'));
    expect(ours.map(({ rule, path }) => `${rule} ${path}`)).toEqual([
      'AwsSolutions-DDB3 Handoff/Storage/Executions',
      'AwsSolutions-SQS3 Handoff/Intake/UndeliveredEvents',
      'AwsSolutions-COG2 Handoff/SignIn/Pool',
      'AwsSolutions-COG8 Handoff/SignIn/Pool',
    ]);
    for (const { reason } of acknowledged) expect(reason).toMatch(/^.{60,}$/u);
  });

  it('find what was planted', () => {
    const { findings } = check({}, (stack) => {
      new Queue(stack, 'Planted');
      const role = new Role(stack, 'PlantedRole', {
        assumedBy: new ServicePrincipal('lambda.amazonaws.com'),
      });
      role.addToPolicy(new PolicyStatement({ actions: ['dynamodb:PutItem'], resources: ['*'] }));
    });
    expect(findings).toEqual([
      { rule: 'AwsSolutions-SQS3', path: 'Handoff/Planted/Resource' },
      { rule: 'AwsSolutions-SQS4', path: 'Handoff/Planted/Resource' },
      { rule: 'AwsSolutions-IAM5[Resource::*]', path: 'Handoff/PlantedRole/DefaultPolicy/Resource' },
    ]);
  });

  it('tell of an acknowledgement without a finding, and of one for more than one', () => {
    const planted = unfit({}, (stack) => {
      const unneeded = new Queue(stack, 'Planted', { enforceSSL: true });
      Validations.of(unneeded).acknowledge({ id: 'AwsSolutions-SQS4', reason: 'nothing' });
      new Queue(stack, 'AlsoPlanted');
      Validations.of(stack).acknowledge({ id: 'AwsSolutions-SQS3', reason: 'everything' });
    });
    expect(planted).toEqual([
      { rule: 'AwsSolutions-SQS3', path: 'Handoff', reason: 'everything' },
      { rule: 'AwsSolutions-SQS4', path: 'Handoff/Planted', reason: 'nothing' },
    ]);
  });
});
