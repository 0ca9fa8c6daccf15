import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import flags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { parseConfig } from '../../cdk/config.ts';
import { HandoffStack } from '../../cdk/stack.ts';

export type Resource = { Type: string; Properties: Record<string, unknown>; [attribute: string]: unknown };

/**
 * The stack as `cdk synth` makes it with these settings, without bundling the functions: that takes seconds,
 * and bundles.test.ts does it once.
 */
export function synthesize(settings: Record<string, unknown> = {}): Template {
  const app = new App({ postCliContext: { ...flags, 'aws:cdk:bundling-stacks': [] } });
  return Template.fromStack(new HandoffStack(app, 'Handoff', parseConfig(settings)));
}

/** Every resource of a type, by logical id. */
export const resourcesOf = (template: Template, type: string): Record<string, Resource> =>
  template.findResources(type) as Record<string, Resource>;

/** The resource of a type whose logical id begins like this (the rest is a hash of its path). */
export function resourceOf(template: Template, type: string, idPrefix: string): Resource {
  const found = Object.entries(resourcesOf(template, type)).filter(([id]) => id.startsWith(idPrefix));
  if (found.length !== 1 || found[0] === undefined) {
    throw new Error(`${found.length} resources ${type} begin with ${idPrefix}`);
  }
  return found[0][1];
}
