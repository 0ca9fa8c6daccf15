import flags from 'aws-cdk-lib/recommended-feature-flags.json' with { type: 'json' };
import { App } from 'aws-cdk-lib';
import { parseConfig } from './config.ts';
import { HandoffStack } from './stack.ts';

// What `cdk init` would write into the cdk.json of a new project. Taken from the library, whose version is
// pinned: a newer one that changes the template shows in the snapshot.
const app = new App({ postCliContext: flags });
new HandoffStack(app, 'Handoff', parseConfig(app.node.getAllContext()));
