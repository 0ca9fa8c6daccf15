import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import flags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { parseConfig } from '../../cdk/config.ts';
import { fromRoot } from '../../cdk/constructs/bundle.ts';
import { HandoffStack } from '../../cdk/stack.ts';

export type Resource = { Type: string; Properties: Record<string, unknown>; [attribute: string]: unknown };

/** What a policy document holds. */
export type Statement = {
  Action: string | string[];
  Resource: unknown;
  Effect: string;
  Condition?: unknown;
};

/** Where the scripts are that come along. */
export const shippedScripts = fromRoot('functions/scripts');

/**
 * The stack as `cdk synth` makes it with these settings, without bundling the functions: that takes seconds,
 * and bundles.test.ts does it once.
 *
 * @param scriptsFolder there is no such folder, and so no script, unless a test brings one
 */
export function openStack(
  settings: Record<string, unknown> = {},
  scriptsFolder = '/there/are/no/scripts',
): { app: App; stack: HandoffStack } {
  const app = new App({ postCliContext: { ...flags, 'aws:cdk:bundling-stacks': [] } });
  return { app, stack: new HandoffStack(app, 'Handoff', parseConfig(settings), { scriptsFolder }) };
}

/** The template of that stack. */
export const synthesize = (...parameters: Parameters<typeof openStack>): Template =>
  Template.fromStack(openStack(...parameters).stack);

/** Every resource of a type, by logical id. */
export const resourcesOf = (template: Template, type: string): Record<string, Resource> =>
  template.findResources(type) as Record<string, Resource>;

/** The logical id of the one resource of a type that begins like this (the rest is a hash of its path). */
export function idOf(template: Template, type: string, prefix: string): string {
  const [id, ...more] = Object.keys(resourcesOf(template, type)).filter((name) => name.startsWith(prefix));
  if (id === undefined || more.length > 0) {
    throw new Error(`${id === undefined ? 'no' : 1 + more.length} ${type} begin with ${prefix}`);
  }
  return id;
}

/** The resource with that id. */
export const resourceOf = (template: Template, type: string, prefix: string): Resource =>
  resourcesOf(template, type)[idOf(template, type, prefix)] as Resource;

/** The statements of a policy, or of the policy of a queue. */
export const statementsOf = (resource: Resource): Statement[] =>
  (resource.Properties['PolicyDocument'] as { Statement: Statement[] }).Statement;

/** What the role of a function is allowed to do: its actions by the resource, as the stack calls it. */
export function permissionsOf(template: Template, policyPrefix: string): Record<string, string[]> {
  const permissions = new Map<string, string[]>();
  for (const { Effect, Action, Resource: on } of statementsOf(
    resourceOf(template, 'AWS::IAM::Policy', policyPrefix),
  )) {
    if (Effect !== 'Allow') continue;
    for (const resource of [on].flat()) {
      const name = nameOf(resource);
      permissions.set(name, [...(permissions.get(name) ?? []), ...[Action].flat()].toSorted());
    }
  }
  return Object.fromEntries(permissions);
}

/**
 * What the stack calls a resource: `{ 'Fn::GetAtt': [<logical id>, 'Arn'] }` without the hash, or such an ARN joined with more, as that of an
 * index of a table; an ARN that was written out as it is.
 */
export function nameOf(resource: unknown): string {
  if (typeof resource === 'string') return resource;
  const {
    Ref: reference,
    'Fn::GetAtt': attribute,
    'Fn::Join': [, parts] = ['', []],
  } = resource as { Ref?: string; 'Fn::GetAtt'?: [string, string]; 'Fn::Join'?: [string, unknown[]] };
  if (attribute !== undefined) return attribute[0].slice(0, -8);
  return reference ?? parts.map(nameOf).join('');
}
