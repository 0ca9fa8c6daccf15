import { CfnOutput, Stack } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { Config } from './config.ts';
import { Api } from './constructs/api.ts';
import { Dispatcher } from './constructs/dispatcher.ts';
import { Intake } from './constructs/intake.ts';
import { Monitoring } from './constructs/monitoring.ts';
import { Storage } from './constructs/storage.ts';

/** Everything that Handoff needs in one region of one account, and nothing that is billed while it is idle but the key. */
export class HandoffStack extends Stack {
  constructor(scope: Construct, id: string, config: Config) {
    super(scope, id, {
      stackName: config.stackName,
      description: 'Handoff: runs reactions to domain events, and keeps a log of every one',
    });

    const storage = new Storage(this, 'Storage', config);
    const intake = new Intake(this, 'Intake', config);
    const dispatcher = new Dispatcher(this, 'Dispatcher', { config, storage, intake });
    const api = new Api(this, 'Api', { config, storage, intake });
    new Monitoring(this, 'Monitoring', { config, intake, dispatcher, api });

    const output = (name: string, value: string, description: string) =>
      new CfnOutput(this, name, { value, description });
    output(
      'ApiUrl',
      api.url,
      'Where the management API answers requests that are signed with IAM credentials',
    );
    output('EventBusName', intake.bus.eventBusName, 'The bus for upstream services to put their events on');
    output('EventBusArn', intake.bus.eventBusArn, 'The same bus, for the policies of upstream services');
    output('HandlersTableName', storage.handlersTableName, 'The table that holds handlers');
    output('ExecutionsTableName', storage.executionsTableName, 'The table that holds the execution log');
    output('EventsQueueUrl', intake.eventsQueue.queueUrl, 'The queue between the bus and the dispatcher');
    output(
      'EventsDeadLettersUrl',
      intake.deadLetters.queueUrl,
      'Events that the dispatcher could not work off',
    );
  }
}
