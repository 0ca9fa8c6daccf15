import { ListTablesCommand } from '@aws-sdk/client-dynamodb';
import { PutEventsCommand } from '@aws-sdk/client-eventbridge';
import { afterEach, describe, expect, it } from 'vitest';
import { setFunctionEnvironment } from '../../local/function-environment.ts';
import { createDynamo, createEventBridge } from '../../shared/aws/clients.ts';
import { startReceiver } from '../support/http-server.ts';
import { ApiEnv } from '../../functions/api/env.ts';
import { DispatcherEnv } from '../../functions/dispatcher/env.ts';

const settings = {
  handlersTable: 'handlers',
  executionsTable: 'executions',
  dataKeyFile: '/data/data-key',
  busName: 'handoff',
  allowHttp: true,
  allowCidrs: '127.0.0.0/8',
  retryScale: 0.5,
  credentials: { accessKeyId: 'key-of-this-start', secretAccessKey: 'unused' },
  dynamoDbEndpoint: 'http://127.0.0.1:1111',
  eventBridgeEndpoint: 'http://127.0.0.1:2222',
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
      ALLOW_CIDRS: ['127.0.0.0/8'],
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
      eventBridgeEndpoint: receiver.url,
    });
    await createDynamo().send(new ListTablesCommand({}));
    await createEventBridge().send(new PutEventsCommand({ Entries: [] }));

    expect(receiver.requests.map(({ headers }) => headers['x-amz-target'])).toEqual([
      'DynamoDB_20120810.ListTables',
      'AWSEvents.PutEvents',
    ]);
    for (const { headers } of receiver.requests) {
      expect(headers.authorization).toContain('Credential=key-of-this-start/');
      expect(headers).not.toHaveProperty('x-amz-security-token');
    }
    expect(process.env).not.toHaveProperty('AWS_PROFILE');
    expect(process.env).not.toHaveProperty('AWS_ENDPOINT_URL');
  });
});
