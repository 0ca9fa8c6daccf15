import flags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { App } from 'aws-cdk-lib';
import { parseConfig } from './config.ts';
import { DeployError } from './deploy-error.ts';
import { HandoffStack } from './stack.ts';

// What `cdk init` would write into the cdk.json of a new project. Taken from the library, whose version is
// pinned: a newer one that changes the template shows in the snapshot.
const app = new App({ postCliContext: flags });
try {
  new HandoffStack(app, 'Handoff', parseConfig(app.node.getAllContext()));
} catch (error) {
  if (!(error instanceof DeployError)) throw error;
  console.error(error.message);
  process.exit(1);
}
// The command sets the account that its credentials are for, and ends without one only behind the synthesis, with a
// sentence about an account instead of credentials.
if (process.env['CDK_CLI_VERSION'] !== undefined && process.env['CDK_DEFAULT_ACCOUNT'] === undefined) {
  console.error('There are no AWS credentials that work: the stack can be synthesized, and not deployed.');
}
