import { App } from 'aws-cdk-lib';
import { parseConfig } from './config.ts';
import { HandoffStack } from './stack.ts';

const app = new App();
new HandoffStack(app, 'Handoff', parseConfig(app.node.getAllContext()));
