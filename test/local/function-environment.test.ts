import { ListTablesCommand } from '@aws-sdk/client-dynamodb';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { InvokeCommand } from '@aws-sdk/client-lambda';
import { ListQueuesCommand } from '@aws-sdk/client-sqs';
import { afterEach, describe, expect, it } from 'vitest';
import { setFunctionEnvironment } from '../../local/function-environment.ts';
import { createDynamo, createEventBridge, createLambda, createSqs } from '../../shared/aws/clients.ts';
import { startReceiver } from '../support/http-server.ts';
import { ApiEnv } from '../../functions/api/env.ts';
import { DispatcherEnv } from '../../functions/dispatcher/env.ts';
import { RetrierEnv } from '../../functions/retrier/env.ts';
import { SweeperEnv } from '../../functions/sweeper/env.ts';

const settings = {
  handlersTable: 'handlers',
  executionsTable: 'executions',
  dataKeyFile: '/data/data-key',
  busName: 'handoff',
  allowHttp: true,
  allowCidrs: '127.0.0.0/8',
  redactPaths: 'detail.data.iban',
  retryScale: 0.5,
  circuitBreaker: false,
  autoDisableDays: 7,
  credentials: { accessKeyId: 'key-of-this-start', secretAccessKey: 'unused' },
  dynamoDbEndpoint: 'http://127.0.0.1:1111',
  privateEndpoint: 'http://127.0.0.1:2222',
  queueUrls: {
    events: 'http://127.0.0.1:2222/0/events',
    retries: 'http://127.0.0.1:2222/0/retries',
    eventsDeadLetters: 'http://127.0.0.1:2222/0/events-dead-letters',
    retriesDeadLetters: 'http://127.0.0.1:2222/0/retries-dead-letters',
  },
  scripts: ['balance-guard', 'rates-handoff'],
  scriptFunctionPrefix: 'handoff-script-',
  maxConcurrentScripts: 8,
};

const before = { ...process.env };
afterEach(() => {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, before);
});

describe('setFunctionEnvironment', () => {
  it('has all that the functions need', () => {
    setFunctionEnvironment(process.env, settings);
    expect(ApiEnv.parse(process.env)).toMatchObject({ DATA_KEY: 'file:/data/data-key', ALLOW_HTTP: true });
    expect(DispatcherEnv.parse(process.env)).toMatchObject({
      RETRY_SCALE: 0.5,
      CIRCUITS: false,
      ALLOW_CIDRS: ['127.0.0.0/8'],
      SCRIPTS: ['balance-guard', 'rates-handoff'],
      MAX_CONCURRENT_SCRIPTS: 8,
    });
    expect(RetrierEnv.parse(process.env)).toMatchObject({
      RETRIES_QUEUE: settings.queueUrls.retries,
      CIRCUITS: false,
    });
    expect(SweeperEnv.parse(process.env)).toMatchObject({
      CIRCUITS: false,
      EVENTS_DEAD_LETTERS_QUEUE: settings.queueUrls.eventsDeadLetters,
      RETRIES_DEAD_LETTERS_QUEUE: settings.queueUrls.retriesDeadLetters,
    });
  });

  it("keeps the user's own AWS settings away from the functions", async () => {
    Object.assign(process.env, {
      AWS_PROFILE: 'production',
      AWS_ENDPOINT_URL: 'https://somewhere.example',
      AWS_ACCESS_KEY_ID: 'AKIAREAL',
      AWS_SESSION_TOKEN: 'real',
      AWS_USE_FIPS_ENDPOINT: 'true',
      AWS_CONFIG_FILE: '/home/user/.aws/config',
      AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://169.254.170.2/',
    });

    await using receiver = await startReceiver((_, response) => void response.end('{}'));

    setFunctionEnvironment(process.env, {
      ...settings,
      dynamoDbEndpoint: receiver.url,
      privateEndpoint: receiver.url,
    });
    await createDynamo().send(new ListTablesCommand({}));
    await createEventBridge().send(new PutEventsCommand({ Entries: [] }));
    await createSqs().send(new ListQueuesCommand({}));
    await createLambda().send(new InvokeCommand({ FunctionName: 'handoff-script-x' }));

    expect(receiver.requests.map(({ headers }) => headers['x-amz-target'])).toEqual([
      'DynamoDB_20120810.ListTables',
      'AWSEvents.PutEvents',
      'AmazonSQS.ListQueues',
      undefined,
    ]);
    for (const { headers } of receiver.requests) {
      expect(headers.authorization).toContain('Credential=key-of-this-start/');
      expect(headers).not.toHaveProperty('x-amz-security-token');
    }
    expect(process.env).not.toHaveProperty('AWS_PROFILE');
    expect(process.env).not.toHaveProperty('AWS_ENDPOINT_URL');
  });
});
