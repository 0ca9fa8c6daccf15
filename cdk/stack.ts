import { CfnOutput, Stack } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { Config } from './config.ts';
import { Api } from './constructs/api.ts';
import { fromRoot } from './constructs/bundle.ts';
import { Dispatcher } from './constructs/dispatcher.ts';
import { Intake } from './constructs/intake.ts';
import { Monitoring } from './constructs/monitoring.ts';
import { Retries } from './constructs/retries.ts';
import { Scripts } from './constructs/scripts.ts';
import { SignIn } from './constructs/sign-in.ts';
import { Storage } from './constructs/storage.ts';

export type HandoffStackProps = {
  /** Absolute path, inside the project; each folder in it is a script. @default functions/scripts */
  scriptsFolder?: string;
};

/** Everything that Handoff needs in one region of one account. What it costs while it is idle is in docs/deploy.md. */
export class HandoffStack extends Stack {
  constructor(
    scope: Construct,
    id: string,
    config: Config,
    { scriptsFolder = fromRoot('functions/scripts') }: HandoffStackProps = {},
  ) {
    super(scope, id, {
      stackName: config.stackName,
      description: 'Handoff: runs reactions to domain events, and keeps a log of every one',
    });

    const storage = new Storage(this, 'Storage', config);
    const intake = new Intake(this, 'Intake', config);
    // A script that needs more than its own log is given it here, by its name: `scripts.functions.get(name)`.
    const scripts = new Scripts(this, 'Scripts', { config, folder: scriptsFolder });
    const retries = new Retries(this, 'Retries', { config, storage, intake, scripts });
    const dispatcher = new Dispatcher(this, 'Dispatcher', { config, storage, intake, retries, scripts });
    const signIn = config.oidcIssuer === null ? new SignIn(this, 'SignIn', config) : null;
    const tokens = signIn ?? { issuer: config.oidcIssuer ?? '', audience: config.oidcAudience };
    const api = new Api(this, 'Api', { config, storage, intake, retries, scripts, tokens });
    new Monitoring(this, 'Monitoring', { config, intake, dispatcher, retries, api });

    const output = (name: string, value: string, description: string) =>
      new CfnOutput(this, name, { value, description });
    output('ApiUrl', api.url, 'Where the management API answers requests that come with an access token');
    output('TokenIssuer', tokens.issuer, 'Whose access tokens it takes');
    if (signIn !== null) {
      const clientId = signIn.addConsole(api.url);
      output('UserPoolId', signIn.userPoolId, 'The user pool of the people who may call the API');
      output('SignInUrl', signIn.url, 'Where these people sign in');
      output('ConsoleClientId', clientId, 'The client through which they do, which has no secret');
      output('TokenUrl', signIn.tokenUrl, 'Where clients get tokens');
      if (signIn.machineClients !== '') {
        output('MachineClients', signIn.machineClients, 'The machine clients and their ids');
      }
    }
    output('EventBusName', intake.bus.eventBusName, 'The bus for upstream services to put their events on');
    output('EventBusArn', intake.bus.eventBusArn, 'The same bus, for the policies of upstream services');
    output('HandlersTableName', storage.handlersTableName, 'The table that holds handlers');
    output('ExecutionsTableName', storage.executionsTableName, 'The table that holds the execution log');
    output('EventsQueueUrl', intake.eventsQueue.queueUrl, 'The queue between the bus and the dispatcher');
    output(
      'EventsDeadLettersUrl',
      intake.deadLetters.queueUrl,
      'Events that the dispatcher could not work off, until the sweeper takes them into the table',
    );
    output(
      'UndeliveredEventsUrl',
      intake.undelivered.queueUrl,
      'Events that the bus could not put into the events queue, until the sweeper takes them into the table',
    );
    output('RetriesQueueUrl', retries.queue.queueUrl, 'The queue of wake-up calls for later attempts');
    output(
      'RetriesDeadLettersUrl',
      retries.deadLetters.queueUrl,
      'Wake-up calls that the retrier could not work off, until the sweeper takes them',
    );
  }
}
